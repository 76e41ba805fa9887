package moq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// taken returns what waits in m, as "id:sequence", and how many were dropped.
func taken(m *Mailbox) (got []string, dropped uint64) {
	for {
		id, d, n, ok := m.take()
		if !ok {
			return got, dropped
		}
		got = append(got, fmt.Sprintf("%d:%d", id, d.Sequence))
		dropped += n
	}
}

func wantTaken(t *testing.T, m *Mailbox, want ...string) {
	t.Helper()
	if got, dropped := taken(m); !slices.Equal(got, want) || dropped != 0 {
		t.Errorf("got %q, %d dropped, want %q", got, dropped, want)
	}
}

// TestDatagrams: they go to those who take them, within their range, once, and
// leave nothing behind.
func TestDatagrams(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	m := NewMailbox()
	end := uint64(6)
	all, some, none := subscribe(t, track, SubscribeOptions{}), subscribe(t, track, SubscribeOptions{End: &end}), subscribe(t, track, SubscribeOptions{})
	all.TakeDatagrams(m, 1)
	some.TakeDatagrams(m, 2)
	track.PublishDatagram(5, 90, []byte("a"))
	track.PublishDatagram(5, 90, []byte("again"))
	track.PublishDatagram(7, 91, nil)
	wantTaken(t, m, "1:5", "2:5", "1:7")
	track.PublishDatagram(6, 92, nil) // late, and new
	wantTaken(t, m, "1:6", "2:6")
	for _, s := range []*Subscription{all, some, none} {
		wantNone(t, s)
	}
	if _, ok := track.Group(5); ok {
		t.Error("a datagram is in the cache")
	}
	if _, known := track.Largest(); known {
		t.Error("a datagram moves the largest location")
	}
	late := subscribe(t, track, SubscribeOptions{})
	late.TakeDatagrams(m, 3)
	all.Close()
	wantTaken(t, m) // nothing of before
	track.PublishDatagram(8, 0, nil)
	wantTaken(t, m, "3:8")
	writeGroup(t, track, 5, "a group of that number, on a stream")
	nextGroup(t, late, 5).Close()
	track.End(ErrEnded)
	track.PublishDatagram(9, 0, nil)
	wantTaken(t, m)
	for _, s := range []*Subscription{some, none, late} {
		s.Close()
	}
}

// TestDatagramWindow: of the last 64 numbers each comes once, older ones never.
func TestDatagramWindow(t *testing.T) {
	var w window
	for _, step := range []struct {
		n    uint64
		want bool
	}{
		{0, true},
		{0, false},
		{1, true},
		{63, true},
		{0, false},
		{62, true},
		{62, false},
		{64, true},
		{0, false},
		{1, false},
		{2, true},
		{1 << 62, true},
		{64, false},
		{1<<62 - 63, true},
		{1<<62 - 63, false},
		{1<<62 - 64, false},
		{1<<62 + 1, true},
		{1 << 62, false},
	} {
		if got := w.add(step.n); got != step.want {
			t.Errorf("%d is new: %t, want %t", step.n, got, step.want)
		}
	}
}

// TestS15_DatagramQueueIsBounded: what waits for a subscription that is not sent
// is bounded, the oldest goes first, and others lose nothing and have their turn.
func TestS15_DatagramQueueIsBounded(t *testing.T) {
	busy, calm := newTrack(t, TrackConfig{}), newTrack(t, TrackConfig{})
	m := NewMailbox()
	first, second := subscribe(t, busy, SubscribeOptions{}), subscribe(t, calm, SubscribeOptions{})
	defer first.Close()
	defer second.Close()
	first.TakeDatagrams(m, 1)
	second.TakeDatagrams(m, 2)
	const n = 10_000
	for i := range uint64(n) {
		busy.PublishDatagram(i, 0, nil)
	}
	calm.PublishDatagram(0, 0, nil)
	got, dropped := taken(m)
	if len(got) != maxDatagrams+1 || dropped != n-maxDatagrams {
		t.Fatalf("%d wait, %d are dropped", len(got), dropped)
	}
	if want := fmt.Sprint("1:", n-maxDatagrams); got[0] != want || got[1] != "2:0" {
		t.Errorf("first come %q, want %q and the one of the other", got[:2], want)
	}
	if len(m.waiting) != 0 {
		t.Errorf("%d queues wait for nothing", len(m.waiting))
	}
}

// TestMailboxWaits for what comes later, or for the end of its context.
func TestMailboxWaits(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	m := NewMailbox()
	s := subscribe(t, track, SubscribeOptions{})
	defer s.Close()
	s.TakeDatagrams(m, 1)
	time.AfterFunc(time.Millisecond, func() { track.PublishDatagram(1, 2, []byte("x")) })
	id, d, _, err := m.Next(t.Context())
	if err != nil || id != 1 || d.Sequence != 1 || d.Timestamp != 2 || string(d.Payload) != "x" {
		t.Errorf("got %d, %+v, %v", id, d, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrGoingAway)
	if _, _, _, err := m.Next(ctx); !errors.Is(err, ErrGoingAway) {
		t.Errorf("at the end: %v", err)
	}
}
