package charts

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSamplesPassAdmission creates every object of the samples, those of other
// projects apart, at an API server that does not keep them.
func TestSamplesPassAdmission(t *testing.T) {
	plane.Start(t)
	installDefinition(t)
	makeNamespace(t, "examples")
	files, err := filepath.Glob("../config/samples/*.yaml")
	if err != nil || len(files) < 9 {
		t.Fatalf("samples %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			clusters := 0
			for _, doc := range documents(t, text) {
				o := untyped(t, doc)
				switch o.GroupVersionKind().Group {
				case "cert-manager.io", "keda.sh": // their definitions are not here
					continue
				case "moqrelay.io":
					clusters++
				}
				dryRun(t, o)
			}
			if clusters == 0 {
				t.Error("it has no RelayCluster")
			}
		})
	}
}
