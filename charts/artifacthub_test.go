package charts

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/controllers/clustertest"
)

// metadata is Chart.yaml.
type metadata struct {
	Version     string            `json:"version"`
	AppVersion  string            `json:"appVersion"`
	Annotations map[string]string `json:"annotations"`
}

func chartMetadata(t *testing.T) metadata {
	t.Helper()
	var m metadata
	read(t, "moq-operator/Chart.yaml", &m)
	return m
}

// annotation reads the YAML in an annotation for Artifact Hub.
func annotation[T any](t *testing.T, m metadata, name string) T {
	t.Helper()
	var v T
	if err := yaml.UnmarshalStrict([]byte(m.Annotations["artifacthub.io/"+name]), &v); err != nil {
		t.Fatalf("annotation %s: %v", name, err)
	}
	return v
}

// TestArtifactHub (U43) holds that what the chart tells Artifact Hub is well
// formed and true.
func TestArtifactHub(t *testing.T) {
	m := chartMetadata(t)
	if m.AppVersion != "v"+m.Version {
		t.Errorf("version %s is of %s: chart and images are released together", m.Version, m.AppVersion)
	}

	type image struct {
		Name      string   `json:"name"`
		Image     string   `json:"image"`
		Platforms []string `json:"platforms"`
	}
	var images []string
	for _, i := range annotation[[]image](t, m, "images") {
		images = append(images, i.Image)
		if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, i.Platforms); diff != "" {
			t.Errorf("platforms of %s (-want +got):\n%s", i.Name, diff)
		}
	}
	manifest, err := render(t, "helm 4", chart)
	if err != nil {
		t.Fatal(err)
	}
	all := decode(t, manifest)
	test := all["Pod/moq-operator-test.default"]
	want := []string{container(all).Image, strings.TrimPrefix(container(all).Args[2], "--relay-image="), imageOfTest(t, test)}
	if diff := cmp.Diff(want, images); diff != "" {
		t.Errorf("images (-rendered +annotation):\n%s", diff)
	}

	type crd struct {
		Kind        string `json:"kind"`
		Version     string `json:"version"`
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
		Description string `json:"description"`
	}
	crds := annotation[[]crd](t, m, "crds")
	if len(crds) != 1 || all["CustomResourceDefinition/"+crds[0].Name] == nil || crds[0].Kind != "RelayCluster" || crds[0].Version != "v1alpha1" {
		t.Errorf("definitions %+v", crds)
	}

	type change struct {
		Kind        string `json:"kind"`
		Description string `json:"description"`
	}
	for _, c := range annotation[[]change](t, m, "changes") {
		if !slices.Contains([]string{"added", "changed", "deprecated", "removed", "fixed", "security"}, c.Kind) || c.Description == "" {
			t.Errorf("change %+v", c)
		}
	}
	type link struct {
		Name string `json:"name"`
		URL  string `json:"url"`
	}
	for _, l := range annotation[[]link](t, m, "links") {
		if l.Name == "" || !strings.HasPrefix(l.URL, "https://") {
			t.Errorf("link %+v", l)
		}
	}
	for name, allowed := range map[string][]string{
		"license":              {"Apache-2.0"},
		"operator":             {"true"},
		"prerelease":           {"true", "false"},
		"category":             {"ai-machine-learning", "database", "integration-delivery", "monitoring-logging", "networking", "security", "storage", "streaming-messaging"},
		"operatorCapabilities": {"Basic Install", "Seamless Upgrades", "Full Lifecycle", "Deep Insights", "Auto Pilot"},
	} {
		if got := m.Annotations["artifacthub.io/"+name]; !slices.Contains(allowed, got) {
			t.Errorf("annotation %s is %q, want one of %q", name, got, allowed)
		}
	}
}

// TestExamplesPassAdmission (U43) creates the examples of Artifact Hub, and the
// manifest of the notes (U6), at an API server that does not keep them.
func TestExamplesPassAdmission(t *testing.T) {
	plane.Start(t)
	installDefinition(t)
	makeNamespace(t, "examples")
	examples := annotation[[]map[string]any](t, chartMetadata(t), "crdsExamples")
	if len(examples) == 0 {
		t.Error("there is no example")
	}
	examples = append(examples, manifestOfNotes(t))
	for _, example := range examples {
		dryRun(t, &unstructured.Unstructured{Object: example})
	}
}

// dryRun creates an object of a sample, in namespace examples, and does not keep
// it. Fields that its kind does not have are errors.
func dryRun(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	o.SetNamespace("examples")
	strict := client.WithFieldValidation(plane.Client, "Strict")
	if err := strict.Create(t.Context(), o, client.DryRunAll); err != nil {
		t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// installDefinition installs the chart's CustomResourceDefinition.
func installDefinition(t *testing.T) {
	t.Helper()
	var o unstructured.Unstructured
	read(t, "moq-operator/files/moqrelay.io_relayclusters.yaml", &o.Object)
	if err := plane.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(&o), client.FieldOwner("helm"), client.ForceOwnership); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "RelayClusters are served", served)
}
