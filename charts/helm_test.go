package charts

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
)

const (
	release   = "moq-operator"
	namespace = "moq-system"
	chart     = "moq-operator" // the folder
)

var (
	scheme = newScheme()
	plane  = clustertest.New(clustertest.Options{Scheme: scheme})
)

func TestMain(m *testing.M) { os.Exit(plane.Run(m)) }

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}

// versions are the versions of Helm that the chart is for.
var versions = []string{"helm 4", "helm 3"}

// program returns the path of a version of Helm.
func program(t *testing.T, version string) string {
	t.Helper()
	if version == "helm 4" {
		return clustertest.Tool(t, "helm")
	}
	build := filepath.Join(clustertest.Root(), "hack", "helm3", "build.sh")
	dir, err := exec.CommandContext(t.Context(), build, "--if-built").Output()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no helm 3: run hack/helm3/build.sh")
		}
		t.Skip("there is no helm 3: run hack/helm3/build.sh")
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "helm")
}

// run runs a version of Helm and returns what it prints.
func run(t *testing.T, version string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, version), args...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", version, strings.Join(args, " "), err, errs.String())
	}
	return out.Bytes(), nil
}

// render renders a chart with settings, each name=JSON.
func render(t *testing.T, version, chart string, settings ...string) ([]byte, error) {
	t.Helper()
	args := []string{"template", release, chart, "--namespace", namespace}
	for _, s := range settings {
		args = append(args, "--set-json", s)
	}
	return run(t, version, args...)
}

// rendered returns the objects of the chart, those of the test apart.
func rendered(t *testing.T, settings ...string) objects {
	t.Helper()
	manifest, err := render(t, "helm 4", chart, append(settings, "test.enabled=false")...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, manifest)
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
// types do not have. Kinds of the Prometheus operator stay untyped: that they are
// right is tested in hack/monitoring, which has their types.
func decode(t *testing.T, manifest []byte) objects {
	t.Helper()
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	found := objects{}
	for _, doc := range documents(t, manifest) {
		bare := untyped(t, doc)
		var o client.Object = bare
		if bare.GroupVersionKind().Group != "monitoring.coreos.com" {
			raw, _, err := codecs.UniversalDeserializer().Decode(doc, nil, nil)
			if err != nil {
				t.Fatalf("%v in:\n%.500s", err, doc)
			}
			o = raw.(client.Object)
		}
		id := bare.GetKind() + "/" + o.GetName()
		if o.GetNamespace() != "" && o.GetNamespace() != namespace {
			id += "." + o.GetNamespace()
		}
		if _, twice := found[id]; twice {
			t.Fatalf("%s is there twice", id)
		}
		found[id] = o
	}
	return found
}

func untyped(t *testing.T, doc []byte) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict(doc, &o.Object); err != nil {
		t.Fatalf("%v in:\n%.500s", err, doc)
	}
	return o
}

// documents splits a manifest.
func documents(t *testing.T, manifest []byte) [][]byte {
	t.Helper()
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	var docs [][]byte
	for {
		doc, err := reader.Read()
		if err == io.EOF {
			return docs
		}
		if err != nil {
			t.Fatal(err)
		}
		if !isEmpty(doc) {
			docs = append(docs, bytes.Clone(doc))
		}
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

func deployment(o objects) *appsv1.Deployment {
	return o["Deployment/moq-operator"].(*appsv1.Deployment)
}

func container(o objects) corev1.Container { return deployment(o).Spec.Template.Spec.Containers[0] }

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

// kubeconfig returns a file that gives access to the control plane of the tests.
func kubeconfig(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, plane.Kubeconfig(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// makeNamespace makes a namespace that admits what the restricted Pod Security
// Standard allows, and nothing else.
func makeNamespace(t *testing.T, name string) {
	t.Helper()
	ns := &corev1.Namespace{}
	ns.Name, ns.Labels = name, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
	if err := plane.Client.Create(context.WithoutCancel(t.Context()), ns); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
}
