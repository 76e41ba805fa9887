package moq

import (
	"math"
	"time"
)

// publishedLocked checks the subscriptions for lagging from time to time while
// bytes are published; showLocked does with every group.
func (t *Track) publishedLocked(n int64) {
	t.unchecked += n
	if t.unchecked >= t.limits.QueuedBytes/8 {
		t.checkLocked()
	}
}

func (t *Track) checkLocked() {
	t.unchecked = 0
	for _, s := range t.subscriptions {
		s.checkLocked()
	}
}

// checkLocked drops the oldest groups of the subscription until what is left is
// within its limits. The newest group of the track always stays.
func (s *Subscription) checkLocked() {
	bytes, groups := s.queuedLocked()
	for {
		g, unsent := s.oldestLocked()
		if g == nil || g == s.track.newest {
			return
		}
		switch {
		case s.isStaleLocked(g):
			s.dropLocked(g, Stale)
		case bytes > s.maxBytes || groups > s.maxGroups:
			s.dropLocked(g, SlowSubscriber)
		default:
			return
		}
		bytes -= unsent
		groups--
	}
}

// Queued returns how many published bytes the subscription has yet to send, and
// of how many groups.
func (s *Subscription) Queued() (bytes int64, groups int) {
	s.track.mu.Lock()
	defer s.track.mu.Unlock()
	return s.queuedLocked()
}

// queuedLocked returns how many published bytes the subscription has yet to
// send, and of how many groups.
func (s *Subscription) queuedLocked() (bytes int64, groups int) {
	for _, g := range s.pending {
		bytes += g.published.Load()
	}
	for _, r := range s.active {
		bytes += r.unsent()
	}
	return bytes, len(s.pending) + len(s.active)
}

// unsent returns how many published bytes the reader has yet to send.
func (r *GroupReader) unsent() int64 {
	return r.group.published.Load() - r.sent.Load()
}

// oldestLocked returns the lowest group that the subscription has not finished,
// or nil, and its unsent bytes.
func (s *Subscription) oldestLocked() (g *group, unsent int64) {
	if len(s.pending) > 0 {
		g, unsent = s.pending[0], s.pending[0].published.Load()
	}
	if len(s.active) > 0 && (g == nil || s.active[0].group.seq < g.seq) {
		g, unsent = s.active[0].group, s.active[0].unsent()
	}
	return g, unsent
}

// isStaleLocked tells whether the track has been past the group, which is not the
// newest, for longer than the subscriber wants it.
func (s *Subscription) isStaleLocked(g *group) bool {
	age := s.options.MaxAge
	return age > 0 && s.track.newest != nil && s.track.ageLocked(g) > age
}

// ageLocked returns how far the track is past a group that is not the newest.
// That is counted from the next group on, so that a group has at least the time
// of its successor to be sent: by the timestamps of frames where the publisher
// gives them, else by arrival.
func (t *Track) ageLocked(g *group) time.Duration {
	if scale := t.info.Timescale; scale > 0 && t.stamped.Load() {
		next := t.nextLocked(g)
		if next == nil || t.newest.latest <= next.first {
			return 0
		}
		seconds := float64(t.newest.latest-next.first) / float64(scale)
		return time.Duration(min(seconds*float64(time.Second), math.MaxInt64/2))
	}
	return t.newest.shownAt.Sub(g.followedAt)
}

// nextLocked returns the group after g that has a frame, nil if none is there.
func (t *Track) nextLocked(g *group) *group {
	i, _ := t.findLocked(g.seq + 1)
	for _, e := range t.cache[i:] {
		if e.group != nil && e.group.shown && e.group.writer.frames > 0 {
			return e.group
		}
	}
	return nil
}

// dropLocked drops a group that is pending or active.
func (s *Subscription) dropLocked(g *group, reason DropReason) {
	if len(s.active) > 0 && s.active[0].group == g {
		s.active[0].dropLocked(reason)
		return
	}
	s.dropPendingLocked(g, reason)
}

// Demand returns what the subscribers want together, and a channel that is
// closed when that changes.
func (t *Track) Demand() (Demand, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.demand, t.demandChanged
}

// demandLocked computes the demand anew.
func (t *Track) demandLocked() {
	var d Demand
	for _, s := range t.subscriptions {
		if s.closed {
			continue
		}
		d = d.with(s.options)
	}
	if d != t.demand {
		t.demand = d
		close(t.demandChanged)
		t.demandChanged = make(chan struct{})
	}
}

// with returns the demand with one more subscriber.
func (d Demand) with(o SubscribeOptions) Demand {
	recent := o.Recent && o.MaxAge != Newest
	first, named := uint64(0), o.Start != nil
	if named {
		first = *o.Start
	}
	if d.Subscribers == 0 {
		return Demand{Subscribers: 1, Priority: o.Priority, Order: o.Order, MaxAge: o.MaxAge, Recent: recent, Named: named, First: first}
	}
	d.Subscribers++
	d.Recent = d.Recent || recent
	d.Named = d.Named && named
	d.First = min(d.First, first) // 0 where one has named none
	d.Priority = max(d.Priority, o.Priority)
	d.Order = min(d.Order, o.Order)
	if d.MaxAge == 0 || o.MaxAge == 0 {
		d.MaxAge = 0
	} else {
		d.MaxAge = max(d.MaxAge, o.MaxAge)
	}
	return d
}
