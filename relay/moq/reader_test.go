package moq

import (
	"io"
	"testing"
)

// TestRestart reads a group again from its first frame, with a subscriber that
// did not take what it was sent.
func TestRestart(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	s := subscribe(t, track, SubscribeOptions{})
	defer s.Close()
	writeGroup(t, track, 0, "a", "b")
	r := nextGroup(t, s, 0)
	if got, err := r.NextFrame(t.Context()); string(got) != "a" || err != nil {
		t.Fatalf("first frame is %q, %v", got, err)
	}
	r.Restart()
	if bytes, groups := s.Queued(); bytes != 13 || groups != 1 { // with their sizes and timestamps
		t.Errorf("%d bytes of %d groups are queued, want all of one", bytes, groups)
	}
	wantFrames(t, r, io.EOF, "a", "b")
}

// TestDroppedReader holds what a reader says of why it was dropped.
func TestDroppedReader(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	s := subscribe(t, track, SubscribeOptions{})
	defer s.Close()
	writeGroup(t, track, 0, "a")
	r := nextGroup(t, s, 0)
	if reason, dropped := r.Dropped(); dropped {
		t.Errorf("dropped for %v before it was", reason)
	}
	r.Abort(StreamCredit)
	if reason, dropped := r.Dropped(); !dropped || reason != StreamCredit {
		t.Errorf("dropped for %v, %t, want %v", reason, dropped, StreamCredit)
	}
}
