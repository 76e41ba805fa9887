package moq

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestCreateGroup(t *testing.T) {
	track := newTrack(t, TrackConfig{Limits: Limits{MaxGroups: 3}})
	for i, tc := range []struct {
		seq    uint64
		want   error
		reason string
	}{
		{10, nil, "the first may have any number"},
		{10, ErrDuplicate, "it exists"},
		{1 << 61, nil, "numbers may skip"},
		{5, nil, "an older one may come late"},
		{5, ErrDuplicate, "it left the cache, but existed"},
		{4, ErrTooOld, "all places are taken by newer ones"},
		{11, nil, "the oldest goes"},
		{5, ErrTooOld, "it was forgotten"},
		{6, ErrTooOld, "all places are taken by newer ones"},
		{12, nil, "the oldest goes"},
		{11, ErrDuplicate, "it is remembered"},
	} {
		g, err := track.CreateGroup(tc.seq)
		if !errors.Is(err, tc.want) {
			t.Errorf("step %d, create %d because %s: %v, want %v", i, tc.seq, tc.reason, err, tc.want)
		}
		if err == nil {
			_ = g.Finish()
		}
		check(t, track)
	}
}

func TestAppendGroup(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	for _, want := range []uint64{0, 1} {
		if g, err := track.AppendGroup(); err != nil || g.Sequence() != want {
			t.Errorf("append: %v, want group %d", err, want)
		}
	}
	create(t, track, 100)
	if g, err := track.AppendGroup(); err != nil || g.Sequence() != 101 {
		t.Errorf("append behind 100: %v", err)
	}
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := newTrack(t, TrackConfig{Retention: 10 * time.Second})
		cached := func(seq uint64) bool {
			synctest.Wait()
			r, ok := track.Group(seq)
			if ok {
				r.Close()
			}
			check(t, track)
			return ok
		}
		writeGroup(t, track, 1, "a")
		open := create(t, track, 2)
		write(t, open, "b")
		time.Sleep(5 * time.Second)
		writeGroup(t, track, 3, "c")
		writeGroup(t, track, 0, "late")
		steps := []struct {
			after time.Duration
			want  [4]bool
		}{
			{4999 * time.Millisecond, [4]bool{true, true, true, true}},
			{time.Millisecond, [4]bool{true, false, true, true}},
			{5 * time.Second, [4]bool{false, false, true, true}},
			{time.Hour, [4]bool{false, false, true, true}},
		}
		for i, step := range steps {
			time.Sleep(step.after)
			for seq, want := range step.want {
				if got := cached(uint64(seq)); got != want {
					t.Errorf("step %d: group %d is cached: %v, want %v", i, seq, got, want)
				}
			}
		}
		if err := open.Finish(); err != nil {
			t.Error(err)
		}
		if cached(2) {
			t.Error("a group that was finished after its time is cached")
		}
	})
}

func TestNewestOnlyWithoutRetention(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	writeGroup(t, track, 0, string(noise(1, 1000)))
	one := track.budget.Used()
	for seq := uint64(1); seq < 100; seq++ {
		writeGroup(t, track, seq, string(noise(1, 1000)))
	}
	if used := track.budget.Used(); used != one {
		t.Errorf("100 groups use %d bytes, one %d", used, one)
	}
	s := subscribe(t, track, SubscribeOptions{})
	wantFrames(t, nextGroup(t, s, 99), io.EOF, string(noise(1, 1000)))
}

// An open group that all places are taken from is given up, and all who would
// have got it are told.
func TestOpenGroupsAreBounded(t *testing.T) {
	track := newTrack(t, TrackConfig{Limits: Limits{MaxGroups: 4}})
	s := subscribe(t, track, SubscribeOptions{})
	first := create(t, track, 0)
	for seq := uint64(1); seq <= 4; seq++ {
		create(t, track, seq)
	}
	select {
	case <-first.Closed():
	default:
		t.Error("the first of five open groups goes on")
	}
	if got := s.Dropped(); len(got) != 1 || got[0] != (Range{0, 0, Expired}) {
		t.Errorf("dropped %v", got)
	}
}

func TestLargest(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	if l, ok := track.Largest(); ok {
		t.Errorf("a new track has %v", l)
	}
	g := create(t, track, 5)
	if _, ok := track.Largest(); ok {
		t.Error("a group without a byte counts")
	}
	if n, ok := track.Newest(); !ok || n != 5 {
		t.Errorf("the newest group is %d, %v, want 5 as soon as it has begun", n, ok)
	}
	steps := []struct {
		do   func()
		want Location
	}{
		{func() { write(t, g, "a") }, Location{5, 0}},
		{func() { write(t, g, "b") }, Location{5, 1}},
		{func() { writeGroup(t, track, 4, "late", "later", "latest") }, Location{5, 1}},
		{func() { track.SetLargest(Location{9, 3}) }, Location{9, 3}},
		{func() { track.SetLargest(Location{9, 2}) }, Location{9, 3}},
		{func() { write(t, g, "c") }, Location{9, 3}},
	}
	for i, step := range steps {
		step.do()
		if got, _ := track.Largest(); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	if n, _ := track.Newest(); n != 9 {
		t.Errorf("the newest group is %d, want 9, which the publisher has told of", n)
	}
}

// TestLastGroup: a group counts from its first byte on, and a lower one that comes
// late does not.
func TestLastGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track := newTrack(t, TrackConfig{})
		g := create(t, track, 5)
		if seq, _, ok := track.LastGroup(); ok {
			t.Errorf("group %d is the last one before it has a byte", seq)
		}
		write(t, g, "a")
		began := time.Now()
		time.Sleep(time.Second)
		write(t, g, "b")
		writeGroup(t, track, 4, "late")
		if seq, at, ok := track.LastGroup(); !ok || seq != 5 || !at.Equal(began) {
			t.Errorf("the last group is %d, begun at %v; want 5, at %v", seq, at, began)
		}
	})
}

func TestReady(t *testing.T) {
	for name, do := range map[string]func(*Track){
		"info":  func(track *Track) { track.SetInfo(Info{Priority: 3}) },
		"group": func(track *Track) { _, _ = track.AppendGroup() },
		"end":   func(track *Track) { track.End(ErrNotFound) },
	} {
		track := newTrack(t, TrackConfig{})
		select {
		case <-track.Ready():
			t.Errorf("%s: ready before", name)
		default:
		}
		do(track)
		<-track.Ready()
	}
}
