package moq

import (
	"errors"
	"fmt"
	"testing"
)

func TestEndErrorsMatchByReason(t *testing.T) {
	err := fmt.Errorf("subscribe: %w", &EndError{Reason: NotFound, Detail: "no such room", App: 8})
	if !errors.Is(err, ErrNotFound) || errors.Is(err, ErrEnded) {
		t.Errorf("%v matches wrongly", err)
	}
	if got, want := err.Error(), "subscribe: not found: no such room"; got != want {
		t.Errorf("it reads %q, want %q", got, want)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	for r := range EndReason(len(endReasons)) {
		if r.String() == "" {
			t.Errorf("end reason %d has no name", r)
		}
	}
	if got, want := EndReason(99).String(), "reason 99"; got != want {
		t.Errorf("an unknown end reason is %q, want %q", got, want)
	}
}

// The names are values of a metric's label, which dashboards rely on.
func TestDropReasonsAreLabels(t *testing.T) {
	for want, r := range map[string]DropReason{
		"slow_subscriber": SlowSubscriber,
		"stale":           Stale,
		"stream_credit":   StreamCredit,
		"memory":          Memory,
		"expired":         Expired,
		"upstream_reset":  UpstreamReset,
		"reason_99":       99,
	} {
		if got := r.String(); got != want {
			t.Errorf("drop reason %d is %q, want %q", r, got, want)
		}
	}
	if got, want := (&DropError{Stale}).Error(), "group dropped: stale"; got != want {
		t.Errorf("the error reads %q, want %q", got, want)
	}
}
