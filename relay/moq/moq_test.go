package moq

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

// newTrack returns a track that is checked at the end of the test, together
// with its budget.
func newTrack(t testing.TB, c TrackConfig) *Track {
	t.Helper()
	if c.Budget == nil {
		c.Budget = NewBudget(1 << 30)
	}
	if c.Path == (Path{}) {
		c.Path = NewPath("test", "track")
	}
	track := NewTrack(c)
	t.Cleanup(func() { check(t, track) })
	return track
}

func check(t testing.TB, track *Track) {
	t.Helper()
	if err := track.ConsistencyCheck(); err != nil {
		t.Errorf("track: %v", err)
	}
	if err := track.budget.ConsistencyCheck(); err != nil {
		t.Errorf("budget: %v", err)
	}
}

func subscribe(t testing.TB, track *Track, o SubscribeOptions) *Subscription {
	t.Helper()
	s, err := track.Subscribe(o)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return s
}

func create(t testing.TB, track *Track, seq uint64) *GroupWriter {
	t.Helper()
	g, err := track.CreateGroup(seq)
	if err != nil {
		t.Fatalf("create group %d: %v", seq, err)
	}
	return g
}

// writeGroup writes a finished group of the given frames.
func writeGroup(t testing.TB, track *Track, seq uint64, frames ...string) {
	t.Helper()
	g := create(t, track, seq)
	for _, f := range frames {
		write(t, g, f)
	}
	if err := g.Finish(); err != nil {
		t.Fatalf("finish group %d: %v", seq, err)
	}
}

func write(t testing.TB, g *GroupWriter, frame string) {
	t.Helper()
	if err := g.WriteFrame([]byte(frame)); err != nil {
		t.Fatalf("write to group %d: %v", g.Sequence(), err)
	}
}

// nextGroup returns the next group, which must be there.
func nextGroup(t testing.TB, s *Subscription, seq uint64) *GroupReader {
	t.Helper()
	r, err := s.poll()
	if err != nil || r == nil {
		t.Fatalf("next group is %v, %v, want %d", r, err, seq)
	}
	if r.Sequence() != seq {
		t.Fatalf("next group is %d, want %d", r.Sequence(), seq)
	}
	return r
}

// wantNone fails if a group waits.
func wantNone(t testing.TB, s *Subscription) {
	t.Helper()
	if r, err := s.poll(); r != nil || err != nil {
		t.Fatalf("next group is %v, %v, want none", r, err)
	}
}

// wantEnd fails if there is anything but the end of the subscription.
func wantEnd(t testing.TB, s *Subscription, want error) {
	t.Helper()
	if r, err := s.poll(); r != nil || !errors.Is(err, want) {
		t.Fatalf("next group is %v, %v, want the end: %v", r, err, want)
	}
}

// wantFrames reads all that is left of a group and closes the reader.
func wantFrames(t testing.TB, r *GroupReader, end error, frames ...string) {
	t.Helper()
	defer r.Close()
	for i, want := range frames {
		got, err := r.NextFrame(t.Context())
		if err != nil || string(got) != want {
			t.Fatalf("frame %d of group %d is %q, %v, want %q", i, r.Sequence(), got, err, want)
		}
	}
	if f, err := r.NextFrame(t.Context()); !errors.Is(err, end) {
		t.Fatalf("group %d goes on with %q, %v, want %v", r.Sequence(), f, err, end)
	}
}

// wantDrop fails unless the reader says that its group is dropped.
func wantDrop(t testing.TB, r *GroupReader, want DropReason) {
	t.Helper()
	select {
	case <-r.Done():
	default:
		t.Errorf("group %d: Done is open", r.Sequence())
	}
	_, err := r.Next(t.Context())
	if drop, ok := errors.AsType[*DropError](err); !ok || drop.Reason != want {
		t.Errorf("group %d ends with %v, want dropped: %v", r.Sequence(), err, want)
	}
}

// slowly is a reader that gives its bytes in steps with a pause before each.
type slowly struct {
	data  []byte
	step  int
	pause time.Duration
}

func (r *slowly) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	time.Sleep(r.pause)
	n := copy(p, r.data[:min(r.step, len(r.data))])
	r.data = r.data[n:]
	return n, nil
}

// noise returns so many bytes, always the same for a seed.
func noise(seed uint64, size int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	b := make([]byte, size)
	_, _ = r.Read(b) // never fails
	return b
}

func at(seq uint64) *uint64 { return new(seq) }
