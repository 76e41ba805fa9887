package pki

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"
)

func TestSurelyLoaded(t *testing.T) {
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	current, err := MakeCA(made, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	later := made.Add(24 * time.Hour)
	next, err := MakeCA(later, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := MakeLeaf(current, []string{"localhost"}, 240*time.Hour, later, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := State{Authority: Authority{Current: current, Next: next}, Leaves: map[string]*Pair{"eu": leaf}}
	old, both := []string{current.Fingerprint()}, []string{current.Fingerprint(), next.Fingerprint()}
	for name, tt := range map[string]struct {
		now    time.Time
		trust  []string
		serves string
	}{
		"AtOnce":     {later, old, ""},
		"BeforeLong": {later.Add(settle - time.Second), old, ""},
		"ByThen":     {later.Add(settle), both, leaf.Fingerprint()},
	} {
		t.Run(name, func(t *testing.T) {
			trust, serves := s.SurelyLoaded("eu", tt.now)
			if !slices.Equal(trust, tt.trust) || serves != tt.serves {
				t.Errorf("trusts %q and serves %q, want %q and %q", trust, serves, tt.trust, tt.serves)
			}
		})
	}
	if trust, serves := (State{}).SurelyLoaded("eu", later); trust != nil || serves != "" {
		t.Errorf("of nothing: %q, %q", trust, serves)
	}
}
