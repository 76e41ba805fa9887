package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestReport holds the report of a run in which everything happens that can:
// tests that pass, skip and fail, a panic, a time-out, a failed build, and a
// package that fails without any of its tests having done so.
func TestReport(t *testing.T) {
	events, err := os.Open(filepath.Join("testdata", "mixed", "events.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	var out strings.Builder
	s := newSummary(&out)
	if err := s.read(events); err != nil {
		t.Fatal(err)
	}
	if s.finish(map[string]bool{"0": true}, nil, true) {
		t.Error("a run with failures is called good")
	}
	golden := filepath.Join("testdata", "mixed", "want.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("report (-want +got, -update rewrites it):\n%s", diff)
	}
}

func TestFinish(t *testing.T) {
	const passed = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}
`
	tests := []struct {
		name   string
		reason string
		events string
		tiers  string
		strict bool
		want   bool
		last   string
	}{
		{
			name: "all tiers", reason: "a full run is good anywhere",
			events: passed, tiers: "tier 1\ntier 0\ntier 1\n", strict: true, want: true, last: "tiers: 0 1",
		},
		{
			name: "missing on a laptop", reason: "not every machine can run every tier",
			events: passed, tiers: "tier 0\n", want: true, last: "tiers: 0",
		},
		{
			name: "missing in CI", reason: "CI must not grow quietly weaker",
			events: passed, tiers: "tier 0\n", strict: true, want: false, last: "tiers: 0",
		},
		{
			name: "package failed alone", reason: "TestMain may fail where no test did",
			events: passed + `{"Action":"fail","Package":"q"}` + "\n", tiers: "tier 0\ntier 1\n", want: false, last: "tiers: 0 1",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tiers, err := readTiers(strings.NewReader(tt.tiers))
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			s := newSummary(&out)
			if err := s.read(strings.NewReader(tt.events)); err != nil {
				t.Fatal(err)
			}
			if got := s.finish(tiers, []string{"0", "1"}, tt.strict); got != tt.want {
				t.Errorf("good = %v, want %v: %s", got, tt.want, tt.reason)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if got := lines[len(lines)-1]; got != tt.last {
				t.Errorf("last line = %q, want %q", got, tt.last)
			}
		})
	}
}
