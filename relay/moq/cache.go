package moq

import (
	"cmp"
	"slices"
	"time"
)

// findLocked returns where in the cache the group is, or would have to be.
func (t *Track) findLocked(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(t.cache, seq, func(e entry, seq uint64) int { return cmp.Compare(e.seq, seq) })
}

func (t *Track) createLocked(seq uint64) (*GroupWriter, error) {
	if t.err != nil {
		return nil, t.err
	}
	i, ok := t.findLocked(seq)
	isFull := len(t.cache) == t.limits.MaxGroups
	switch {
	case ok:
		return nil, ErrDuplicate
	case seq < t.floor, isFull && i == 0, t.isGoneLocked(seq):
		return nil, ErrTooOld
	}
	if isFull {
		t.forgetLocked()
		i--
	}
	g := &group{track: t, seq: seq, cached: true}
	g.writer = &GroupWriter{group: g, closed: make(chan struct{}), tail: &g.start}
	t.budget.add(g)
	t.cache = slices.Insert(t.cache, i, entry{seq, g})
	t.live[g] = struct{}{}
	t.readyLocked()
	return g.writer, nil
}

// forgetLocked removes the lowest entry, and with it the chance of any group
// below.
func (t *Track) forgetLocked() {
	lowest := t.cache[0]
	if lowest.group != nil {
		t.uncacheLocked(lowest.group)
	}
	t.cache = slices.Delete(t.cache, 0, 1)
	t.floor = max(t.floor, lowest.seq+1)
	t.gone = slices.DeleteFunc(t.gone, func(r Range) bool { return r.Last < t.floor })
}

// uncacheLocked gives up a group's place in the cache. Readers keep it.
func (t *Track) uncacheLocked(g *group) {
	if !g.cached {
		return
	}
	g.cached = false
	if i, ok := t.findLocked(g.seq); ok {
		t.cache[i].group = nil
	}
	g.settleLocked()
}

// showLocked hands a group that got its first bytes, or its end, to the
// subscriptions.
func (t *Track) showLocked(g *group, now time.Time) {
	g.shown, g.shownAt = true, now
	for _, s := range t.subscriptions {
		if s.wantsLocked(g.seq) {
			s.pushLocked(g)
		}
	}
	before := t.newest
	switch {
	case before == nil:
		t.newest = g
	case g.seq > before.seq:
		t.newest = g
		t.followLocked(before, now)
	default:
		t.followLocked(g, now)
	}
	if t.err != nil {
		t.followLocked(g, now)
	}
	t.checkLocked()
}

// loseLocked tells the subscriptions that a group ended before it was shown.
func (t *Track) loseLocked(g *group, reason DropReason) {
	for _, s := range t.subscriptions {
		if s.wantsLocked(g.seq) {
			s.reportLocked(Range{g.seq, g.seq, reason})
			s.signal()
		}
	}
}

// followLocked notes that the group is not the newest any more, or that no newer
// one will come: its time in the cache is limited from now on.
func (t *Track) followLocked(g *group, now time.Time) {
	if g.followed {
		return
	}
	g.followed, g.followedAt = true, now
	t.budget.follow(g)
	t.retireLocked(g, now)
}

// retireLocked takes the group out of the cache when its time is over. A group
// that is still open stays until it is closed.
func (t *Track) retireLocked(g *group, now time.Time) {
	if !g.cached || !g.followed || g.state == open {
		return
	}
	if due := g.followedAt.Add(t.retention); due.After(now) {
		t.expireAtLocked(due, now)
		return
	}
	t.uncacheLocked(g)
}

// expireAtLocked has the timer call expire at due, or before.
func (t *Track) expireAtLocked(due, now time.Time) {
	if !t.expiryDue.IsZero() && !due.Before(t.expiryDue) {
		return
	}
	t.expiryDue = due
	if t.expiry == nil {
		t.expiry = time.AfterFunc(due.Sub(now), t.expire)
	} else {
		t.expiry.Reset(due.Sub(now))
	}
}

// expire is called by the timer.
func (t *Track) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expiryDue = time.Time{}
	now := time.Now()
	for _, e := range slices.Clone(t.cache) {
		if e.group != nil {
			t.retireLocked(e.group, now)
		}
	}
}

// evict takes a group away from everyone, for lack of memory.
func (t *Track) evict(g *group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g.released {
		return
	}
	t.budget.evict(g)
	g.abortLocked(ErrOverloaded, Memory, time.Now())
	for _, s := range t.subscriptions {
		s.dropPendingLocked(g, Memory)
	}
	for _, r := range g.readers {
		r.dropLocked(Memory)
	}
	t.uncacheLocked(g)
}
