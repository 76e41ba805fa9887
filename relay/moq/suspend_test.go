package moq

import (
	"testing"
	"testing/synctest"
	"time"
)

// Whoever takes a track over begins with the first group that is still to come,
// wherever that is.
func TestUnfinished(t *testing.T) {
	for name, tc := range map[string]struct {
		whole, suspended []uint64
		dropped          []Range
		want             uint64
	}{
		"NextToTheNewest":    {whole: []uint64{4, 5}, want: 6},
		"Suspended":          {whole: []uint64{4, 6}, suspended: []uint64{5}, want: 5},
		"Overtaken":          {whole: []uint64{4, 6}, want: 5},
		"GivenUp":            {whole: []uint64{4, 6}, dropped: []Range{{First: 5, Last: 5}}, want: 7},
		"OvertakenLongAgo":   {whole: []uint64{4, 6, 40, 41}, want: 25},
		"OvertakenByADozen":  {whole: []uint64{100, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112}, want: 101},
		"SuspendedAndBehind": {whole: []uint64{4, 7}, suspended: []uint64{6}, want: 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				track := newTrack(t, TrackConfig{})
				if _, ok := track.Unfinished(); ok {
					t.Error("a track without a group has one that is not finished")
				}
				for _, n := range tc.suspended {
					w := begin(t, track, n)
					w.Suspend(time.Second)
				}
				for _, n := range tc.whole {
					_ = begin(t, track, n).Finish()
				}
				for _, r := range tc.dropped {
					track.Drop(r.First, r.Last, UpstreamReset)
				}
				if got, ok := track.Unfinished(); !ok || got != tc.want {
					t.Errorf("first group %d, %v, want %d", got, ok, tc.want)
				}
				track.End(ErrEnded)
				time.Sleep(2 * time.Second)
			})
		})
	}
}

// A group that is suspended goes on where it stopped, in the middle of a frame if
// need be, and is given up if nobody resumes it in time.
func TestSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := newTrack(t, TrackConfig{})
		sub := subscribe(t, track, SubscribeOptions{})
		defer sub.Close()
		w := begin(t, track, 1)
		f, err := w.NewFrame(5)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("ab")); err != nil {
			t.Fatal(err)
		}
		w.Suspend(time.Second)
		w, frames, part, frame, ok := track.Resume(1)
		if !ok || frames != 1 || part != 2 || frame == nil {
			t.Fatalf("resumed %v after %d frames and %d bytes, want 1 and 2", ok, frames, part)
		}
		if _, err := frame.Write([]byte("cde")); err != nil {
			t.Fatal(err)
		}
		w.Suspend(time.Second)
		if _, frames, _, frame, ok := track.Resume(1); !ok || frames != 2 || frame != nil {
			t.Fatalf("resumed %v after %d frames, in the middle of one: %v, want 2", ok, frames, frame != nil)
		}
		w.Suspend(time.Second)
		g, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		for _, want := range []string{"frame", "abcde"} {
			if got, err := g.NextFrame(t.Context()); err != nil || string(got) != want {
				t.Errorf("frame %q, %v, want %q", got, err, want)
			}
		}
		began := time.Now()
		if _, err := g.NextFrame(t.Context()); err == nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v, want that the group is given up after 1 s", err, time.Since(began))
		}
		track.End(ErrEnded)
	})
}

// begin begins a group with one frame.
func begin(t *testing.T, track *Track, n uint64) *GroupWriter {
	t.Helper()
	w := create(t, track, n)
	if err := w.WriteFrame([]byte("frame")); err != nil {
		t.Fatal(err)
	}
	return w
}
