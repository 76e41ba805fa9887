package moq

import (
	"sync/atomic"
	"time"
)

// group is one group of a track, shared by its writer, the cache and all
// readers.
//
// It comes into the cache when it is created, hidden. With its first bytes, or
// its end, it is shown: subscriptions get it, and if its number is the highest
// it is the track's newest. It is followed when a newer one is shown. It is
// closed, finished or aborted, once; and released when neither the cache nor a
// reader holds it.
type group struct {
	track *Track
	seq   uint64

	start     piece        // empty, in front of the first frame
	pins      atomic.Int32 // subscriptions that wait to hand it out, and readers; changed under track.mu
	published atomic.Int64 // bytes that readers may take; changed under track.mu

	// Guarded by track.mu.
	writer     *GroupWriter
	state      groupState
	err        error // why it was aborted
	cached     bool
	released   bool
	shown      bool
	shownAt    time.Time
	first      uint64 // timestamp of the first frame
	latest     uint64 // highest timestamp of a frame
	followed   bool
	followedAt time.Time
	readers    []*GroupReader
	wake       chan struct{} // closed at the next change; nil while nobody waits

	// Guarded by the budget's mu.
	charged    int64
	leaving    bool
	list       *groupList
	prev, next *group
}

type groupState uint8

const (
	open groupState = iota
	finished
	aborted
)

// wakeLocked wakes the readers that wait for the group.
func (g *group) wakeLocked() {
	if g.wake != nil {
		close(g.wake)
		g.wake = nil
	}
}

// abortLocked closes an open group before its end. Readers get what is there
// and then err; where nothing is there, subscriptions hear of a drop instead.
func (g *group) abortLocked(err error, reason DropReason, now time.Time) {
	if g.state != open {
		return
	}
	g.state, g.err = aborted, err
	close(g.writer.closed)
	g.writer.revealLocked(now)
	if !g.shown {
		g.track.loseLocked(g, reason)
	}
	g.wakeLocked()
	g.track.retireLocked(g, now)
}

// finishLocked closes an open group at its end.
func (g *group) finishLocked(now time.Time) {
	g.state = finished
	g.writer.revealLocked(now)
	if !g.shown {
		g.track.showLocked(g, now)
	}
	g.wakeLocked()
	g.track.retireLocked(g, now)
}

// stampLocked notes the timestamp of a frame that begins.
func (g *group) stampLocked(timestamp uint64) {
	if g.writer.frames == 0 {
		g.first = timestamp
	}
	g.latest = max(g.latest, timestamp)
}

// unpinLocked takes away one of the group's pins.
func (g *group) unpinLocked() {
	g.pins.Add(-1)
	g.settleLocked()
}

// settleLocked releases the group if nothing holds it any more.
func (g *group) settleLocked() {
	if g.cached || g.pins.Load() > 0 || g.released {
		return
	}
	g.abortLocked(ErrTooOld, Expired, time.Now())
	if g.pins.Load() > 0 || g.released {
		return // its last bytes were shown only now, or it went on the way
	}
	g.released = true
	g.start.next.Store(nil) // lets go of the frames even where the group is remembered
	g.writer.tail, g.writer.written = &g.start, 0
	delete(g.track.live, g)
	g.track.budget.release(g)
}

// newReaderLocked returns a reader from the first frame on; it takes over a pin
// from the caller.
func (g *group) newReaderLocked(s *Subscription) *GroupReader {
	r := &GroupReader{group: g, subscription: s, piece: &g.start, done: make(chan struct{}), slot: len(g.readers)}
	g.readers = append(g.readers, r)
	return r
}

// removeReaderLocked takes r off the list of readers.
func (g *group) removeReaderLocked(r *GroupReader) {
	last := len(g.readers) - 1
	g.readers[r.slot] = g.readers[last]
	g.readers[r.slot].slot = r.slot
	g.readers[last] = nil
	g.readers = g.readers[:last]
}
