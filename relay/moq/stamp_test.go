package moq

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// stamped returns what readers of a group put on the wire of a protocol that has
// timestamps.
func stamped(t *testing.T, r *GroupReader) string {
	t.Helper()
	var b []byte
	for {
		c, err := r.Next(t.Context())
		if err != nil {
			return hex.EncodeToString(b)
		}
		b = append(b, c.Stamped()...)
	}
}

// TestTimestamps: a frame carries the distance of its timestamp to the one before
// it in the group, which may be negative, and the same payload without it.
func TestTimestamps(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	g := create(t, track, 42)
	for _, f := range []struct {
		payload   string
		timestamp uint64
	}{{"\x01\x02\x03", 1000}, {"\x04", 1033}, {"", 1026}} {
		if err := g.WriteFrameAt([]byte(f.payload), f.timestamp); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Finish(); err != nil {
		t.Fatal(err)
	}
	r, _ := track.Group(42)
	defer r.Close()
	if got, want := stamped(t, r), "47d003010203"+"40420104"+"0d00"; got != want {
		t.Errorf("with timestamps the group is %s, want %s", got, want)
	}
	r.Restart()
	wantFrames(t, r, io.EOF, "\x01\x02\x03", "\x04", "")
}

// TestArrivalTimestamps: frames that come without a timestamp get that of a clock
// in milliseconds.
func TestArrivalTimestamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := newTrack(t, TrackConfig{})
		s := subscribe(t, track, SubscribeOptions{})
		defer s.Close()
		start := time.Now()
		g := create(t, track, 0)
		write(t, g, "a")
		time.Sleep(1500 * time.Millisecond)
		write(t, g, "b")
		r := nextGroup(t, s, 0)
		defer r.Close()
		for _, want := range []uint64{0, 1500} {
			c, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Timestamp() - uint64(start.UnixMilli()); got != want {
				t.Errorf("a frame that came after %d ms is stamped %d", want, got)
			}
		}
	})
}

func TestTimestampOutOfRange(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	g := create(t, track, 0)
	if err := g.WriteFrameAt(nil, MaxTimestamp+1); !errors.Is(err, ErrMalformed) {
		t.Errorf("a timestamp above the highest: %v", err)
	}
}

// TestRecent: who asks for recent groups begins with the oldest whose end is not
// as old as that, by the timestamps, and not before a floor.
func TestRecent(t *testing.T) {
	floor := func(n uint64) *uint64 { return &n }
	for _, tt := range []struct {
		name    string
		options SubscribeOptions
		want    uint64
	}{
		{"the newest alone", SubscribeOptions{Recent: true, MaxAge: 1}, 4},
		{"two seconds", SubscribeOptions{Recent: true, MaxAge: 2 * time.Second}, 2}, // group 1 ends where 2 begins, two seconds ago
		{"a bit more", SubscribeOptions{Recent: true, MaxAge: 2001 * time.Millisecond}, 1},
		{"all", SubscribeOptions{Recent: true}, 0},
		{"a floor within", SubscribeOptions{Recent: true, Start: floor(2)}, 2},
		{"a floor above", SubscribeOptions{Recent: true, Start: floor(9)}, 9},
		{"not recent", SubscribeOptions{MaxAge: 2 * time.Second}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			track := newTrack(t, TrackConfig{Retention: time.Minute, Info: Info{Timescale: 90_000}})
			for seq := range uint64(5) {
				g := create(t, track, seq)
				if err := g.WriteFrameAt([]byte("x"), seq*90_000); err != nil {
					t.Fatal(err)
				}
				_ = g.Finish()
			}
			s := subscribe(t, track, tt.options)
			defer s.Close()
			if got := *s.Options().Start; got != tt.want {
				t.Errorf("begins with group %d, want %d", got, tt.want)
			}
		})
	}
}

// TestStaleByTimestamps: a burst after a stall makes nothing stale that is not by
// its timestamps.
func TestStaleByTimestamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := newTrack(t, TrackConfig{Info: Info{Timescale: 1000}, Retention: time.Minute})
		s := subscribe(t, track, SubscribeOptions{MaxAge: 500 * time.Millisecond})
		defer s.Close()
		put := func(seq, timestamp uint64) {
			g := create(t, track, seq)
			if err := g.WriteFrameAt(bytes.Repeat([]byte("x"), 10), timestamp); err != nil {
				t.Fatal(err)
			}
			_ = g.Finish()
		}
		put(0, 0)
		put(1, 100)
		time.Sleep(10 * time.Second)
		put(2, 200)
		if got := s.Dropped(); got != nil {
			t.Errorf("dropped %v although only 200 ms of media have passed", got)
		}
		put(3, 1200)
		if got := s.Dropped(); len(got) != 1 || got[0].First != 0 || got[0].Last != 1 || got[0].Reason != Stale {
			t.Errorf("dropped %v, want groups 0 and 1", got)
		}
	})
}
