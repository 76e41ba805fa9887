package relaycluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
	"github.com/moqrelay/moqrelay/controllers/relaycluster"
)

// The manager of the suites is installed from config/ and runs as the service
// account that stands there, against a real API server and real controllers.
const (
	operatorNamespace = "moq-system"
	operatorAccount   = "moq-operator"
	operatorUser      = "system:serviceaccount:" + operatorNamespace + ":" + operatorAccount
	relayImage        = "registry.test/moq-relay:v1"
	brokenImage       = "registry.test/moq-relay:broken"
)

var plane = clustertest.New(clustertest.Options{
	Scheme:      relaycluster.Scheme(),
	CRDs:        []string{"config/crd/moqrelay.io_relayclusters.yaml", "controllers/relaycluster/testdata/podmetrics.yaml"},
	Controllers: true,
	Check:       checkRights,
})

func TestMain(m *testing.M) { os.Exit(plane.Run(suite{m})) }

// suite stops the manager before the control plane.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	// The tests wait most of the time, so there may be more than processors.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code := s.m.Run()
	operator.stop()
	return code
}

// operator is the manager under test; start starts it once.
var operator manager

type manager struct {
	once    sync.Once
	err     error
	cancel  context.CancelFunc
	done    chan error
	metrics string // address
	logs    lockedBuffer
}

// start starts the control plane and the manager if no other test has.
func start(t *testing.T) {
	t.Helper()
	plane.Start(t)
	operator.once.Do(func() { operator.err = operator.run(t) })
	if operator.err != nil {
		t.Fatalf("start the manager: %v", operator.err)
	}
}

func (m *manager) run(t *testing.T) error {
	for _, o := range kustomize(t, "config/default") {
		if o.GetKind() != "CustomResourceDefinition" {
			applyAsUser(t, o)
		}
	}
	token, err := plane.Clientset.CoreV1().ServiceAccounts(operatorNamespace).
		CreateToken(t.Context(), operatorAccount, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(plane.Config)
	config.BearerToken = token.Status.Token
	config.QPS = -1

	if m.metrics, err = freeAddress(); err != nil {
		return err
	}
	log := logr.FromSlogHandler(slog.NewJSONHandler(&m.logs, &slog.HandlerOptions{Level: slog.LevelDebug - 4}))
	ctrl.SetLogger(log)
	mgr, err := relaycluster.NewManager(config, relaycluster.Options{
		MetricsBind: m.metrics, HealthBind: "0", LeaderElect: true,
		Namespace: operatorNamespace, RelayImage: relayImage, Relays: plane.Relays,
		AllowedIssuerKinds: []string{v1alpha1.IssuerNamespaced},
	})
	if err != nil {
		return err
	}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.WithoutCancel(t.Context()))
	m.done = make(chan error, 1)
	go func() { m.done <- mgr.Start(ctx) }() // stop waits for it
	select {
	case <-mgr.Elected():
		return nil
	case err := <-m.done:
		return errors.Join(errors.New("the manager ended"), err)
	}
}

func (m *manager) stop() {
	if m.cancel == nil {
		return
	}
	m.cancel()
	if err := <-m.done; err != nil {
		fmt.Fprintln(os.Stderr, "the manager:", err)
	}
}

// checkRights fails if the manager asked for something it may not do, or may do
// something that no test needed (S32).
func checkRights(p *clustertest.Plane) error {
	usage, err := p.Usage(operatorUser)
	if err != nil {
		return err
	}
	var errs []error
	for verb := range usage.Forbidden {
		errs = append(errs, fmt.Errorf("the operator lacks the right to %s %s in group %q", verb.Verb, verb.Resource, verb.Group))
	}
	granted, err := grantedVerbs(p)
	if err != nil {
		return err
	}
	for verb := range granted {
		if !usage.Used[verb] {
			errs = append(errs, fmt.Errorf("the operator never used its right to %s %s in group %q", verb.Verb, verb.Resource, verb.Group))
		}
	}
	return errors.Join(errs...)
}

// grantedVerbs returns the rights of the roles that the operator is bound to.
func grantedVerbs(p *clustertest.Plane) (map[clustertest.Verb]bool, error) {
	ctx := context.Background()
	granted := map[clustertest.Verb]bool{}
	for _, name := range []string{"moq-operator", "moq-operator-metrics-auth"} {
		role, err := p.Clientset.RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		clustertest.AddRules(granted, role.Rules)
	}
	role, err := p.Clientset.RbacV1().Roles(operatorNamespace).Get(ctx, "moq-operator-leader-election", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	clustertest.AddRules(granted, role.Rules)
	return granted, nil
}

// kustomize renders a folder of the checkout.
func kustomize(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), clustertest.Tool(t, "kubectl"), "kustomize", filepath.Join(clustertest.Root(), folder)).Output()
	if err != nil {
		t.Fatalf("kustomize %s: %v", folder, err)
	}
	var objects []*unstructured.Unstructured
	for doc := range strings.SplitSeq(string(out), "\n---\n") {
		objects = append(objects, parse(t, doc))
	}
	return objects
}

func parse(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		t.Fatalf("%v in:\n%s", err, manifest)
	}
	return o
}

// applyAsUser does what kubectl apply --server-side does.
func applyAsUser(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	if err := plane.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("kubectl"), client.ForceOwnership); err != nil {
		t.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
	}
}
