package base

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/moqrelay/moqrelay/relay/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestUrgency(t *testing.T) {
	for _, tt := range []struct {
		rank, behind int
		want         uint8
	}{{0, 0, 1}, {0, 1, 2}, {3, 0, 4}, {9, 0, 4}, {9, 1, 5}, {0, 99, 7}} {
		if got := urgency(tt.rank, tt.behind); got != tt.want {
			t.Errorf("urgency of rank %d, %d behind is %d, want %d", tt.rank, tt.behind, got, tt.want)
		}
	}
}

func TestLimiter(t *testing.T) {
	start := time.Unix(0, 0)
	l := newLimiter(session.Limits{ControlRate: 10, ControlBurst: 5}, start)
	for i := range 5 {
		if wait, ok := l.take(start); wait != 0 || !ok {
			t.Errorf("message %d of a burst waits %v, %t", i, wait, ok)
		}
	}
	for i, want := range []time.Duration{100, 200, 300} {
		if wait, ok := l.take(start); wait != want*time.Millisecond || !ok {
			t.Errorf("message %d beyond waits %v, %t, want %v ms", i, wait, ok, int(want))
		}
	}
	if wait, ok := l.take(start.Add(time.Second)); wait != 0 || !ok {
		t.Errorf("after a second of silence a message waits %v, %t", wait, ok)
	}
}
