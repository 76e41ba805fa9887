package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: after the burst a reader waits for each message, however long it goes
// on, and no longer than there is somebody to read from.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(Limits{ControlRate: 10, ControlBurst: 5})
		began := time.Now()
		for range 5 + 10*60 {
			if !p.Wait(t.Context()) {
				t.Fatal("the reader was stopped")
			}
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("605 messages were read in %v, want a minute", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if p.Wait(ctx) {
			t.Error("a reader of a connection that has ended goes on")
		}
	})
}
