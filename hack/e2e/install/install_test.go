package install

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/hack/e2e/rig"
)

func TestRegions(t *testing.T) {
	n1, n2, n3 := rig.Node{Name: "n1", Region: "eu"}, rig.Node{Name: "n2", Region: "us"}, rig.Node{Name: "n3", Region: "eu"}
	want := []region{{"eu", []rig.Node{n1, n3}, 30443}, {"us", []rig.Node{n2}, 30444}}
	if diff := cmp.Diff(want, regions([]rig.Node{n1, n2, n3})); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
}

// TestManifest: what is applied is what the API takes, and passes its rules.
func TestManifest(t *testing.T) {
	p, err := rig.NewPlan("dev", "", t.TempDir(), "", 3)
	if err != nil {
		t.Fatal(err)
	}
	i := installation{Target: Target{Description: p.Describe(), State: p.State}, progress: io.Discard, regions: regions(p.Nodes)}
	text, err := i.manifest()
	if err != nil {
		t.Fatal(err)
	}
	_, cluster, _ := bytes.Cut(text, []byte("---\n"))
	c, err := v1alpha1.Decode(cluster)
	if err != nil {
		t.Fatalf("%v\n%s", err, cluster)
	}
	v1alpha1.Default(c)
	if errs := v1alpha1.Validate(c); len(errs) > 0 {
		t.Errorf("refused: %v", errs.ToAggregate())
	}
	if len(c.Spec.Regions) != 2 || len(c.Spec.Regions[0].Exposure.Hostnames) != 2 {
		t.Errorf("got %+v, want the three nodes in two regions", c.Spec.Regions)
	}
}

// TestTell: every printed command names a file and an address that are there.
func TestTell(t *testing.T) {
	p, err := rig.NewPlan("dev", "", t.TempDir(), "/bin", 2)
	if err != nil {
		t.Fatal(err)
	}
	i := installation{Target: Target{Description: p.Describe(), State: p.State}, regions: regions(p.Nodes)}
	var out strings.Builder
	if err := i.tell(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{p.Kubeconfig(), i.trust(), p.Nodes[0].Address + ":30443", p.Nodes[1].Address + ":30444"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestAppVersion(t *testing.T) {
	version, err := AppVersion("../../../charts/moq-operator")
	if err != nil || !strings.HasPrefix(version, "v") {
		t.Errorf("got %q, %v, want that of the chart", version, err)
	}
	if _, err := AppVersion(t.TempDir()); err == nil {
		t.Error("no error without a chart")
	}
}
