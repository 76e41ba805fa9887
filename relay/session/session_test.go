package session

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPanic holds what a panic becomes in a program, where it is not fatal.
func TestPanic(t *testing.T) {
	PanicsAreFatal = false
	defer func() { PanicsAreFatal = true }()
	err := Guard(func() { panic("BUG: a test") })
	p, ok := errors.AsType[*PanicError](err)
	if !ok || p.Value != "BUG: a test" || len(p.Stack) == 0 {
		t.Errorf("Guard returned %v, want the panic and its stack", err)
	}
	if err := Guard(func() {}); err != nil {
		t.Errorf("Guard returned %v without a panic", err)
	}
}

// TestPanicsAreFatalInTests holds the switch's position here.
func TestPanicsAreFatalInTests(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a panic went by unnoticed")
		}
	}()
	_ = Guard(func() { panic("BUG: a test") })
}

func TestDefaults(t *testing.T) {
	c := Config{Limits: Limits{Paths: 7}}.WithDefaults()
	want := ClientLimits()
	want.Paths = 7
	if diff := cmp.Diff(want, c.Limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	if c.HandshakeTimeout != DefaultHandshakeTimeout || c.Linger != DefaultLinger {
		t.Errorf("times %v and %v, want the defaults", c.HandshakeTimeout, c.Linger)
	}
	if got := ClientLimits().ForNode().ControlRate; got != 20000 {
		t.Errorf("a node may send %d control messages per second, want 20000", got)
	}
}
