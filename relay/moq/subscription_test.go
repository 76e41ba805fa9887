package moq

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestSubscriptionStarts(t *testing.T) {
	for name, tc := range map[string]struct {
		options SubscribeOptions
		want    []uint64
		dropped []Range
	}{
		"newest":            {SubscribeOptions{}, []uint64{7, 8}, nil},
		"in the past":       {SubscribeOptions{Start: at(5), Order: Ascending}, []uint64{5, 7, 8}, nil},
		"before the cache":  {SubscribeOptions{Start: at(0), Order: Ascending}, []uint64{3, 5, 7, 8}, []Range{{0, 2, Expired}}},
		"newest goes first": {SubscribeOptions{Start: at(4)}, []uint64{7, 5, 8}, nil},
		"in the future":     {SubscribeOptions{Start: at(8)}, []uint64{8}, nil},
		"with an end":       {SubscribeOptions{Start: at(3), End: at(5), Order: Ascending}, []uint64{3, 5}, nil},
		"before everything": {SubscribeOptions{Start: at(0), End: at(1)}, nil, []Range{{0, 1, Expired}}},
	} {
		t.Run(name, func(t *testing.T) {
			track := newTrack(t, TrackConfig{Retention: time.Hour, Limits: Limits{MaxGroups: 3}})
			for _, seq := range []uint64{2, 3, 5, 7} { // 2 is forgotten
				writeGroup(t, track, seq, "frame")
			}
			s := subscribe(t, track, tc.options)
			var got []uint64
			drain := func() {
				for r, _ := s.poll(); r != nil; r, _ = s.poll() {
					got = append(got, r.Sequence())
					r.Close()
				}
			}
			drain()
			writeGroup(t, track, 8, "frame")
			drain()
			if !slices.Equal(got, tc.want) {
				t.Errorf("groups %v, want %v", got, tc.want)
			}
			if got := s.Dropped(); !slices.Equal(got, tc.dropped) {
				t.Errorf("dropped %v, want %v", got, tc.dropped)
			}
		})
	}
}

func TestGroupsThatArriveLateAreDelivered(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	s := subscribe(t, track, SubscribeOptions{})
	for _, seq := range []uint64{10, 12, 11, 9} {
		writeGroup(t, track, seq, "frame")
		wantFrames(t, nextGroup(t, s, seq), io.EOF, "frame")
	}
	late := subscribe(t, track, SubscribeOptions{})
	wantFrames(t, nextGroup(t, late, 12), io.EOF, "frame")
	writeGroup(t, track, 8, "frame")
	wantNone(t, late)
	wantFrames(t, nextGroup(t, s, 8), io.EOF, "frame")
}

// A group without a byte does not push another one out.
func TestGroupIsShownWithItsFirstByte(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	s := subscribe(t, track, SubscribeOptions{})
	writeGroup(t, track, 0, "frame")
	g := create(t, track, 1)
	r := nextGroup(t, s, 0)
	wantNone(t, s)
	if !r.Newest() {
		t.Error("group 0 is not the newest")
	}
	write(t, g, "frame")
	if r.Newest() {
		t.Error("group 0 is the newest still")
	}
	wantFrames(t, r, io.EOF, "frame")
	r = nextGroup(t, s, 1)
	if err := g.Finish(); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, r, io.EOF, "frame")

	if err := create(t, track, 2).Finish(); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, nextGroup(t, s, 2), io.EOF)
	create(t, track, 3).Abort(nil)
	wantNone(t, s)
	if got, want := s.Dropped(), []Range{{3, 3, UpstreamReset}}; !slices.Equal(got, want) {
		t.Errorf("dropped %v, want %v", got, want)
	}
}

func TestTrackEnds(t *testing.T) {
	gone := &EndError{Reason: GoingAway}
	t.Run("cleanly", func(t *testing.T) {
		track := newTrack(t, TrackConfig{})
		s := subscribe(t, track, SubscribeOptions{Order: Ascending})
		writeGroup(t, track, 0, "a")
		open := create(t, track, 1)
		write(t, open, "b")
		hidden := create(t, track, 2)
		track.End(ErrEnded)
		track.End(gone)
		if _, err := track.CreateGroup(3); !errors.Is(err, ErrEnded) {
			t.Errorf("create on an ended track: %v", err)
		}
		wantFrames(t, nextGroup(t, s, 0), io.EOF, "a")
		r := nextGroup(t, s, 1)
		wantNone(t, s)
		write(t, open, "c")
		write(t, hidden, "d")
		for _, g := range []*GroupWriter{open, hidden} {
			if err := g.Finish(); err != nil {
				t.Fatal(err)
			}
		}
		wantFrames(t, nextGroup(t, s, 2), io.EOF, "d")
		wantEnd(t, s, ErrEnded)
		wantFrames(t, r, io.EOF, "b", "c")
		if used := track.budget.Used(); used != 0 {
			t.Errorf("%d bytes are held by an ended track that nobody reads", used)
		}
		if !errors.Is(track.Err(), ErrEnded) {
			t.Errorf("Err() = %v", track.Err())
		}
	})
	t.Run("with an error", func(t *testing.T) {
		track := newTrack(t, TrackConfig{Retention: time.Hour})
		s := subscribe(t, track, SubscribeOptions{Order: Ascending})
		writeGroup(t, track, 0, "a")
		open := create(t, track, 1)
		write(t, open, "b")
		writeGroup(t, track, 2, "c")
		whole, part := nextGroup(t, s, 0), nextGroup(t, s, 1)
		track.End(gone)
		track.End(ErrEnded)
		wantEnd(t, s, gone)
		wantFrames(t, whole, io.EOF, "a")
		wantFrames(t, part, gone, "b")
		if used := track.budget.Used(); used != 0 {
			t.Errorf("%d bytes are held", used)
		}
		if _, err := track.Subscribe(SubscribeOptions{}); err != gone {
			t.Errorf("subscribe to an ended track: %v", err)
		}
	})
	t.Run("at the end of the range", func(t *testing.T) {
		track := newTrack(t, TrackConfig{})
		s := subscribe(t, track, SubscribeOptions{Start: at(1), End: at(2)})
		writeGroup(t, track, 1, "a")
		hidden := create(t, track, 2)
		writeGroup(t, track, 3, "c")
		wantFrames(t, nextGroup(t, s, 1), io.EOF, "a")
		wantNone(t, s)
		write(t, hidden, "b")
		if err := hidden.Finish(); err != nil {
			t.Fatal(err)
		}
		wantFrames(t, nextGroup(t, s, 2), io.EOF, "b")
		wantEnd(t, s, ErrEnded)
	})
	t.Run("before it began", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			track := newTrack(t, TrackConfig{})
			s := subscribe(t, track, SubscribeOptions{})
			go func() {
				time.Sleep(time.Second)
				track.End(ErrNotFound)
			}()
			<-track.Ready()
			<-track.Ended()
			if _, err := s.Next(t.Context()); !errors.Is(err, ErrNotFound) {
				t.Errorf("Next: %v", err)
			}
		})
	})
}

// A track that ended cleanly still gives what it keeps.
func TestSubscribeAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := newTrack(t, TrackConfig{Retention: time.Second})
		writeGroup(t, track, 0, "a")
		track.End(nil)
		s := subscribe(t, track, SubscribeOptions{})
		wantFrames(t, nextGroup(t, s, 0), io.EOF, "a")
		wantEnd(t, s, ErrEnded)
		time.Sleep(time.Second)
		synctest.Wait()
		s = subscribe(t, track, SubscribeOptions{})
		wantEnd(t, s, ErrEnded)
		if got, want := s.Dropped(), []Range{{0, 0, Expired}}; !slices.Equal(got, want) {
			t.Errorf("dropped %v, want %v", got, want)
		}
	})
}

func TestUpstreamDrops(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	s := subscribe(t, track, SubscribeOptions{Order: Ascending, End: at(20)})
	writeGroup(t, track, 5, "a")
	track.Drop(3, 8, UpstreamReset)
	track.Drop(7, 9, UpstreamReset) // 7 and 8 are told already
	track.Drop(15, 30, UpstreamReset)
	want := []Range{{3, 4, UpstreamReset}, {6, 9, UpstreamReset}, {15, 20, UpstreamReset}}
	if got := s.Dropped(); !slices.Equal(got, want) {
		t.Errorf("dropped %v, want %v", got, want)
	}
	if _, err := track.CreateGroup(7); !errors.Is(err, ErrTooOld) {
		t.Errorf("create a group that was dropped: %v", err)
	}
	late := subscribe(t, track, SubscribeOptions{})
	if got, want := late.Dropped(), []Range{{6, 9, UpstreamReset}, {15, 30, UpstreamReset}}; !slices.Equal(got, want) {
		t.Errorf("who comes later is told %v, want %v", got, want)
	}
	wantFrames(t, nextGroup(t, s, 5), io.EOF, "a")
	wantEnd(t, s, ErrEnded)
	if g, err := track.AppendGroup(); err != nil || g.Sequence() != 31 {
		t.Errorf("append behind a drop: %v", err)
	}
}

// What is remembered of groups that never come is bounded too.
func TestUpstreamDropsAreForgotten(t *testing.T) {
	track := newTrack(t, TrackConfig{Limits: Limits{MaxGroups: 3}})
	s := subscribe(t, track, SubscribeOptions{})
	for i := range uint64(10) {
		track.Drop(10*i, 10*i+4, UpstreamReset)
		check(t, track)
	}
	if got := s.Dropped(); len(got) != 10 {
		t.Errorf("told of %d ranges, want 10", len(got))
	}
	for seq, want := range map[uint64]error{62: ErrTooOld, 64: ErrTooOld, 65: nil, 72: ErrTooOld, 75: nil} {
		if _, err := track.CreateGroup(seq); !errors.Is(err, want) {
			t.Errorf("create group %d: %v, want %v", seq, err, want)
		}
	}
	track.Drop(100, 1<<64-1, UpstreamReset) // what is below 75 is forgotten
	late := subscribe(t, track, SubscribeOptions{Start: at(60)})
	want := []Range{{60, 64, Expired}, {66, 74, Expired}, {80, 84, UpstreamReset}, {90, 94, UpstreamReset}, {100, 1<<64 - 1, UpstreamReset}}
	if got := late.Dropped(); !slices.Equal(got, want) {
		t.Errorf("who comes later is told %v, want %v", got, want)
	}
	if _, err := track.CreateGroup(1<<64 - 1); !errors.Is(err, ErrTooOld) {
		t.Errorf("create a group when all are dropped: %v", err)
	}
}

func TestS15_SlowSubscriberLosesWholeOldestGroups(t *testing.T) {
	frame := string(noise(1, 1000))
	for name, tc := range map[string]struct {
		limits Limits
		maxAge time.Duration
		reads  bool // take the first group, and get stuck in it
		want   []uint64
		drops  []Range
	}{
		"by groups":          {limits: Limits{QueuedGroups: 3}, want: []uint64{7, 8, 9}, drops: []Range{{0, 6, SlowSubscriber}}},
		"by bytes":           {limits: Limits{QueuedBytes: 2500}, want: []uint64{8, 9}, drops: []Range{{0, 7, SlowSubscriber}}},
		"by age":             {maxAge: 2500 * time.Millisecond, want: []uint64{6, 7, 8, 9}, drops: []Range{{0, 5, Stale}}},
		"never the newest":   {limits: Limits{QueuedBytes: 10}, want: []uint64{9}, drops: []Range{{0, 8, SlowSubscriber}}},
		"also what it reads": {limits: Limits{QueuedGroups: 3}, reads: true, want: []uint64{7, 8, 9}, drops: []Range{{0, 6, SlowSubscriber}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				track := newTrack(t, TrackConfig{Limits: tc.limits})
				s := subscribe(t, track, SubscribeOptions{Order: Ascending, MaxAge: tc.maxAge})
				var stuck *GroupReader
				for seq := range uint64(10) {
					writeGroup(t, track, seq, frame)
					if tc.reads && seq == 0 {
						stuck = nextGroup(t, s, 0)
						_, _ = stuck.Next(t.Context())
					}
					time.Sleep(time.Second)
				}
				if stuck != nil {
					wantDrop(t, stuck, SlowSubscriber)
					stuck.Abort(StreamCredit) // the first reason stays
				}
				select {
				case <-s.DroppedC():
				default:
					t.Error("DroppedC is silent")
				}
				if got := s.Dropped(); !slices.Equal(got, tc.drops) {
					t.Errorf("dropped %v, want %v", got, tc.drops)
				}
				for _, seq := range tc.want {
					wantFrames(t, nextGroup(t, s, seq), io.EOF, frame)
				}
				wantNone(t, s)
			})
		})
	}
}

// Who catches up with what was cached before it came is not slow.
func TestCatchingUpIsNotLagging(t *testing.T) {
	track := newTrack(t, TrackConfig{Retention: time.Hour, Limits: Limits{QueuedGroups: 2, QueuedBytes: 10}})
	for seq := range uint64(10) {
		writeGroup(t, track, seq, "0123456789")
	}
	s := subscribe(t, track, SubscribeOptions{Start: at(0), Order: Ascending})
	writeGroup(t, track, 10, "0")
	for seq := range uint64(10) {
		wantFrames(t, nextGroup(t, s, seq), io.EOF, "0123456789")
	}
}

func TestSkipToNewest(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	s := subscribe(t, track, SubscribeOptions{})
	for seq := range uint64(5) {
		writeGroup(t, track, seq, "frame")
	}
	s.SkipToNewest(StreamCredit)
	s.SkipToNewest(StreamCredit)
	if got, want := s.Dropped(), []Range{{0, 3, StreamCredit}}; !slices.Equal(got, want) {
		t.Errorf("dropped %v, want %v", got, want)
	}
	wantFrames(t, nextGroup(t, s, 4), io.EOF, "frame")
	wantNone(t, s)
}

func TestReaderAbortIsReported(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	s := subscribe(t, track, SubscribeOptions{})
	for seq := range uint64(3) {
		writeGroup(t, track, seq, "frame")
		r := nextGroup(t, s, seq)
		switch seq {
		case 0:
			r.Abort(UpstreamReset)
			r.Abort(UpstreamReset)
		case 1:
			r.Close()
			r.Abort(UpstreamReset)
		case 2:
			s.Close()
			r.Abort(UpstreamReset)
		}
	}
	if got, want := s.Dropped(), []Range{{0, 0, UpstreamReset}}; !slices.Equal(got, want) {
		t.Errorf("dropped %v, want %v", got, want)
	}
	wantEnd(t, s, ErrCancelled)
}

func TestReportsAreBounded(t *testing.T) {
	track := newTrack(t, TrackConfig{Limits: Limits{QueuedGroups: 1}})
	s := subscribe(t, track, SubscribeOptions{})
	for i := range uint64(10 * maxReports) {
		writeGroup(t, track, 2*i, "frame")
		if i%1000 == 0 {
			check(t, track)
		}
	}
	reports := s.Dropped()
	if len(reports) > maxReports || reports[0].First != 0 || reports[len(reports)-1].Last != 2*(10*maxReports-2) {
		t.Errorf("%d ranges: %v", len(reports), reports)
	}
}

func TestUpdate(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	s := subscribe(t, track, SubscribeOptions{Priority: 1})
	for seq := range uint64(4) {
		writeGroup(t, track, seq, "frame")
	}
	s.Update(SubscribeOptions{Priority: 9, Order: Ascending, Start: at(1), End: at(5)})
	if o := s.Options(); o.Priority != 9 || *o.Start != 1 || *o.End != 5 {
		t.Errorf("options %+v", o)
	}
	if d, _ := track.Demand(); d.Priority != 9 {
		t.Errorf("demand %+v", d)
	}
	for seq := uint64(1); seq < 6; seq++ {
		if seq > 3 {
			writeGroup(t, track, seq, "frame")
		}
		wantFrames(t, nextGroup(t, s, seq), io.EOF, "frame")
	}
	wantEnd(t, s, ErrEnded)
	if got := s.Dropped(); got != nil {
		t.Errorf("dropped %v, though they were not asked for any more", got)
	}
}

func TestDemand(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	before, changed := track.Demand()
	if before != (Demand{}) {
		t.Errorf("demand %+v of a new track", before)
	}
	a := subscribe(t, track, SubscribeOptions{Priority: 10, Order: Ascending, MaxAge: time.Second})
	<-changed
	steps := []struct {
		do   func()
		want Demand
	}{
		{func() {}, Demand{Subscribers: 1, Priority: 10, Order: Ascending, MaxAge: time.Second}},
		{func() { subscribe(t, track, SubscribeOptions{Priority: 5, Order: Ascending, MaxAge: time.Minute}) }, Demand{Subscribers: 2, Priority: 10, Order: Ascending, MaxAge: time.Minute}},
		{func() { subscribe(t, track, SubscribeOptions{Priority: 20}) }, Demand{Subscribers: 3, Priority: 20}},
		{func() { a.Update(SubscribeOptions{Priority: 30}) }, Demand{Subscribers: 3, Priority: 30}},
		{a.Close, Demand{Subscribers: 2, Priority: 20}},
		{a.Close, Demand{Subscribers: 2, Priority: 20}},
	}
	for i, step := range steps {
		before, changed := track.Demand()
		step.do()
		got, _ := track.Demand()
		if got != step.want {
			t.Errorf("step %d: demand %+v, want %+v", i, got, step.want)
		}
		select {
		case <-changed:
			if got == before {
				t.Errorf("step %d: told of no change", i)
			}
		default:
			if got != before {
				t.Errorf("step %d: not told", i)
			}
		}
	}
}

// TestDemandFirst: a first group is wanted if all have named one, and a change of it
// is told.
func TestDemandFirst(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	a := subscribe(t, track, SubscribeOptions{Start: new(uint64(9))})
	b := subscribe(t, track, SubscribeOptions{Start: new(uint64(7))})
	steps := []struct {
		do   func()
		want Demand
	}{
		{func() {}, Demand{Subscribers: 2, Named: true, First: 7}},
		{func() { a.Update(SubscribeOptions{Start: new(uint64(5))}) }, Demand{Subscribers: 2, Named: true, First: 5}},
		{func() { b.Update(SubscribeOptions{}) }, Demand{Subscribers: 2}},
		{b.Close, Demand{Subscribers: 1, Named: true, First: 5}},
	}
	for i, step := range steps {
		before, changed := track.Demand()
		step.do()
		got, _ := track.Demand()
		if got != step.want {
			t.Errorf("step %d: demand %+v, want %+v", i, got, step.want)
		}
		select {
		case <-changed:
		default:
			if got != before {
				t.Errorf("step %d: not told", i)
			}
		}
	}
}

func TestEndIfIdle(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	s := subscribe(t, track, SubscribeOptions{})
	if track.EndIfIdle() {
		t.Error("a track with a subscriber ended")
	}
	s.Close()
	if !track.EndIfIdle() || !errors.Is(track.Err(), ErrCancelled) {
		t.Errorf("the track goes on: %v", track.Err())
	}
	if _, err := track.Subscribe(SubscribeOptions{}); !errors.Is(err, ErrCancelled) {
		t.Errorf("subscribe to a track that is over: %v", err)
	}
}

// Closing a subscription does not cut what it reads, and does not free a frozen
// reader from its limits.
func TestReadersOutliveTheirSubscription(t *testing.T) {
	track := newTrack(t, TrackConfig{Limits: Limits{QueuedGroups: 2}})
	s := subscribe(t, track, SubscribeOptions{Order: Ascending})
	for seq := range uint64(2) {
		writeGroup(t, track, seq, "frame")
	}
	a, b := nextGroup(t, s, 0), nextGroup(t, s, 1)
	s.Close()
	check(t, track)
	wantFrames(t, a, io.EOF, "frame")
	wantFrames(t, b, io.EOF, "frame")
	if len(track.subscriptions) != 0 {
		t.Error("the subscription stays")
	}
}

// What a subscriber has sent is not waiting, however long its groups stay open.
func TestWhatWasSentIsNotQueued(t *testing.T) {
	track := newTrack(t, TrackConfig{Limits: Limits{QueuedBytes: 1000}})
	s := subscribe(t, track, SubscribeOptions{})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var readers []*GroupReader
	for seq := range uint64(5) {
		g := create(t, track, seq)
		write(t, g, string(noise(seq, 900)))
		r := nextGroup(t, s, seq)
		defer r.Close()
		if _, err := r.NextFrame(t.Context()); err != nil {
			t.Fatal(err)
		}
		if bytes, _ := s.Queued(); bytes != 910 {
			t.Errorf("%d bytes are queued while a frame is sent", bytes)
		}
		if _, err := r.Next(over); err != context.Canceled {
			t.Fatalf("there is more than one frame: %v", err)
		}
		readers = append(readers, r)
	}
	if bytes, groups := s.Queued(); bytes != 0 || groups != 5 {
		t.Errorf("%d bytes of %d groups are queued, though all were sent", bytes, groups)
	}
	if got := s.Dropped(); got != nil {
		t.Errorf("dropped %v", got)
	}
	readers[0].Restart()
	if bytes, _ := s.Queued(); bytes != 910 {
		t.Errorf("%d bytes are queued after a restart", bytes)
	}
	if got, err := readers[0].NextFrame(t.Context()); err != nil || string(got) != string(noise(0, 900)) {
		t.Errorf("the restarted reader does not begin again: %v", err)
	}
}

// TestRaisedEnd: groups that passed an end which is raised afterwards are handed
// out, as far as they are there.
func TestRaisedEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := newTrack(t, TrackConfig{Retention: time.Minute})
		one, four := uint64(1), uint64(4)
		s := subscribe(t, track, SubscribeOptions{Order: Ascending, Start: new(uint64), End: &one})
		defer s.Close()
		for seq := range uint64(4) {
			if seq == 2 {
				track.Drop(2, 2, UpstreamReset)
				continue
			}
			g := create(t, track, seq)
			write(t, g, "x")
			_ = g.Finish()
		}
		wantNext := func(want uint64) {
			t.Helper()
			r := nextGroup(t, s, want)
			defer r.Close()
			if first, ok := s.First(); !ok || first > want {
				t.Errorf("the first is %d, %t while group %d is read", first, ok, want)
			}
		}
		wantNext(0)
		wantNext(1)
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrEnded) {
			t.Errorf("at the end: %v", err)
		}
		s.Update(SubscribeOptions{Order: Ascending, End: &four})
		wantNext(3)
		if got := s.Dropped(); len(got) != 1 || got[0].First != 2 || got[0].Last != 2 {
			t.Errorf("dropped %v, want group 2", got)
		}
		s.Update(SubscribeOptions{Order: Ascending, End: &four})
		g := create(t, track, 4)
		write(t, g, "x")
		wantNext(4)
		if got := s.Dropped(); got != nil {
			t.Errorf("dropped %v", got)
		}
		if _, ok := s.First(); ok {
			t.Error("there is a first group that nobody holds")
		}
	})
}

// TestHasSettled: which groups have come or never will.
func TestHasSettled(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	_ = create(t, track, 3)
	track.Drop(5, 6, UpstreamReset)
	for _, tt := range []struct {
		first, last uint64
		want        bool
	}{{3, 3, true}, {3, 4, false}, {5, 6, true}, {4, 6, false}, {5, 7, false}, {7, 3, true}} {
		if got := track.HasSettled(tt.first, tt.last); got != tt.want {
			t.Errorf("groups %d to %d: %t, want %t", tt.first, tt.last, got, tt.want)
		}
	}
}
