package clustertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Options says what a suite needs.
type Options struct {
	// Scheme is that of Plane.Client.
	Scheme *runtime.Scheme
	// CRDs are files or folders, relative to the top of the checkout, that are
	// installed before the controllers start.
	CRDs []string
	// Controllers runs kube-controller-manager too.
	Controllers bool
	// Check, if set, runs after the tests if all of them passed and none was
	// left out by -run, with the control plane still there.
	Check func(*Plane) error
}

// Plane is the control plane of a test binary.
type Plane struct {
	options Options

	once sync.Once
	err  error // why it did not start; set by once

	// Set by once, before Start returns.

	// Config gives access as cluster administrator.
	Config *rest.Config
	// Client is a client of the administrator, without a cache.
	Client client.WithWatch
	// Clientset is another, for what Client cannot do.
	Clientset *kubernetes.Clientset
	// Relays answers for the pods that Kubelet reports as running.
	Relays *Relays

	dir         string
	env         *envtest.Environment
	controllers *process
}

// New returns a control plane that is not started yet.
func New(o Options) *Plane {
	p := &Plane{options: o}
	p.Relays = newRelays(p)
	return p
}

// Run runs the tests of a binary, stops the control plane if a test started it,
// and returns the exit code.
func (p *Plane) Run(m interface{ Run() int }) int {
	code := m.Run()
	if p.Config == nil {
		return code
	}
	if code == 0 && p.options.Check != nil && wholeSuite() {
		if err := p.options.Check(p); err != nil {
			fmt.Fprintln(os.Stderr, "FAIL:", err)
			code = 1
		}
	}
	if err := p.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the control plane:", err)
		code = 1
	}
	if code == 0 {
		_ = os.RemoveAll(p.dir)
	} else {
		fmt.Fprintln(os.Stderr, "logs of the control plane:", p.dir)
	}
	return code
}

// Start starts the control plane if no other test of the binary has.
func (p *Plane) Start(t *testing.T) {
	t.Helper()
	p.once.Do(func() { p.err = p.start() })
	if errors.Is(p.err, errNoAssets) {
		missing(t, p.err)
	}
	if p.err != nil {
		t.Fatalf("start the control plane: %v", p.err)
	}
}

// Kubeconfig returns what gives kubectl access as cluster administrator.
func (p *Plane) Kubeconfig() []byte { return p.env.KubeConfig }

func (p *Plane) start() error {
	assets, err := assets()
	if err != nil {
		return err
	}
	needed := []string{"etcd", "kube-apiserver"}
	if p.options.Controllers {
		needed = append(needed, "kube-controller-manager")
	}
	for _, name := range needed {
		if _, err := os.Stat(filepath.Join(assets, name)); err != nil {
			return fmt.Errorf("no %s in %s: %w", name, assets, errNoAssets)
		}
	}
	if p.dir, err = os.MkdirTemp("", "clustertest-"); err != nil {
		return err
	}
	p.env = &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		ControlPlaneStartTimeout: time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
		Scheme:                   p.options.Scheme,
		ErrorIfCRDPathMissing:    true,
	}
	for _, path := range p.options.CRDs {
		p.env.CRDDirectoryPaths = append(p.env.CRDDirectoryPaths, filepath.Join(Root(), path))
	}
	if err := p.configureAPIServer(); err != nil {
		return err
	}
	if p.Config, err = p.env.Start(); err != nil {
		return err
	}
	if p.Client, err = client.NewWithWatch(p.Config, client.Options{Scheme: p.options.Scheme}); err != nil {
		return err
	}
	if p.Clientset, err = kubernetes.NewForConfig(p.Config); err != nil {
		return err
	}
	if err := p.waitReady(); err != nil {
		return err
	}
	if err := recordTier(2); err != nil || !p.options.Controllers {
		return err
	}
	if err := p.startControllers(assets); err != nil {
		return err
	}
	return recordTier(3)
}

// configureAPIServer makes the API server a little more like one in production
// than envtest does, and has it note every request of a service account.
func (p *Plane) configureAPIServer() error {
	policy := filepath.Join(p.dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.dir, "kube-apiserver.log"))
	if err != nil {
		return err
	}
	api := p.env.ControlPlane.GetAPIServer()
	api.Out, api.Err = log, log
	args := api.Configure()
	args.Set("audit-policy-file", policy)
	args.Set("audit-log-path", p.auditLog())
	args.Set("audit-log-mode", "blocking")
	// As OpenShift does: who sets an owner must be allowed to.
	args.Set("enable-admission-plugins", "OwnerReferencesPermissionEnforcement")
	if p.options.Controllers {
		// There is a controller that makes the default service accounts.
		args.Disable("disable-admission-plugins")
	}
	return nil
}

// waitReady waits for the start hooks of the API server: the controllers end at
// once when they find the bootstrap roles missing.
func (p *Plane) waitReady() error {
	return wait.PollUntilContextTimeout(context.Background(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := p.Clientset.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, nil
	})
}

// stop ends the controllers first, then the API server, then etcd: an API
// server that has lost its etcd does not end in time.
func (p *Plane) stop() error {
	var err error
	if p.controllers != nil {
		err = p.controllers.stop()
	}
	return errors.Join(err, p.env.Stop())
}

// wholeSuite reports whether no flag leaves tests out.
func wholeSuite() bool {
	for _, arg := range os.Args[1:] {
		for _, flag := range []string{"-test.run", "-test.skip", "-test.list", "-test.short"} {
			if name, value, _ := strings.Cut(arg, "="); name == flag && value != "" && value != "false" {
				return false
			}
		}
	}
	return true
}

// recordTier notes in the file named by MOQ_TIERS_FILE that a tier has run.
func recordTier(n int) error {
	name := os.Getenv("MOQ_TIERS_FILE")
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "tier %d\n", n)
	return errors.Join(err, f.Close())
}
