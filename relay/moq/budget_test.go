package moq

import (
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestS14_BudgetEvicts(t *testing.T) {
	const frame = 10_000
	data := string(noise(1, frame))
	type state struct {
		budget     *Budget
		old, other *Track
	}
	// Two tracks with three groups each fill the budget to above its soft mark.
	setup := func(t *testing.T) state {
		b := NewBudget(70_000)
		s := state{b, newTrack(t, TrackConfig{Budget: b, Retention: time.Hour}), newTrack(t, TrackConfig{Budget: b, Retention: time.Hour})}
		for seq := range uint64(3) {
			writeGroup(t, s.old, seq, data)
			writeGroup(t, s.other, seq, data)
		}
		return s
	}
	cached := func(track *Track) (seqs []uint64) {
		for seq := range uint64(10) {
			if r, ok := track.Group(seq); ok {
				seqs = append(seqs, seq)
				r.Close()
			}
		}
		return seqs
	}
	for name, tc := range map[string]struct {
		do         func(t *testing.T, s state)
		old, other []uint64
	}{
		"nothing below the mark": {
			do:  func(*testing.T, state) {},
			old: []uint64{0, 1, 2}, other: []uint64{0, 1, 2},
		},
		"the oldest of any track first": {
			do:  func(t *testing.T, s state) { writeGroup(t, s.other, 3, data) },
			old: []uint64{1, 2}, other: []uint64{0, 1, 2, 3},
		},
		"what is in use only if nothing is idle": {
			do: func(t *testing.T, s state) {
				r, _ := s.old.Group(0)
				defer r.Close()
				writeGroup(t, s.other, 3, data)
				select {
				case <-r.Done():
					t.Error("a reader was hurt")
				default:
				}
			},
			old: []uint64{0, 1, 2}, other: []uint64{1, 2, 3},
		},
		"the newest not while there is an older one": {
			do: func(t *testing.T, s state) {
				for seq := uint64(3); seq < 10; seq++ {
					writeGroup(t, s.other, seq, data)
				}
			},
			old: []uint64{2}, other: []uint64{5, 6, 7, 8, 9},
		},
		"the largest of the newest last": {
			do: func(t *testing.T, s state) {
				writeGroup(t, s.old, 3, string(noise(2, 45_000)))
				writeGroup(t, newTrack(t, TrackConfig{Budget: s.budget}), 0, data, data)
			},
			old: nil, other: []uint64{2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := setup(t)
			tc.do(t, s)
			if got := cached(s.old); !slices.Equal(got, tc.old) {
				t.Errorf("the first track has %v, want %v", got, tc.old)
			}
			if got := cached(s.other); !slices.Equal(got, tc.other) {
				t.Errorf("the other track has %v, want %v", got, tc.other)
			}
		})
	}
}

// Readers of a group that has to go are told, and its bytes count until they
// have closed.
func TestS14_EvictionEndsReaders(t *testing.T) {
	b := NewBudget(80_000)
	data := string(noise(1, 10_000))
	track := newTrack(t, TrackConfig{Budget: b})
	s := subscribe(t, track, SubscribeOptions{Order: Ascending})
	writeGroup(t, track, 0, data)
	reads := nextGroup(t, s, 0)
	for seq := uint64(1); seq < 8; seq++ {
		writeGroup(t, track, seq, data)
	}
	wantDrop(t, reads, Memory)
	if got, want := s.Dropped(), []Range{{0, 1, Memory}}; !slices.Equal(got, want) {
		t.Errorf("dropped %v, want %v", got, want)
	}
	if b.Evicted() != 2 {
		t.Errorf("%d groups were evicted, want 2", b.Evicted())
	}
	check(t, track)
	before := b.Used()
	reads.Close()
	if freed := before - b.Used(); freed < 10_000 {
		t.Errorf("closing the reader freed %d bytes", freed)
	}
	for seq := uint64(2); seq < 8; seq++ {
		wantFrames(t, nextGroup(t, s, seq), io.EOF, data)
	}
}

func TestS14_WriterThatUsesAllIsRefused(t *testing.T) {
	b := NewBudget(100_000)
	small := newTrack(t, TrackConfig{Budget: b})
	writeGroup(t, small, 0, "catalog")
	track := newTrack(t, TrackConfig{Budget: b})
	s := subscribe(t, track, SubscribeOptions{})
	g := create(t, track, 0)
	var err error
	for err == nil {
		err = g.WriteFrame(make([]byte, 10_000))
		check(t, track)
	}
	if !errors.Is(err, ErrOverloaded) {
		t.Errorf("the write ended with %v", err)
	}
	if r, ok := small.Group(0); !ok {
		t.Error("a small group had to go for a large one")
	} else {
		r.Close()
	}
	r := nextGroup(t, s, 0)
	for err = nil; err == nil; _, err = r.NextFrame(t.Context()) {
	}
	r.Abort(Memory)
	if !errors.Is(err, ErrOverloaded) {
		t.Errorf("the reader ended with %v", err)
	}
	writeGroup(t, track, 1, "goes on")
	wantFrames(t, nextGroup(t, s, 1), io.EOF, "goes on")
}

// Readers that have stopped for ever, as one does whose link is gone, cost
// nobody else anything.
func TestS15_FrozenReadersHurtNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			frozen = 200
			groups = 100
			size   = 20_000
		)
		budget := NewBudget(4 << 20)
		track := newTrack(t, TrackConfig{Budget: budget, Limits: Limits{QueuedBytes: 10 * size}})
		for range frozen {
			s := subscribe(t, track, SubscribeOptions{Order: Ascending})
			go func() {
				for {
					r, err := s.Next(t.Context())
					if err != nil {
						return
					}
					_, _ = r.Next(t.Context())
					<-r.Done() // a write that does not return until it is given up
					r.Close()
				}
			}()
		}
		live := subscribe(t, track, SubscribeOptions{})
		go func() {
			for seq := range uint64(groups) {
				g, err := track.CreateGroup(seq)
				if err != nil {
					t.Error(err)
					return
				}
				for frame := range byte(10) {
					if err := g.WriteFrame(append(noise(uint64(frame), size/10), frame)); err != nil {
						t.Error(err)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if err := g.Finish(); err != nil {
					t.Error(err)
				}
			}
			track.End(ErrEnded)
		}()
		start := time.Now()
		for seq := range uint64(groups) {
			r, err := live.Next(t.Context())
			if err != nil || r.Sequence() != seq {
				t.Fatalf("group %d: %v", seq, err)
			}
			for frame := range 10 {
				if _, err := r.NextFrame(t.Context()); err != nil {
					t.Fatal(err)
				}
				if late := time.Since(start) - time.Duration(seq)*100*time.Millisecond - time.Duration(frame)*10*time.Millisecond; late != 0 {
					t.Fatalf("frame %d of group %d is late by %v", frame, seq, late)
				}
			}
			if _, err := r.NextFrame(t.Context()); err != io.EOF {
				t.Fatal(err)
			}
			r.Close()
			if used := budget.Used(); used > 13*size {
				t.Fatalf("frozen readers hold %d bytes", used)
			}
			check(t, track)
		}
		if drops := live.Dropped(); drops != nil {
			t.Errorf("the live reader lost %v", drops)
		}
		for _, s := range slices.Clone(track.subscriptions) {
			s.Close()
			for _, r := range slices.Clone(s.active) {
				r.Close()
			}
		}
		synctest.Wait()
		if used := budget.Used(); used != 0 {
			t.Errorf("%d bytes are held in the end", used)
		}
	})
}
