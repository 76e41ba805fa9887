// Package playout puts the frames of a broadcast's tracks into one order: groups
// by their numbers, tracks by their timestamps. It stands between the
// subscriptions of the moq command and what writes media; it does no I/O,
// starts nothing, and is told the time.
//
// What always holds: frames of a track come out in the order of its groups and
// never twice; nothing is waited for longer than the wait, and nothing at all
// when the buffer is full. What is missing then is counted.
package playout

import (
	"slices"
	"time"
)

// A Frame is one frame of one track.
type Frame struct {
	Track   int    // index of the track
	Group   uint64 // number of its group
	First   bool   // it is the first of its group
	Micros  uint64 // its timestamp
	Data    []byte
	Arrived time.Time
}

// Stats count what happened to one track.
type Stats struct {
	Frames int // given out
	Bytes  int // of their data
	Groups int // given out, whole or in part
	Lost   int // groups of which nothing came in time
	Cut    int // groups that broke off
	Late   int // frames that came too late
}

// Buffer is the order of all tracks of a broadcast. It is for one goroutine.
type Buffer struct {
	// Static after construction.
	wait  time.Duration
	limit int

	tracks []track
	bytes  int // held
}

type track struct {
	groups  []*group // not given out yet, by number
	next    uint64   // the number that is due
	started bool     // a group had its turn; until then the least number is due
	ended   bool     // no more groups come
	idle    bool     // others have waited for it in vain
	lost    []span   // numbers that never come, not due yet
	stats   Stats
}

type group struct {
	number   uint64
	frames   []Frame
	opened   time.Time
	counted  bool // in Stats.Groups
	closed   bool // no more frames come
	complete bool // it has come whole
}

type span struct{ first, last uint64 }

// New returns the buffer of a number of tracks. It waits at most wait for what
// is missing and holds about limit bytes.
func New(tracks int, wait time.Duration, limit int) *Buffer {
	return &Buffer{wait: wait, limit: limit, tracks: make([]track, tracks)}
}

// Stats returns the counters of a track.
func (b *Buffer) Stats(track int) Stats { return b.tracks[track].stats }

// Missing returns how many groups of all tracks did not come whole.
func (b *Buffer) Missing() int {
	n := 0
	for i := range b.tracks {
		n += b.tracks[i].stats.Lost + b.tracks[i].stats.Cut
	}
	return n
}

// Bytes returns how much is held.
func (b *Buffer) Bytes() int { return b.bytes }

// Open says that a group begins to come.
func (b *Buffer) Open(track int, number uint64, now time.Time) {
	b.tracks[track].open(number, now)
}

// Push adds a frame; Track, Group, Micros, Data and Arrived are set.
func (b *Buffer) Push(f Frame) {
	t := &b.tracks[f.Track]
	g := t.open(f.Group, f.Arrived)
	if g == nil || g.closed {
		t.stats.Late++
		return
	}
	t.idle = false
	f.First = !g.counted && len(g.frames) == 0
	g.frames = append(g.frames, f)
	b.bytes += len(f.Data)
}

// Close says that no more frames of a group come, and whether it is whole.
func (b *Buffer) Close(track int, number uint64, complete bool) {
	for _, g := range b.tracks[track].groups {
		if g.number == number {
			g.closed, g.complete = true, complete
		}
	}
}

// Lose says that the groups first to last never come.
func (b *Buffer) Lose(track int, first, last uint64) {
	t := &b.tracks[track]
	t.lost = append(t.lost, span{first, last})
}

// End says that no more groups of a track come; those that are open get no more frames.
func (b *Buffer) End(track int) {
	t := &b.tracks[track]
	t.ended = true
	for _, g := range t.groups {
		g.closed = true
	}
}

// Done says that every track has ended and all is given out.
func (b *Buffer) Done() bool {
	for i := range b.tracks {
		if t := &b.tracks[i]; !t.ended || len(t.groups) > 0 {
			return false
		}
	}
	return true
}

// Next returns the next frame that may be given out. Without one, ok is false and
// wake says when to ask again if nothing comes until then; zero: not before
// something comes.
func (b *Buffer) Next(now time.Time) (f Frame, ok bool, wake time.Time) {
	var from *track
	var missing []*track // tracks that have nothing to compare with
	full := b.bytes > b.limit
	for i := range b.tracks {
		t := &b.tracks[i]
		head, state, until := t.head(now, b.wait, full)
		switch state {
		case ready:
			if from == nil || head.Micros < f.Micros {
				f, from = head, t
			}
		case waiting:
			wake = earliest(wake, until)
			if !t.idle {
				missing = append(missing, t)
			}
		case exhausted:
		}
	}
	if from == nil {
		return Frame{}, false, wake
	}
	if due := f.Arrived.Add(b.wait); len(missing) > 0 && now.Before(due) && !full {
		return Frame{}, false, earliest(wake, due)
	}
	for _, t := range missing {
		t.idle = true
	}
	from.take()
	b.bytes -= len(f.Data)
	return f, true, time.Time{}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// open returns a group, nil if its turn is over.
func (t *track) open(number uint64, now time.Time) *group {
	if t.started && number < t.next {
		return nil
	}
	i, found := slices.BinarySearchFunc(t.groups, number, func(g *group, n uint64) int {
		if g.number < n {
			return -1
		}
		return int(min(g.number-n, 1))
	})
	if !found {
		t.groups = slices.Insert(t.groups, i, &group{number: number, opened: now})
	}
	return t.groups[i]
}

// What a track has to give.
type state uint8

const (
	ready     state = iota // a frame
	waiting                // nothing yet
	exhausted              // nothing ever
)

// head returns the next frame of a track, leaving behind what is given up.
func (t *track) head(now time.Time, wait time.Duration, full bool) (Frame, state, time.Time) {
	for {
		if len(t.groups) == 0 {
			if t.ended {
				return Frame{}, exhausted, time.Time{}
			}
			return Frame{}, waiting, time.Time{}
		}
		g := t.groups[0]
		if t.started {
			t.skipLost(g.number)
		}
		if t.started && g.number > t.next {
			if due := g.opened.Add(wait); !t.ended && !full && now.Before(due) {
				return Frame{}, waiting, due
			}
			t.stats.Lost += int(min(g.number-t.next, 1<<30))
			t.next = g.number
		}
		if len(g.frames) > 0 {
			return g.frames[0], ready, time.Time{}
		}
		if !g.closed {
			since, newer := t.newer()
			if !newer {
				return Frame{}, waiting, time.Time{}
			}
			if due := since.Add(wait); now.Before(due) && !full {
				return Frame{}, waiting, due
			}
		}
		t.leave(g)
	}
}

// skipLost counts the groups before number that are known never to come.
func (t *track) skipLost(number uint64) {
	for again := true; again && t.next < number; {
		again = false
		for _, s := range t.lost {
			if s.first <= t.next && t.next <= s.last {
				end := min(s.last, number-1)
				t.stats.Lost += int(min(end-t.next+1, 1<<30))
				t.next, again = end+1, true
			}
		}
	}
	t.lost = slices.DeleteFunc(t.lost, func(s span) bool { return s.last < t.next })
}

// newer returns when the first frame of a later group came.
func (t *track) newer() (time.Time, bool) {
	for _, g := range t.groups[1:] {
		if len(g.frames) > 0 {
			return g.frames[0].Arrived, true
		}
	}
	return time.Time{}, false
}

// leave ends the turn of the first group.
func (t *track) leave(g *group) {
	switch {
	case !g.counted:
		t.stats.Lost++ // not a frame came
	case !g.complete:
		t.stats.Cut++
	}
	t.groups = t.groups[1:]
	t.started, t.next = true, g.number+1
}

// take gives out the first frame.
func (t *track) take() {
	g := t.groups[0]
	t.started, t.next = true, g.number
	t.stats.Frames++
	t.stats.Bytes += len(g.frames[0].Data)
	if !g.counted {
		g.counted = true
		t.stats.Groups++
	}
	g.frames[0] = Frame{} // its data may go
	g.frames = g.frames[1:]
}
