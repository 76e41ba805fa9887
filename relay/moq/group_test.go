package moq

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestFrameSizes(t *testing.T) {
	for _, size := range []int{0, 1, 63, 64, firstPiece, firstPiece + 1, 16383, 16384, provenPiece + 1, 3 << 20} {
		for name, write := range map[string]func(*GroupWriter, []byte) error{
			"WriteFrame": (*GroupWriter).WriteFrame,
			"ReadFrom":   readFrom,
			"Write": func(g *GroupWriter, data []byte) error {
				f, err := g.NewFrame(uint64(len(data)))
				for part := range slices.Chunk(data, 1000) {
					if _, err := f.Write(part); err != nil {
						return err
					}
				}
				return err
			},
		} {
			track := newTrack(t, TrackConfig{})
			s := subscribe(t, track, SubscribeOptions{})
			g := create(t, track, 0)
			want := noise(1, size)
			for range 2 { // the second time, the size is proven
				if err := write(g, want); err != nil {
					t.Fatalf("%s of %d bytes: %v", name, size, err)
				}
			}
			if err := g.Finish(); err != nil {
				t.Fatalf("%s of %d bytes: finish: %v", name, size, err)
			}
			wantFrames(t, nextGroup(t, s, 0), io.EOF, string(want), string(want))
			r, _ := track.Group(0)
			wantChunks(t, r, want)
			r.Close()
		}
	}
}

func readFrom(g *GroupWriter, data []byte) error {
	f, err := g.NewFrame(uint64(len(data)))
	if err != nil {
		return err
	}
	n, err := f.ReadFrom(io.MultiReader(bytes.NewReader(data), strings.NewReader("next")))
	if n != int64(len(data)) {
		return errors.New("wrong count")
	}
	return err
}

// wantChunks reads one frame by its chunks.
func wantChunks(t *testing.T, r *GroupReader, want []byte) {
	t.Helper()
	var payload, wire []byte
	for start := true; ; start = false {
		c, err := r.Next(t.Context())
		if err != nil {
			t.Fatalf("frame of %d bytes: %v", len(want), err)
		}
		if c.Start() != start || c.Size() != uint64(len(want)) || c.Arrived().IsZero() {
			t.Errorf("frame of %d bytes: chunk starts %v, size %d, arrived %v", len(want), c.Start(), c.Size(), c.Arrived())
		}
		payload = append(payload, c.Payload()...)
		wire = append(wire, c.Prefixed()...)
		if c.End() {
			break
		}
	}
	if !bytes.Equal(payload, want) {
		t.Errorf("frame of %d bytes: payload differs", len(want))
	}
	if !bytes.Equal(wire, append(appendVarint(nil, uint64(len(want))), want...)) {
		t.Errorf("frame of %d bytes: prefixed form differs", len(want))
	}
}

func TestVarintVectors(t *testing.T) {
	// RFC 9000, appendix A.1.
	for want, n := range map[string]uint64{
		"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c": 151_288_809_941_952_652,
		"\x9d\x7f\x3e\x7d":                 494_878_333,
		"\x7b\xbd":                         15_293,
		"\x25":                             37,
	} {
		if got := appendVarint(nil, n); string(got) != want || varintLen(n) != len(want) {
			t.Errorf("%d is %x in %d bytes, want %x", n, got, varintLen(n), want)
		}
	}
}

func TestReadersShareThePayload(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	writeGroup(t, track, 0, "shared")
	a, _ := track.Group(0)
	b, _ := track.Group(0)
	defer a.Close()
	defer b.Close()
	fa, _ := a.NextFrame(t.Context())
	fb, _ := b.NextFrame(t.Context())
	if &fa[0] != &fb[0] || cap(fa) != len(fa) {
		t.Errorf("the readers have different buffers, or ones that can be appended to")
	}
}

// A reader is woken for a frame, for 8 KiB, or after 3 ms: not per packet.
func TestWakeUpsAreCoalesced(t *testing.T) {
	for name, tc := range map[string]struct {
		size, step int
		pause      time.Duration
		want       []int // payload bytes per chunk
		took       time.Duration
	}{
		"whole frame at once":   {size: 1000, step: 1000, want: []int{1000}},
		"packets of one burst":  {size: 3600, step: 1200, want: []int{3600}},
		"large burst":           {size: 60_000, step: 1200, want: []int{8400, 8400, 8400, 8400, 8400, 8400, 8400, 1200}},
		"slow packets":          {size: 6000, step: 1200, pause: 2 * time.Millisecond, want: []int{2400, 2400, 1200}, took: 10 * time.Millisecond},
		"one packet, then none": {size: 2400, step: 1200, pause: time.Second, want: []int{1200, 1200}, took: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				track := newTrack(t, TrackConfig{})
				track.proven.Store(provenPiece)
				s := subscribe(t, track, SubscribeOptions{})
				start := time.Now()
				go func() {
					g, _ := track.CreateGroup(0)
					f, _ := g.NewFrame(uint64(tc.size))
					_, _ = f.ReadFrom(&slowlyWithin{slowly{noise(1, tc.size), tc.step, tc.pause}})
					_ = g.Finish()
				}()
				r, err := s.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				var got []int
				for {
					c, err := r.Next(t.Context())
					if err == io.EOF {
						break
					}
					got = append(got, len(c.Payload()))
				}
				if !slices.Equal(got, tc.want) || time.Since(start) != tc.took {
					t.Errorf("chunks of %d bytes after %v, want %d after %v", got, time.Since(start), tc.want, tc.took)
				}
			})
		})
	}
}

// slowlyWithin lets all readers run between the steps.
type slowlyWithin struct{ slowly }

func (r *slowlyWithin) Read(p []byte) (int, error) {
	synctest.Wait()
	return r.slowly.Read(p)
}

func TestFirstBytesAreLateByThreeMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := newTrack(t, TrackConfig{})
		s := subscribe(t, track, SubscribeOptions{})
		g := create(t, track, 0)
		f, _ := g.NewFrame(100)
		for range 3 { // the timer is used again
			start := time.Now()
			_, _ = f.Write([]byte("slow"))
			time.Sleep(time.Millisecond)
			_, _ = f.Write([]byte("ly"))
			if s.active == nil {
				r, err := s.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
			}
			c, err := s.active[0].Next(t.Context())
			if err != nil || string(c.Payload()) != "slowly" {
				t.Fatalf("chunk %q, %v", c.Payload(), err)
			}
			if got := time.Since(start); got != flushDelay {
				t.Errorf("first byte read after %v, want %v", got, flushDelay)
			}
		}
		g.Abort(nil)
	})
}

func TestTruncatedNeverBecomesComplete(t *testing.T) {
	cause := &EndError{Reason: GoingAway, Detail: "test"}
	for name, tc := range map[string]struct {
		end    func(*Track, *GroupWriter) error
		want   error
		frames []string
	}{
		"abort between frames": {
			end:    func(_ *Track, g *GroupWriter) error { g.Abort(cause); return nil },
			want:   cause,
			frames: []string{"whole"},
		},
		"abort without a reason": {
			end:    func(_ *Track, g *GroupWriter) error { g.Abort(nil); return nil },
			want:   ErrTruncated,
			frames: []string{"whole"},
		},
		"abort with a clean reason": {
			end:    func(_ *Track, g *GroupWriter) error { g.Abort(ErrEnded); return nil },
			want:   ErrTruncated,
			frames: []string{"whole"},
		},
		"finish with a short frame": {
			end: func(_ *Track, g *GroupWriter) error {
				f, _ := g.NewFrame(10)
				_, _ = f.Write([]byte("short"))
				if err := g.Finish(); !errors.Is(err, ErrTruncated) {
					return errors.New("a short frame was finished")
				}
				return nil
			},
			want:   ErrTruncated,
			frames: []string{"whole"},
		},
		"next frame behind a short one": {
			end: func(_ *Track, g *GroupWriter) error {
				_, _ = g.NewFrame(10)
				if err := g.WriteFrame(nil); !errors.Is(err, ErrTruncated) {
					return errors.New("a frame was written behind a short one")
				}
				return nil
			},
			want:   ErrTruncated,
			frames: []string{"whole"},
		},
		"track fails": {
			end:    func(track *Track, _ *GroupWriter) error { track.End(cause); return nil },
			want:   cause,
			frames: []string{"whole"},
		},
		"frame too large": {
			end: func(_ *Track, g *GroupWriter) error {
				if _, err := g.NewFrame(1 << 40); !errors.Is(err, ErrTooLarge) {
					return errors.New("a frame of 1 TiB was begun")
				}
				return nil
			},
			want:   ErrTooLarge,
			frames: []string{"whole"},
		},
		"frame longer than declared": {
			end: func(_ *Track, g *GroupWriter) error {
				f, _ := g.NewFrame(1)
				if _, err := f.Write([]byte("xx")); !errors.Is(err, ErrMalformed) {
					return errors.New("a frame was longer than declared")
				}
				return nil
			},
			want:   ErrMalformed,
			frames: []string{"whole"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			track := newTrack(t, TrackConfig{})
			s := subscribe(t, track, SubscribeOptions{})
			g := create(t, track, 0)
			write(t, g, "whole")
			early := nextGroup(t, s, 0)
			late, _ := track.Group(0)
			if err := tc.end(track, g); err != nil {
				t.Fatal(err)
			}
			select {
			case <-g.Closed():
			default:
				t.Error("the writer was not told")
			}
			if err := g.WriteFrame(nil); err == nil {
				t.Error("a frame was written behind the end")
			}
			if err := g.Finish(); err == nil {
				t.Error("the group was finished behind the end")
			}
			wantFrames(t, early, tc.want, tc.frames...)
			wantFrames(t, late, tc.want, tc.frames...)
		})
	}
}

// What arrived of a frame is not held back when its group is cut.
func TestAbortDeliversWhatIsThere(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	s := subscribe(t, track, SubscribeOptions{})
	g := create(t, track, 0)
	f, _ := g.NewFrame(10)
	_, err := f.ReadFrom(iotest.DataErrReader(strings.NewReader("half")))
	if err != io.ErrUnexpectedEOF {
		t.Errorf("ReadFrom a short stream: %v", err)
	}
	wantNone(t, s)
	g.Abort(nil)
	r := nextGroup(t, s, 0)
	defer r.Close()
	c, err := r.Next(t.Context())
	if err != nil || string(c.Payload()) != "half" || c.End() {
		t.Errorf("chunk %q, %v, end %v", c.Payload(), err, c.End())
	}
	if _, err := r.Next(t.Context()); !errors.Is(err, ErrTruncated) {
		t.Errorf("the reader ends with %v", err)
	}
}

func TestReadFromPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	g := create(t, newTrack(t, TrackConfig{}), 0)
	f, _ := g.NewFrame(10)
	if n, err := f.ReadFrom(iotest.ErrReader(broken)); n != 0 || err != broken {
		t.Errorf("ReadFrom a broken stream: %d, %v", n, err)
	}
	if _, err := f.ReadFrom(idle{}); err != io.ErrNoProgress {
		t.Errorf("ReadFrom a stream that gives nothing: %v", err)
	}
	g.Abort(broken)
	if _, err := f.ReadFrom(strings.NewReader("0123456789")); err != broken {
		t.Errorf("ReadFrom for an aborted group: %v", err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestS17_DeclaredSizeAllocatesNothing(t *testing.T) {
	const streams = 1000
	budget := NewBudget(1 << 30)
	for i := range streams {
		track := newTrack(t, TrackConfig{Budget: budget})
		g := create(t, track, uint64(i))
		f, err := g.NewFrame(32 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got, limit := budget.Used(), int64(streams*(firstPiece+pieceOverhead+16)); got > limit {
		t.Errorf("%d frames of which one byte came use %d bytes, want at most %d", streams, got, limit)
	}
}

// Memory follows what arrives, also once the track has proven large frames.
func TestS17_AllocationFollowsArrival(t *testing.T) {
	budget := NewBudget(1 << 30)
	track := newTrack(t, TrackConfig{Budget: budget})
	writeGroup(t, track, 0, string(noise(1, 10<<20)))
	before := budget.Used()
	g := create(t, track, 1)
	f, _ := g.NewFrame(32 << 20)
	for received := int64(0); received < 32<<20; received += 64 << 10 {
		if used := budget.Used() - before; used > 3*received+provenPiece+minNextPiece+1000 {
			t.Fatalf("%d bytes are allocated for %d that arrived", used, received)
		}
		if _, err := f.Write(make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if used := budget.Used() - before; used > 33<<20 {
		t.Errorf("%d bytes are allocated for a frame of 32 MiB", used)
	}
	if err := g.Finish(); err != nil {
		t.Fatal(err)
	}
}

func TestGroupLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		limits Limits
		frames []int
		fails  bool
	}{
		"frame at its limit":    {Limits{MaxFrameSize: 10}, []int{10, 10}, false},
		"frame above its limit": {Limits{MaxFrameSize: 10}, []int{10, 11}, true},
		"bytes at the limit":    {Limits{MaxGroupBytes: 10}, []int{4, 6, 0}, false},
		"bytes above the limit": {Limits{MaxGroupBytes: 10}, []int{4, 7}, true},
		"frames at the limit":   {Limits{MaxGroupFrames: 3}, []int{0, 0, 0}, false},
		"frames above it":       {Limits{MaxGroupFrames: 3}, []int{0, 0, 0, 0}, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := create(t, newTrack(t, TrackConfig{Limits: tc.limits}), 0)
			var err error
			for _, size := range tc.frames {
				err = errors.Join(err, g.WriteFrame(make([]byte, size)))
			}
			if (err != nil) != tc.fails || err != nil && !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNextHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := newTrack(t, TrackConfig{})
		s := subscribe(t, track, SubscribeOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next of the subscription: %v", err)
		}
		g := create(t, track, 0)
		write(t, g, "a")
		r := nextGroup(t, s, 0)
		_, _ = r.Next(t.Context())
		if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next of the reader: %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			r.Close()
		}()
		if _, err := r.Next(t.Context()); !errors.Is(err, ErrCancelled) {
			t.Errorf("Next of a reader that another goroutine closes: %v", err)
		}
	})
}

// Bytes that come after a reader has looked, and before it waits, are not
// missed.
func TestNoWakeUpIsLost(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	g := create(t, track, 0)
	write(t, g, "a")
	r, _ := track.Group(0)
	defer r.Close()
	_, _ = r.Next(t.Context())
	if _, ok := r.take(); ok {
		t.Fatal("there is a second frame")
	}
	write(t, g, "b")
	if wake, err := r.waiting(); wake != nil || err != nil {
		t.Errorf("the reader waits, %v, for what is there", err)
	}
}

// Writing to a group that is closed costs nothing, however often it is tried.
func TestClosedGroupsTakeNoMemory(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	g := create(t, track, 0)
	f, _ := g.NewFrame(provenPiece)
	_, _ = f.Write(make([]byte, firstPiece))
	before := track.budget.Used()
	g.Abort(nil)
	for range 10 {
		_ = g.WriteFrame(make([]byte, 1000))
		_, _ = f.Write(make([]byte, 1000))
	}
	if used := track.budget.Used(); used != before {
		t.Errorf("an aborted group uses %d bytes, %d before", used, before)
	}
}

func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := newTrack(t, TrackConfig{})
		writeGroup(t, track, 0, "a")
		r, _ := track.Group(0)
		defer r.Close()
		time.Sleep(time.Minute)
		if got := r.Age(time.Now()); got != time.Minute {
			t.Errorf("age %v, want a minute", got)
		}
	})
}
