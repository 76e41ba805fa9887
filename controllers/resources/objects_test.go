package resources_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/resources"
	"github.com/moqrelay/moqrelay/relay/config"
)

var update = flag.Bool("update", false, "rewrite testdata/*/expected.yaml")

// golden calls f with each cluster of testdata.
func golden(t *testing.T, f func(t *testing.T, folder string, c *v1alpha1.RelayCluster)) {
	t.Helper()
	inputs, err := filepath.Glob("testdata/*/input.yaml")
	if err != nil || len(inputs) < 8 {
		t.Fatalf("found %d cases: %v", len(inputs), err)
	}
	for _, name := range inputs {
		folder := filepath.Dir(name)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			manifest, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c, err := v1alpha1.Decode(manifest)
			if err != nil {
				t.Fatal(err)
			}
			c.UID = "0f3c5a51-6d2c-4b1e-9d0a-2f8a9d6f1c11"
			f(t, folder, c)
		})
	}
}

// inputFor returns an input with stand-ins for certificates.
func inputFor(c *v1alpha1.RelayCluster) resources.Input {
	in := resources.Input{
		Cluster:           c,
		Image:             "ghcr.io/moqrelay/moq-relay:v0.1.0",
		OperatorNamespace: "moqrelay-system",
		Trust:             []byte("authorities\n"),
		Certificates:      map[string]map[string][]byte{},
	}
	if c.Spec.TLS.Internal.Mode == v1alpha1.InternalSelfSigned {
		in.Authority = map[string][]byte{"tls.crt": []byte("authority\n"), "tls.key": []byte("key of authority\n")}
	}
	for _, s := range resources.Sets(c) {
		in.Certificates[s.Key()] = map[string][]byte{"tls.crt": []byte(s.Key() + "\n"), "tls.key": []byte("key of " + s.Key() + "\n")}
	}
	return in
}

func TestGolden(t *testing.T) {
	golden(t, func(t *testing.T, folder string, c *v1alpha1.RelayCluster) {
		before := c.DeepCopy()
		in := inputFor(c)
		var got bytes.Buffer
		for _, object := range resources.Objects(in) {
			doc, err := yaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			got.WriteString("---\n")
			got.Write(doc)
		}
		if diff := cmp.Diff(before, c); diff != "" {
			t.Errorf("builders changed the cluster:\n%s", diff)
		}
		if !reflect.DeepEqual(resources.Objects(in), resources.Objects(in)) {
			t.Error("two calls give different objects")
		}
		file := filepath.Join(folder, "expected.yaml")
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("objects differ from %s (-want +got); -update if that is meant:\n%s", file, diff)
		}
	})
}

// The one bridge: what stands on the command line of a pod is understood by the
// relay as it was meant, and the relay accepts it.
func TestArgsParseBack(t *testing.T) {
	golden(t, func(t *testing.T, _ string, c *v1alpha1.RelayCluster) {
		in := inputFor(c)
		for _, s := range resources.Sets(c) {
			args := containerArgs(resources.StatefulSet(in, s))
			meant := resources.RelayConfig(s, resources.PodLayout(s))
			want, err := config.Parse(append(meant.Args(), s.Pod.ExtraArgs...), noEnv)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Pod.ExtraArgs) == 0 {
				want = meant
			}
			got, err := config.Parse(args, noEnv)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-meant +parsed):\n%s", s.Name(), diff)
			}
			// In a container, Kubernetes puts the name of the pod in.
			got.ClusterNode = strings.ReplaceAll(got.ClusterNode, "$(POD_NAME)", s.PodName(0))
			if err := got.Validate(); err != nil {
				t.Errorf("%s: %v", s.Name(), err)
			}
			if isRoot := s.Role == resources.RoleRoot; got.IsRoot() != isRoot {
				t.Errorf("%s: relay takes itself for a root: %v, want %v", s.Name(), got.IsRoot(), isRoot)
			}
			if want := s.Host(0); got.ClusterNode != want {
				t.Errorf("%s: node %q, want %q", s.Name(), got.ClusterNode, want)
			}
		}
	})
}

func noEnv(string) (string, bool) { return "", false }

func containerArgs(ac *appsv1ac.StatefulSetApplyConfiguration) []string {
	return ac.Spec.Template.Spec.Containers[0].Args
}

// Complaint 13: an upgrade of the operator restarts nothing. The file holds what
// pods of released operators look like: lines may be added to it, for cases that
// it does not know yet, and a line that changes is every relay of every user
// restarted. -update does not touch it.
func TestUpgradeOfOperatorRestartsNothing(t *testing.T) {
	released, err := os.ReadFile("testdata/pod-templates.sha256")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, func(t *testing.T, folder string, c *v1alpha1.RelayCluster) {
		in := inputFor(c)
		for _, s := range resources.Sets(c) {
			template, err := yaml.Marshal(resources.StatefulSet(in, s).Spec.Template)
			if err != nil {
				t.Fatal(err)
			}
			line := fmt.Sprintf("%x %s/%s\n", sha256.Sum256(template), filepath.Base(folder), s.Key())
			if !strings.Contains(string(released), line) {
				t.Errorf("the pods of %s are none that the file knows: %s", s.Name(), line)
			}
		}
	})
}

// Only what is in a pod template restarts pods.
func TestTemplateDependsOnSpecAlone(t *testing.T) {
	c := decode(t, "testdata/sample/input.yaml")
	in := inputFor(c)
	s := resources.RootSet(c)
	before := resources.StatefulSet(in, s).Spec.Template
	for name, change := range map[string]func(){
		"certificates are renewed":     func() { in.Certificates["root"] = map[string][]byte{"tls.crt": []byte("new")} },
		"the authority is rotated":     func() { in.Trust = []byte("two authorities") },
		"a rollout goes on":            func() { in.Partitions = map[string]int32{"root": 0} },
		"a region is added":            func() { c.Spec.Regions = append(c.Spec.Regions, v1alpha1.Region{Name: "asia"}) },
		"the network policy is off":    func() { c.Spec.NetworkPolicy.Enabled = new(false) },
		"the root becomes reachable":   func() { s.Exposure.Mode = v1alpha1.ExposureLoadBalancer },
		"an autoscaler takes over":     func() { s.Autoscaling = &v1alpha1.Autoscaling{MaxReplicas: 3} },
		"the cluster gets annotations": func() { c.Annotations = map[string]string{"a": "b"} },
	} {
		change()
		if diff := cmp.Diff(before, resources.StatefulSet(in, s).Spec.Template); diff != "" {
			t.Errorf("when %s, pods restart:\n%s", name, diff)
		}
	}
}

func TestPartition(t *testing.T) {
	in := inputFor(decode(t, "testdata/sample/input.yaml"))
	in.Partitions = map[string]int32{"eu": 1}
	got := map[string]int32{}
	for _, s := range resources.Sets(in.Cluster) {
		got[s.Key()] = *resources.StatefulSet(in, s).Spec.UpdateStrategy.RollingUpdate.Partition
	}
	if diff := cmp.Diff(map[string]int32{"root": resources.HeldPartition, "eu": 1, "us": resources.HeldPartition}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAutoscalerTakesNothingAwayDuringRollout(t *testing.T) {
	in := inputFor(decode(t, "testdata/autoscaled/input.yaml"))
	for _, test := range []struct {
		name       string
		partitions map[string]int32
		want       bool
	}{
		{"nothing is said", nil, false},
		{"at rest", map[string]int32{"eu": resources.HeldPartition}, false},
		{"the last pod is replaced", map[string]int32{"eu": 1}, true},
		{"all pods are replaced", map[string]int32{"eu": 0}, true},
		{"another region is rolled", map[string]int32{"us": 0}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			in.Partitions = test.partitions
			policy := resources.Autoscaler(in, resources.Sets(in.Cluster)[1]).Spec.Behavior.ScaleDown.SelectPolicy
			if got := policy != nil && *policy == autoscalingv2.DisabledPolicySelect; got != test.want {
				t.Errorf("scale-down disabled: %v, want %v", got, test.want)
			}
		})
	}
}

// An object that drops its replicas falls to one.
func TestReplicasAreNeverApplied(t *testing.T) {
	in := inputFor(decode(t, "testdata/sample/input.yaml"))
	for _, s := range resources.Sets(in.Cluster) {
		if got := resources.StatefulSet(in, s).Spec.Replicas; got != nil {
			t.Errorf("%s: replicas %d are in the object", s.Name(), *got)
		}
	}
}

// The longest names that the API takes stay within what Kubernetes takes, and
// no two objects of a kind share one.
func TestNames(t *testing.T) {
	c := decode(t, "testdata/sample/input.yaml")
	c.Name = strings.Repeat("c", 30)
	perPod := v1alpha1.Exposure{Mode: v1alpha1.ExposureLoadBalancerPerPod, ProtocolSharing: v1alpha1.ProtocolsSeparate}
	c.Spec.Regions = []v1alpha1.Region{
		{Name: strings.Repeat("r", 20), Replicas: new(int32(1000)), Exposure: perPod},
		{Name: "ca"},
		{Name: "trust"},
		{Name: "nodes"},
		{Name: "relays"},
		{Name: "tls"},
		{Name: "tcp"},
		{Name: "a", Replicas: new(int32(2)), Exposure: perPod},
		{Name: "a-0"},
		{Name: "a-pod"},
	}
	v1alpha1.Default(c)
	if errs := v1alpha1.Validate(c); len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	seen := map[string]bool{}
	for _, object := range resources.Objects(inputFor(c)) {
		named := object.(interface{ GetName() *string })
		name := *named.GetName()
		kind := reflect.TypeOf(object).String()
		if seen[kind+name] {
			t.Errorf("two of %s are named %q", kind, name)
		}
		seen[kind+name] = true
		if len(name) > 63 {
			t.Errorf("%s has a name of %d characters, no DNS label: %q", kind, len(name), name)
		}
	}
	// A pod bears its own name and its set's name with a hash of up to 10
	// characters as labels.
	s := resources.Sets(c)[1]
	for _, label := range []string{s.PodName(999), s.Name() + "-0123456789"} {
		if len(label) > 63 {
			t.Errorf("%q has %d characters, no label", label, len(label))
		}
	}
}

func TestCertificateNames(t *testing.T) {
	for _, test := range []struct {
		name, input, set string
		want             []string
	}{
		{"a region with hostnames", "load-balancer", "eu", []string{
			"*.live-eu-nodes.media.svc", "live-eu-nodes.media.svc", "live-eu.media.svc", "live-eu.media", "live-eu",
			"localhost", "127.0.0.1", "::1", "eu.example.com", "europe.example.com",
		}},
		{"hostnames are left to the public certificate", "tls-secret", "eu", []string{
			"*.live-eu-nodes.media.svc", "live-eu-nodes.media.svc", "live-eu.media.svc", "live-eu.media", "live-eu",
			"localhost", "127.0.0.1", "::1",
		}},
		{"a region with names of pods", "load-balancer-per-pod", "eu", []string{
			"*.live-eu-nodes.media.svc", "live-eu-nodes.media.svc", "live-eu.media.svc", "live-eu.media", "live-eu",
			"localhost", "127.0.0.1", "::1", "eu.example.com", "*.eu.example.com",
		}},
		{"the root", "minimal", "root", []string{
			"*.live-root-nodes.media.svc", "live-root-nodes.media.svc", "live-root.media.svc", "live-root.media", "live-root",
			"localhost", "127.0.0.1", "::1",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			sets := resources.Sets(decode(t, "testdata/"+test.input+"/input.yaml"))
			i := slices.IndexFunc(sets, func(s resources.Set) bool { return s.Key() == test.set })
			if diff := cmp.Diff(test.want, sets[i].CertificateNames()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// S24: nobody but the operator, and whom the spec names, reaches the private
// port inside Kubernetes.
func TestS24PrivatePortIsClosed(t *testing.T) {
	golden(t, func(t *testing.T, _ string, c *v1alpha1.RelayCluster) {
		in := inputFor(c)
		in.OperatorNamespace = ""
		c.Spec.NetworkPolicy.PrivateFrom = nil
		for _, rule := range resources.NetworkPolicy(in).Spec.Ingress {
			for _, port := range rule.Ports {
				if port.Port.IntValue() != resources.PortRelay {
					t.Errorf("port %v is open", port.Port)
				}
			}
		}
		for _, s := range resources.Sets(c) {
			for _, service := range append(resources.UserServices(s, 2), resources.NodesService(s)) {
				for _, port := range service.Spec.Ports {
					if *port.Name == config.PortPrivate {
						t.Errorf("Service %s leads to the private port", *service.Name)
					}
				}
			}
			// No NetworkPolicy holds in the network of the machine.
			layout := resources.PodLayout(s)
			if address := netip.MustParseAddrPort(layout.PrivateBind).Addr(); address.IsLoopback() != (s.Exposure.Mode == v1alpha1.ExposureHostNetwork) {
				t.Errorf("private port of %s is on %s", s.Name(), address)
			}
		}
	})
}

// S29, S31: pods get no token of the API server, no right beyond those of the
// restricted Pod Security Standard, and no key outside their certificate
// folder.
func TestS29PodsAreRestricted(t *testing.T) {
	golden(t, func(t *testing.T, _ string, c *v1alpha1.RelayCluster) {
		in := inputFor(c)
		for _, s := range resources.Sets(c) {
			pod := resources.StatefulSet(in, s).Spec.Template.Spec
			relay := pod.Containers[0]
			if *pod.AutomountServiceAccountToken || pod.ServiceAccountName != nil {
				t.Error("pod has a token or an account")
			}
			if got, want := pod.HostNetwork != nil, s.Exposure.Mode == v1alpha1.ExposureHostNetwork; got != want {
				t.Errorf("pod has the network of its machine: %v, want %v", got, want)
			}
			for _, port := range relay.Ports {
				if port.HostPort != nil && !s.Exposure.Mode.IsHost() {
					t.Errorf("port %s has one of the machine", *port.Name)
				}
			}
			if !*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.SeccompProfile.Type != "RuntimeDefault" {
				t.Error("pod runs as root or without seccomp profile")
			}
			if *relay.SecurityContext.AllowPrivilegeEscalation || !*relay.SecurityContext.ReadOnlyRootFilesystem || !slices.Contains(relay.SecurityContext.Capabilities.Drop, "ALL") {
				t.Error("relay may gain privileges, write its image or keeps capabilities")
			}
			for _, source := range pod.Volumes[0].Projected.Sources {
				if source.Secret != nil && *source.Secret.Name == resources.AuthorityName(c.Name) {
					t.Error("pod holds the key of the authority")
				}
			}
			if text := strings.Join(relay.Args, " "); strings.Contains(text, "key of") {
				t.Errorf("a key is on the command line: %s", text)
			}
		}
	})
}

func decode(t *testing.T, file string) *v1alpha1.RelayCluster {
	t.Helper()
	manifest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := v1alpha1.Decode(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
