package charts

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/controllers/clustertest"
)

const (
	release   = "moq-operator"
	namespace = "moq-system"
)

var (
	scheme = newScheme()
	plane  = clustertest.New(clustertest.Options{Scheme: scheme})
)

func TestMain(m *testing.M) { os.Exit(plane.Run(m)) }

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}

// helm renders the chart with the settings of --set.
func helm(t *testing.T, settings ...string) ([]byte, error) {
	t.Helper()
	args := []string{"template", release, "moq-operator", "--namespace", namespace}
	for _, s := range settings {
		args = append(args, "--set-json", s)
	}
	cmd := exec.CommandContext(t.Context(), clustertest.Tool(t, "helm"), args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.Bytes(), nil
}

func kustomize(t *testing.T) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), clustertest.Tool(t, "kubectl"), "kustomize", "../config/default").Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// objects are what a manifest holds, by kind and name.
type objects map[string]client.Object

// decode reads a manifest into typed objects, and refuses fields that their
// types do not have.
func decode(t *testing.T, manifest []byte) objects {
	t.Helper()
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	found := objects{}
	for {
		doc, err := reader.Read()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if isEmpty(doc) {
			continue
		}
		raw, gvk, err := codecs.UniversalDeserializer().Decode(doc, nil, nil)
		if err != nil {
			t.Fatalf("%v in:\n%.500s", err, doc)
		}
		o, ok := raw.(client.Object)
		if !ok {
			t.Fatalf("%s is no object", gvk)
		}
		id := gvk.Kind + "/" + o.GetName()
		if o.GetNamespace() != "" && o.GetNamespace() != namespace {
			id += "." + o.GetNamespace()
		}
		if _, twice := found[id]; twice {
			t.Fatalf("%s is there twice", id)
		}
		found[id] = o
	}
}

// isEmpty reports whether a document holds comments at most.
func isEmpty(doc []byte) bool {
	for line := range strings.Lines(string(doc)) {
		if line = strings.TrimSpace(line); line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

func rendered(t *testing.T, settings ...string) objects {
	t.Helper()
	manifest, err := helm(t, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, manifest)
}

// The two ways to install are one and the same installation.
func TestChartIsWhatKustomizeInstalls(t *testing.T) {
	chart, config := rendered(t), decode(t, kustomize(t))
	delete(config, "Namespace/"+namespace) // helm's --create-namespace
	var names []string
	for name := range config {
		names = append(names, name)
	}
	for name := range chart {
		if config[name] == nil {
			t.Errorf("config has no %s", name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if chart[name] == nil {
			t.Errorf("the chart has no %s", name)
			continue
		}
		if diff := cmp.Diff(comparable(config[name]), comparable(chart[name])); diff != "" {
			t.Errorf("%s (-config +chart):\n%s", name, diff)
		}
	}
}

// comparable returns what of an object is to be the same, however it is
// installed.
func comparable(o client.Object) any {
	switch o := o.(type) {
	case *rbacv1.ClusterRole:
		aggregate := map[string]string{}
		for k, v := range o.Labels {
			if strings.HasPrefix(k, "rbac.authorization.k8s.io/") {
				aggregate[k] = v
			}
		}
		return []any{o.Rules, aggregate}
	case *rbacv1.Role:
		return o.Rules
	case *rbacv1.ClusterRoleBinding:
		return []any{o.RoleRef, o.Subjects}
	case *rbacv1.RoleBinding:
		return []any{o.RoleRef, o.Subjects}
	case *corev1.ServiceAccount:
		return o.Name
	case *corev1.Service:
		return o.Spec.Ports
	case *appsv1.Deployment:
		pod := o.Spec.Template.Spec.DeepCopy()
		for i := range pod.TopologySpreadConstraints {
			pod.TopologySpreadConstraints[i].LabelSelector = nil
		}
		return []any{o.Spec.Replicas, pod}
	case *apiextensionsv1.CustomResourceDefinition:
		return o.Spec
	default:
		panic(fmt.Sprintf("BUG: how to compare %T", o))
	}
}

func TestDefinition(t *testing.T) {
	const name, policy = "CustomResourceDefinition/relayclusters.moqrelay.io", "helm.sh/resource-policy"
	if got := rendered(t)[name].GetAnnotations()[policy]; got != "keep" {
		t.Errorf("policy %q: uninstalling would delete every RelayCluster", got)
	}
	if got, ok := rendered(t, "crds.keep=false")[name].GetAnnotations()[policy]; ok {
		t.Errorf("policy %q, want none", got)
	}
	if _, ok := rendered(t, "crds.enabled=false")[name]; ok {
		t.Error("the definition is there")
	}
}

func TestNamespacedRights(t *testing.T) {
	all, some := rendered(t), rendered(t, `watchNamespaces=["a","b"]`)
	want := all["ClusterRole/moq-operator"].(*rbacv1.ClusterRole).Rules
	for _, ns := range []string{"a", "b"} {
		role, ok := some["Role/moq-operator."+ns].(*rbacv1.Role)
		if !ok {
			t.Fatalf("there is no role in %s", ns)
		}
		if diff := cmp.Diff(want, role.Rules); diff != "" {
			t.Errorf("rules in %s (-cluster +role):\n%s", ns, diff)
		}
		binding := some["RoleBinding/moq-operator."+ns].(*rbacv1.RoleBinding)
		if s := binding.Subjects[0]; s.Name != "moq-operator" || s.Namespace != namespace || binding.RoleRef.Name != role.Name {
			t.Errorf("binding in %s: %+v", ns, binding)
		}
	}
	for id, o := range some {
		role, ok := o.(*rbacv1.ClusterRole)
		if !ok || !strings.Contains(id, "moq-operator") {
			continue
		}
		for _, rule := range role.Rules {
			if slices.Contains(rule.Resources, "secrets") {
				t.Errorf("%s reaches the Secrets of all namespaces", id)
			}
		}
	}
	if args := container(some).Args; !slices.Contains(args, "--watch-namespaces=a,b") {
		t.Errorf("arguments %v", args)
	}
}

func container(o objects) corev1.Container {
	return o["Deployment/moq-operator"].(*appsv1.Deployment).Spec.Template.Spec.Containers[0]
}

func TestValues(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	tests := map[string]struct {
		set  []string
		look func(objects) any
		want any
	}{
		"Tag":             {[]string{`image.tag="v9"`}, func(o objects) any { return container(o).Image }, "ghcr.io/moqrelay/moq-operator:v9"},
		"DigestBeforeTag": {[]string{`image.tag="v9"`, `image.digest="` + digest + `"`}, func(o objects) any { return container(o).Image }, "ghcr.io/moqrelay/moq-operator@" + digest},
		"RelayImage":      {[]string{`relayImage.repository="registry.test/relay"`}, func(o objects) any { return container(o).Args[2] }, "--relay-image=registry.test/relay:v0.1.0"},
		"NoMetrics": {[]string{"metrics.enabled=false"}, func(o objects) any {
			_, service := o["Service/moq-operator-metrics"]
			_, role := o["ClusterRole/moq-operator-metrics-auth"]
			return []any{service, role, slices.Contains(container(o).Args, "--metrics-bind=0"), len(container(o).Ports)}
		}, []any{false, false, true, 1}},
		"NoAggregation": {[]string{"rbac.aggregate=false"}, func(o objects) any {
			_, viewer := o["ClusterRole/moq-operator-relaycluster-viewer"]
			return viewer
		}, false},
		"Account": {[]string{`serviceAccount={"name":"me","annotations":{"a":"b"}}`}, func(o objects) any {
			return []any{o["ServiceAccount/me"].GetAnnotations(), o["ClusterRoleBinding/moq-operator"].(*rbacv1.ClusterRoleBinding).Subjects[0].Name}
		}, []any{map[string]string{"a": "b"}, "me"}},
		"Scheduling": {[]string{`nodeSelector={"a":"b"}`, `tolerations=[{"key":"k","operator":"Exists"}]`, `priorityClassName="high"`, `podLabels={"team":"video"}`}, func(o objects) any {
			pod := o["Deployment/moq-operator"].(*appsv1.Deployment).Spec.Template
			return []any{pod.Spec.NodeSelector, pod.Spec.Tolerations[0].Key, pod.Spec.PriorityClassName, pod.Labels["team"]}
		}, []any{map[string]string{"a": "b"}, "k", "high", "video"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.look(rendered(t, tt.set...))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for set, want := range map[string]string{
		`replica=3`:                      "replica",
		`replicas="two"`:                 "/replicas",
		`image.pullPolicy="Sometimes"`:   "/image/pullPolicy",
		`image.digest="latest"`:          "/image/digest",
		`image.repository="with space"`:  "/image/repository",
		`watchNamespaces="default"`:      "/watchNamespaces",
		`watchNamespaces=["Upper"]`:      "/watchNamespaces/0",
		`metrics.port=80`:                "/metrics/port",
		`logLevel="verbose"`:             "/logLevel",
		`crds.install=true`:              "install",
		`nodeSelector={"a":1}`:           "/nodeSelector/a",
		`imagePullSecrets=["not-named"]`: "/imagePullSecrets/0",
	} {
		t.Run(set, func(t *testing.T) {
			if _, err := helm(t, set); err == nil {
				t.Error("it was accepted")
			} else if !strings.Contains(strings.ReplaceAll(err.Error(), ".", "/"), want) {
				t.Errorf("refused with\n%v\nwhich does not name %s", err, want)
			}
		})
	}
}

// Every value is documented, with its default in values.yaml and its shape in
// the schema.
func TestValuesAreDocumented(t *testing.T) {
	var values map[string]any
	read(t, "moq-operator/values.yaml", &values)
	readme, err := os.ReadFile("moq-operator/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		if m, ok := v.(map[string]any); ok && len(m) > 0 && path != "resources" {
			for k, v := range m {
				walk(strings.TrimPrefix(path+"."+k, "."), v)
			}
			return
		}
		if !strings.Contains(string(readme), "`"+path+"`") {
			t.Errorf("README.md says nothing of %s", path)
		}
	}
	walk("", values)
}

func TestFilesAreCopies(t *testing.T) {
	var crd, chart, role, rules any
	read(t, "../config/crd/moqrelay.io_relayclusters.yaml", &crd)
	read(t, "moq-operator/files/moqrelay.io_relayclusters.yaml", &chart)
	if !reflect.DeepEqual(crd, chart) {
		t.Error("the chart's definition is not that of config/crd: run make generate")
	}
	read(t, "../config/rbac/role.yaml", &role)
	read(t, "moq-operator/files/rules.yaml", &rules)
	if diff := cmp.Diff(role.(map[string]any)["rules"], rules); diff != "" {
		t.Errorf("the chart's rules are not those of config/rbac, run make generate:\n%s", diff)
	}
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// What is rendered installs, on an API server with and without the definition,
// and upgrades itself.
func TestRenderedChartInstalls(t *testing.T) {
	plane.Start(t)
	for _, name := range []string{namespace, "a", "b"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
		if err := plane.Client.Create(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
	}
	for _, settings := range [][]string{nil, nil, {`watchNamespaces=["a","b"]`, "crds.keep=false"}} {
		manifest, err := helm(t, settings...)
		if err != nil {
			t.Fatal(err)
		}
		reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
		for {
			doc, err := reader.Read()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if isEmpty(doc) {
				continue
			}
			o := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(doc, &o.Object); err != nil {
				t.Fatal(err)
			}
			if err := plane.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("helm")); err != nil {
				t.Errorf("with %v: %s %s: %v", settings, o.GetKind(), o.GetName(), err)
			}
		}
	}
}
