package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
	"github.com/moqrelay/moqrelay/controllers/relaycluster"
)

const (
	namespace = "moq-system"
	user      = "system:serviceaccount:" + namespace + ":moq-operator"
	// envCommand makes the test binary be the command.
	envCommand = "MOQ_OPERATOR_TEST_COMMAND"
)

var plane = clustertest.New(clustertest.Options{Scheme: relaycluster.Scheme()})

func TestMain(m *testing.M) {
	if os.Getenv(envCommand) != "" {
		main()
		return
	}
	os.Exit(plane.Run(m))
}

// process is a running command.
type process struct {
	*exec.Cmd
	log    string // file
	health string // address
}

// command returns the command with arguments, under the kubeconfig.
func command(t *testing.T, kubeconfig string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), envCommand+"=1", "KUBECONFIG="+kubeconfig, "HOME="+t.TempDir())
	return cmd
}

// spawn starts the operator; the test ends it.
func spawn(t *testing.T, kubeconfig string, args ...string) *process {
	t.Helper()
	p := &process{health: freeAddress(t), log: filepath.Join(t.TempDir(), "log")}
	p.Cmd = command(t, kubeconfig, append([]string{"--health-bind=" + p.health, "--metrics-bind=0", "--namespace=" + namespace}, args...)...)
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	p.Stdout, p.Stderr = log, log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("log of the operator:\n%s", text)
		}
	})
	return p
}

// interrupt asks the operator to end and returns how it did.
func (p *process) interrupt() error {
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.Wait()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestWrongCommandLines(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		args       []string
		code       int
	}{
		{"unknown flag", "unknown flag: --relay", []string{"--relay=x"}, 2},
		{"argument", `unexpected argument "start"`, []string{"start"}, 2},
		{"level", "--log-level", []string{"--log-level=loud"}, 2},
		{"format", "--log-format", []string{"--log-format=xml"}, 2},
		{"no cluster", "set KUBECONFIG", []string{"--log-format=text"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := command(t, filepath.Join(t.TempDir(), "none"), tt.args...).CombinedOutput()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != tt.code {
				t.Errorf("ended with %v, want code %d", err, tt.code)
			}
			if text := string(out); !strings.Contains(text, tt.want) || strings.Count(text, "\n") > 1 {
				t.Errorf("printed %q, want one line with %q", text, tt.want)
			}
		})
	}
}

// install applies the rendered chart, and returns a kubeconfig of the operator's
// service account.
func install(t *testing.T, settings ...string) string {
	t.Helper()
	plane.Start(t)
	for _, name := range []string{namespace, "watched", "other"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := plane.Client.Create(t.Context(), ns); client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"template", "moq-operator", filepath.Join(clustertest.Root(), "charts/moq-operator"), "--namespace", namespace, "--skip-tests"}, settings...)
	helm := exec.CommandContext(t.Context(), clustertest.Tool(t, "helm"), args...)
	helm.Env = append(os.Environ(), "HOME="+t.TempDir())
	manifest, err := helm.Output()
	if err != nil {
		t.Fatal(err)
	}
	for doc := range strings.SplitSeq(string(manifest), "\n---") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		if o.GetKind() == "" {
			continue
		}
		if err := plane.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("helm"), client.ForceOwnership); err != nil {
			t.Fatal(err)
		}
	}
	clustertest.Eventually(t, "RelayClusters are served", func(ctx context.Context) error {
		return plane.Client.List(ctx, &v1alpha1.RelayClusterList{})
	})
	token, err := plane.Clientset.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "moq-operator", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return kubeconfig(t, plane.Config, token.Status.Token)
}

func kubeconfig(t *testing.T, c *rest.Config, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// With roles in some namespaces and none over all, the operator runs what is in
// those and needs nothing else.
func TestNamespacedInstallation(t *testing.T) {
	kubeconfig := install(t, "--set", "watchNamespaces={watched}")
	before := forbidden(t)
	p := spawn(t, kubeconfig, "--leader-elect", "--watch-namespaces=watched", "--relay-image=registry.test/relay:v1")
	for _, ns := range []string{"watched", "other"} {
		c := &v1alpha1.RelayCluster{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "live"}}
		c.Spec.Root = &v1alpha1.Root{}
		if err := plane.Client.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	clustertest.Eventually(t, "the RelayCluster is looked after", func(ctx context.Context) error {
		c := &v1alpha1.RelayCluster{}
		if err := plane.Client.Get(ctx, client.ObjectKey{Namespace: "watched", Name: "live"}, c); err != nil {
			return err
		}
		if c.Status.ObservedGeneration == 0 || len(c.Status.Certificates) == 0 {
			return errors.New("it has no status")
		}
		return nil
	})
	other := &v1alpha1.RelayCluster{}
	if err := plane.Client.Get(t.Context(), client.ObjectKey{Namespace: "other", Name: "live"}, other); err != nil {
		t.Fatal(err)
	}
	if other.Status.ObservedGeneration != 0 {
		t.Error("a RelayCluster of another namespace is looked after")
	}
	for _, path := range []string{relaycluster.PathLive, relaycluster.PathReady} {
		if err := probe(t.Context(), p.health, path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if got := forbidden(t); got != before {
		t.Errorf("%d requests were refused: a right is missing", got-before)
	}
	if err := p.interrupt(); err != nil {
		t.Errorf("ended with %v, want code 0", err)
	}
}

// The flag says which issuers are asked. Without cert-manager, one that may be
// asked is waited for.
func TestAllowedIssuerKinds(t *testing.T) {
	kubeconfig := install(t)
	for name, tt := range map[string]struct {
		args       []string
		kind, want string
	}{
		"default":     {nil, "Issuer", v1alpha1.ReasonCertManagerMissing},
		"cluster-off": {nil, "ClusterIssuer", v1alpha1.ReasonIssuerNotAllowed},
		"cluster-on":  {[]string{"--allowed-issuer-kinds=Issuer,ClusterIssuer"}, "ClusterIssuer", v1alpha1.ReasonCertManagerMissing},
		"none-at-all": {[]string{"--allowed-issuer-kinds="}, "Issuer", v1alpha1.ReasonIssuerNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			p := spawn(t, kubeconfig, append([]string{"--watch-namespaces=watched", "--relay-image=registry.test/relay:v1"}, tt.args...)...)
			c := &v1alpha1.RelayCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "watched", Name: name}}
			c.Spec.Root = &v1alpha1.Root{Exposure: v1alpha1.Exposure{Hostnames: []string{"live.example.com"}}}
			c.Spec.TLS.Public = &v1alpha1.PublicTLS{IssuerRef: &v1alpha1.IssuerRef{Name: "pki", Kind: tt.kind}}
			if err := plane.Client.Create(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			clustertest.Eventually(t, "the reason is "+tt.want, func(ctx context.Context) error {
				if err := plane.Client.Get(ctx, client.ObjectKeyFromObject(c), c); err != nil {
					return err
				}
				for _, condition := range c.Status.Conditions {
					if condition.Status == metav1.ConditionFalse && condition.Reason == tt.want {
						return nil
					}
				}
				return fmt.Errorf("conditions %+v", c.Status.Conditions)
			})
			if err := p.interrupt(); err != nil {
				t.Errorf("ended with %v, want code 0", err)
			}
		})
	}
}

// forbidden returns how many rights the operator lacked so far.
func forbidden(t *testing.T) int {
	t.Helper()
	usage, err := plane.Usage(user)
	if err != nil {
		t.Fatal(err)
	}
	return len(usage.Forbidden)
}

func probe(ctx context.Context, address, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", res.StatusCode, body)
	}
	return nil
}

// An operator that ends gives its lease back: the next one works at once, not
// when the lease has run out.
func TestLeaseIsHandedOver(t *testing.T) {
	kubeconfig := install(t)
	first := spawn(t, kubeconfig, "--leader-elect")
	holder := untilHeld(t, "")
	spawn(t, kubeconfig, "--leader-elect")
	if err := first.interrupt(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	untilHeld(t, holder)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v, want less than the 15 s of the lease", took)
	}
}

// untilHeld waits until another than the one before holds the lease.
func untilHeld(t *testing.T, before string) string {
	t.Helper()
	lease := &coordinationv1.Lease{}
	clustertest.Eventually(t, "the lease is held", func(ctx context.Context) error {
		if err := plane.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "moq-operator"}, lease); err != nil {
			return err
		}
		if h := lease.Spec.HolderIdentity; h == nil || *h == "" || *h == before {
			return errors.New("it is not")
		}
		return nil
	})
	return *lease.Spec.HolderIdentity
}
