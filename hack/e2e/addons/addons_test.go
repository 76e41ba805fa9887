package addons

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
)

// Every object is one that the API server knows, without a field that it does
// not; and every pod is one that Pod Security "restricted" admits, of an image
// that the rig has.
func TestManifests(t *testing.T) {
	kinds := map[string]int{}
	for _, o := range allObjects(t) {
		kinds[reflect.TypeOf(o).Elem().Name()]++
		switch o := o.(type) {
		case *appsv1.Deployment:
			checkPod(t, o.Name, o.Spec.Template.Spec)
			if o.Name == "coredns" && *o.Spec.Replicas != 2 {
				t.Errorf("coredns has %d replicas on three nodes, want 2", *o.Spec.Replicas)
			}
			if args := o.Spec.Template.Spec.Containers[0].Args; o.Name == "custommetrics" && !slices.Equal(args, []string{"-port=private", "moq_relay_sessions", "moq_relay_egress_bytes_total"}) {
				t.Errorf("custommetrics is called with %q", args)
			}
		case *corev1.Service:
			if o.Name == "kube-dns" && o.Spec.ClusterIP != "10.97.0.10" {
				t.Errorf("names are served at %s, want 10.97.0.10", o.Spec.ClusterIP)
			}
		case *corev1.ConfigMap:
			if !strings.Contains(o.Data["Corefile"], "kubernetes rig.local ") {
				t.Errorf("Corefile does not serve rig.local:\n%s", o.Data["Corefile"])
			}
		}
	}
	if kinds["Deployment"] != 3 || kinds["Unknown"] != 2 {
		t.Errorf("kinds %v, want 3 Deployments and 2 APIServices, which are Unknown here", kinds)
	}
}

// Nobody is given a right to write, or to read a Secret.
func TestManifestsGrantLittle(t *testing.T) {
	for _, o := range allObjects(t) {
		role, ok := o.(*rbacv1.ClusterRole)
		if !ok {
			continue
		}
		for _, rule := range role.Rules {
			for _, verb := range rule.Verbs {
				if !slices.Contains([]string{"get", "list", "watch"}, verb) {
					t.Errorf("%s may %s %v", role.Name, verb, rule.Resources)
				}
			}
			if slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.APIGroups, "") && slices.Contains(rule.Resources, "*") {
				t.Errorf("%s reads Secrets", role.Name)
			}
		}
	}
}

func checkPod(t *testing.T, name string, p corev1.PodSpec) {
	t.Helper()
	if s := p.SecurityContext; s == nil || !*s.RunAsNonRoot || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: pods may run as root or without a seccomp profile", name)
	}
	for _, c := range p.Containers {
		if s := c.SecurityContext; s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) != 1 {
			t.Errorf("%s: container %s is not restricted", name, c.Name)
		}
		if c.ImagePullPolicy != corev1.PullNever {
			t.Errorf("%s: container %s may be pulled", name, c.Name)
		}
		known := false
		for _, i := range Images() {
			known = known || i.Reference() == c.Image && i.Name == c.Name
		}
		if !known {
			t.Errorf("%s: no image %s for container %s", name, c.Image, c.Name)
		}
	}
}

func TestSandboxIsAnImage(t *testing.T) {
	for _, i := range Images() {
		if i.Reference() == Sandbox {
			return
		}
	}
	t.Errorf("no image %s", Sandbox)
}

// allObjects are those of all manifests, for a cluster unlike the usual one.
func allObjects(t *testing.T) []runtime.Object {
	t.Helper()
	names, err1 := CoreDNS(Options{DNS: "10.97.0.10", Domain: "rig.local", Nodes: 3})
	metrics, err2 := MetricsServer()
	custom, err3 := CustomMetrics("private", "moq_relay_sessions", "moq_relay_egress_bytes_total")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return slices.Concat(decode(t, names), decode(t, metrics), decode(t, custom))
}

// decode reads objects strictly; those of other groups than Kubernetes' own
// clients know stay unread.
func decode(t *testing.T, stream []byte) []runtime.Object {
	t.Helper()
	decoder := serializer.NewCodecFactory(clientgoscheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for document := range bytes.SplitSeq(stream, []byte("\n---\n")) {
		o, _, err := decoder.Decode(document, nil, nil)
		if runtime.IsNotRegisteredError(err) && bytes.Contains(document, []byte("\nkind: APIService\n")) {
			o, err = &runtime.Unknown{Raw: document}, nil
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		objects = append(objects, o)
	}
	return objects
}
