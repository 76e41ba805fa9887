package suite

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestVerdict(t *testing.T) {
	gap := func(d time.Duration, groups int) Loss { return Loss{Groups: groups, Gap: d} }
	tests := map[string]struct {
		reason string
		result result
		want   string
		ok     bool
	}{
		"Clean":     {"nothing happened", result{kind: planned, loss: gap(90*time.Millisecond, 0)}, "nothing lost", true},
		"Lost":      {"a planned event may lose nothing", result{kind: planned, loss: gap(time.Second, 1)}, "FAILED: groups lost", false},
		"Accepted":  {"unless it is known why", result{kind: planned, loss: gap(time.Second, 1), lossy: "no GOAWAY"}, "accepted: no GOAWAY", true},
		"Slow":      {"unless it is known why", result{kind: unplanned, loss: gap(4*time.Second, 9), slow: "no relay is left"}, "accepted: no relay is left", true},
		"Silent":    {"but never for long", result{kind: planned, loss: gap(4*time.Second, 0), lossy: "no GOAWAY"}, "FAILED: silent for over 3s", false},
		"Recovered": {"what breaks may lose groups", result{kind: unplanned, loss: gap(2*time.Second, 40)}, "flows again within 3s", true},
		"Late":      {"but has to recover in time", result{kind: unplanned, loss: gap(3100*time.Millisecond, 40)}, "FAILED: silent for over 3s", false},
		"Broken":    {"an event that failed is no success", result{kind: planned, broken: "no pod"}, "FAILED: no pod", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			words, ok := tt.result.verdict()
			if words != tt.want || ok != tt.ok {
				t.Errorf("%s: got %q, %v, want %q, %v", tt.reason, words, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestKeep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	before := "# Title\n\n" + tableBegins + "old\n" + tableEnds + "\nThe end.\n"
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	results := []result{{event: "kill", kind: unplanned, loss: Loss{Groups: 2, Gap: 1200 * time.Millisecond}, took: 3 * time.Second}}
	if err := keep(file, markdown(results)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Title\n\n" + tableBegins + `
| event | kind | groups lost | longest gap | took | verdict |
| --- | --- | --- | --- | --- | --- |
| kill | unplanned | 2 | 1200 ms | 3.0 s | flows again within 3s |

` + tableEnds + "\nThe end.\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(file, []byte("# Title\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if keep(file, "") == nil {
		t.Error("a document without the lines was written")
	}
}
