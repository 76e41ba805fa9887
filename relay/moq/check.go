package moq

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// ConsistencyCheck tells what is wrong inside the budget, or returns nil. It is
// for tests and debug pages.
func (b *Budget) ConsistencyCheck() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := b.leaving
	for _, l := range []*groupList{&b.spare, &b.fresh} {
		var prev *group
		for g := l.first; g != nil; g = g.next {
			if g.list != l || g.prev != prev || g.leaving {
				return fmt.Errorf("group %d of %v is wrongly linked", g.seq, g.track.path)
			}
			sum += g.charged
			prev = g
		}
		if l.last != prev {
			return errors.New("a list does not end with its last group")
		}
	}
	if sum != b.used {
		return fmt.Errorf("groups have %d bytes, %d are used", sum, b.used)
	}
	if b.used > b.max {
		return fmt.Errorf("%d of %d bytes are used", b.used, b.max)
	}
	return nil
}

// ConsistencyCheck tells what is wrong inside the track, or returns nil. It is
// for tests and debug pages.
func (t *Track) ConsistencyCheck() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	errs := []error{t.checkCacheLocked()}
	for g := range t.live {
		errs = append(errs, g.checkPinsLocked())
	}
	var d Demand
	for _, s := range t.subscriptions {
		errs = append(errs, s.checkQueuesLocked())
		if !s.closed {
			d = d.with(s.options)
		}
	}
	if d != t.demand {
		errs = append(errs, fmt.Errorf("demand is %+v, should be %+v", t.demand, d))
	}
	return errors.Join(errs...)
}

func (t *Track) checkCacheLocked() error {
	if len(t.cache) > t.limits.MaxGroups || len(t.gone) > t.limits.MaxGroups {
		return fmt.Errorf("%d groups and %d gaps remembered", len(t.cache), len(t.gone))
	}
	for i, e := range t.cache {
		g := e.group
		_, isLive := t.live[g]
		switch {
		case i > 0 && e.seq <= t.cache[i-1].seq:
			return fmt.Errorf("entry %d is out of order", e.seq)
		case t.isGoneLocked(e.seq):
			return fmt.Errorf("group %d exists and is gone", e.seq)
		case g != nil && (g.seq != e.seq || !g.cached || !isLive):
			return fmt.Errorf("entry %d has the wrong group", e.seq)
		case g != nil && g.shown && (t.newest == nil || g.seq > t.newest.seq):
			return fmt.Errorf("group %d is above the newest", e.seq)
		}
	}
	return nil
}

func (g *group) checkPinsLocked() error {
	pins := len(g.readers)
	for _, s := range g.track.subscriptions {
		if slices.Contains(s.pending, g) {
			pins++
		}
	}
	for i, r := range g.readers {
		if r.slot != i || r.closed || r.group != g {
			return fmt.Errorf("group %d: reader in slot %d is wrong", g.seq, i)
		}
	}
	switch {
	case int(g.pins.Load()) != pins:
		return fmt.Errorf("group %d has %d pins, should have %d", g.seq, g.pins.Load(), pins)
	case g.released || !g.cached && pins == 0:
		return fmt.Errorf("group %d is held by nobody", g.seq)
	case !g.shown && pins > 0:
		return fmt.Errorf("group %d is read before it is shown", g.seq)
	}
	return nil
}

func (s *Subscription) checkQueuesLocked() error {
	bytes, groups := s.queuedLocked()
	oldest, _ := s.oldestLocked()
	switch {
	case s.closed && (len(s.active) == 0 || len(s.pending) > 0):
		return errors.New("a closed subscription stays")
	case !slices.IsSortedFunc(s.pending, func(a, b *group) int { return cmp.Compare(a.seq, b.seq) }):
		return errors.New("pending groups are out of order")
	case !slices.IsSortedFunc(s.active, func(a, b *GroupReader) int { return cmp.Compare(a.group.seq, b.group.seq) }):
		return errors.New("active groups are out of order")
	case groups > s.maxGroups && oldest != s.track.newest:
		return fmt.Errorf("%d groups are queued, %d allowed", groups, s.maxGroups)
	case bytes > s.maxBytes+s.track.limits.QueuedBytes/8+s.track.unchecked && oldest != s.track.newest:
		return fmt.Errorf("%d bytes are queued, %d allowed", bytes, s.maxBytes)
	case len(s.reports) > maxReports:
		return fmt.Errorf("%d ranges to report", len(s.reports))
	}
	return nil
}
