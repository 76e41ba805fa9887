package relaycluster_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
)

// A wrong manifest is refused by the rule that is meant for it, whose words its
// first line holds. The API server's answer is what kubectl shows.
func TestWrongManifestsAreRefused(t *testing.T) {
	start(t)
	files, err := filepath.Glob(filepath.Join(clustertest.Root(), "api/v1alpha1/testdata/invalid/*.yaml"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d manifests: %v", len(files), err)
	}
	ns := plane.Namespace(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(data), "\n")
			want, ok := strings.CutPrefix(first, "# want: ")
			if !ok {
				t.Fatalf("the first line is %q, want one that begins with # want:", first)
			}
			err = create(t, ns, data)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("refused with\n%v\nwant\n%s", err, want)
			}
		})
	}
}

func TestGoodManifestsAreAccepted(t *testing.T) {
	start(t)
	ns := plane.Namespace(t)
	for _, pattern := range []string{"api/v1alpha1/testdata/valid/*.yaml", "config/samples/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(clustertest.Root(), pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d manifests: %v", pattern, len(files), err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				clusters := 0
				for document := range strings.SplitSeq(string(data), "\n---\n") {
					if parse(t, document).GetKind() != v1alpha1.Kind {
						continue // what stands beside it in a sample
					}
					clusters++
					if err := create(t, ns, []byte(document)); err != nil {
						t.Error(err)
					}
				}
				if clusters == 0 {
					t.Error("it has no RelayCluster")
				}
			})
		}
	}
}

// create has the API server take a manifest, strictly and without keeping it.
func create(t *testing.T, namespace string, data []byte) error {
	t.Helper()
	return plane.Clientset.RESTClient().Post().
		AbsPath("/apis/moqrelay.io/v1alpha1/namespaces", namespace, "relayclusters").
		Param("dryRun", "All").Param("fieldValidation", "Strict").
		SetHeader("Content-Type", "application/yaml").
		Body(data).Do(t.Context()).Error()
}

// kubectl apply, without --server-side, keeps the whole object in an annotation
// of at most 256 KiB.
func TestDefinitionFitsClientSideApply(t *testing.T) {
	start(t)
	kubectl(t, "apply", "-f", filepath.Join(clustertest.Root(), "config/crd/moqrelay.io_relayclusters.yaml"))
}

// What kubectl shows is what a user looks at first.
func TestColumns(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()
	w.until("the relays have been asked", func(c *v1alpha1.RelayCluster) error {
		if got := c.Status.Summary.Sessions; got != "0" {
			return fmt.Errorf("%s sessions", got)
		}
		return nil
	})
	out := kubectl(t, "get", "rlc", "-n", w.namespace)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if got, want := strings.Fields(lines[0]), []string{"NAME", "READY", "REASON", "ROOT", "REGIONS", "NODES", "SESSIONS", "AGE"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("columns %v, want %v", got, want)
	}
	if got, want := strings.Fields(lines[1])[:7], []string{"live", "True", "Ready", "1/1", "2/2", "5/5", "0"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("row %v, want %v", got, want)
	}
}

// kubectl runs the real one as administrator.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, plane.Kubeconfig(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), clustertest.Tool(t, "kubectl"), append([]string{"--kubeconfig", kubeconfig}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
