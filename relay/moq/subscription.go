package moq

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"
)

// maxReports bounds the ranges that Dropped has to tell.
const maxReports = 256

// Newest is the age of a subscriber that wants the newest group alone.
const Newest = time.Nanosecond

// SubscribeOptions say what a subscriber wants of a track.
type SubscribeOptions struct {
	Priority Priority
	Order    Order         // which group goes first when several wait
	MaxAge   time.Duration // how long a group is worth sending after a newer one came; 0: no limit
	Start    *uint64       // first group; nil: the newest there is
	End      *uint64       // last group, included; nil: no end
	// Recent begins with the oldest group, from Start on, that MaxAge still wants,
	// instead of the newest.
	Recent bool
}

// Subscription is one subscriber's claim on the groups of a track. Next is for
// one goroutine, the other methods for any.
type Subscription struct {
	track *Track
	named bool // a start was asked for

	ready chan struct{} // holds 1: Next should look again
	told  chan struct{} // holds 1: Dropped has something

	// Guarded by track.mu.
	options SubscribeOptions
	start   uint64
	closed  bool
	pending []*group       // to be handed out, by sequence; each pinned
	active  []*GroupReader // handed out, neither dropped nor closed, by sequence
	reports []Range        // for Dropped

	datagrams *datagramQueue // nil: it takes none

	// What may be queued: the track's limits and what was there at the start.
	maxBytes  int64
	maxGroups int
}

// Subscribe registers a subscriber. In the same step it takes hold of the
// groups in its range that are there, so that none falls between those and the
// live ones. On a track that ended cleanly it yields what is still there.
func (t *Track) Subscribe(o SubscribeOptions) (*Subscription, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil && !isClean(t.err) {
		return nil, t.err
	}
	s := &Subscription{
		track:     t,
		ready:     make(chan struct{}, 1),
		told:      make(chan struct{}, 1),
		options:   o,
		maxBytes:  t.limits.QueuedBytes,
		maxGroups: t.limits.QueuedGroups,
	}
	s.start = t.startLocked(o)
	s.named = o.Start != nil
	s.catchUpLocked(s.start)
	t.subscriptions = append(t.subscriptions, s)
	t.demandLocked()
	return s, nil
}

// startLocked returns the first group of a subscription that begins now.
func (t *Track) startLocked(o SubscribeOptions) uint64 {
	switch {
	case o.Start != nil && !o.Recent:
		return *o.Start
	case t.newest == nil && o.Start != nil:
		return *o.Start
	case t.newest == nil:
		return 0
	}
	switch {
	case o.Recent && o.Start != nil:
		return t.unexpiredLocked(*o.Start, o.MaxAge)
	case o.Recent:
		return t.recentLocked(o.MaxAge)
	default:
		return t.newest.seq
	}
}

// unexpiredLocked returns the first group from a floor on behind which none has
// left the cache or is older than age. Those that are not there may yet come: what
// is fetched up comes newest first.
func (t *Track) unexpiredLocked(floor uint64, age time.Duration) uint64 {
	for _, e := range t.cache {
		if e.seq < floor || e.seq >= t.newest.seq {
			continue
		}
		if e.group == nil || age > 0 && e.group.shown && t.hasExpiredLocked(e.group, age) {
			floor = e.seq + 1
		}
	}
	return floor
}

// recentLocked returns the oldest group in the cache that has not expired by age,
// up to which there is none missing.
func (t *Track) recentLocked(age time.Duration) uint64 {
	recent := t.newest.seq
	for _, e := range slices.Backward(t.cache) {
		switch {
		case e.seq >= t.newest.seq:
		case e.group == nil || !e.group.shown || age > 0 && t.hasExpiredLocked(e.group, age):
			return recent
		default:
			recent = e.seq
		}
	}
	return recent
}

// hasExpiredLocked tells whether a group is too old to begin with it. What is
// worth nothing but while it is the newest, and its successor has not begun, has
// expired at once.
func (t *Track) hasExpiredLocked(g *group, age time.Duration) bool {
	const unit = time.Millisecond // of ages in all protocols
	return t.ageLocked(g) >= age || age < unit && t.nextLocked(g) != nil
}

// catchUpLocked takes what the track has, and had, of the subscription's range
// from first on.
func (s *Subscription) catchUpLocked(first uint64) {
	t := s.track
	if first < t.floor {
		for _, r := range t.absentLocked(first, t.floor-1) {
			r.Reason = Expired
			s.reportLocked(s.clipLocked(r)...)
		}
	}
	for _, r := range t.gone {
		if r.First = max(r.First, first); r.First <= r.Last {
			s.reportLocked(s.clipLocked(r)...)
		}
	}
	for _, e := range t.cache {
		switch {
		case e.seq < first || !s.wantsLocked(e.seq):
		case e.group == nil:
			s.reportLocked(Range{e.seq, e.seq, Expired})
		case e.group.shown:
			s.pushLocked(e.group)
			s.maxBytes += e.group.published.Load()
			s.maxGroups++
		}
	}
}

// Track returns the track that is subscribed.
func (s *Subscription) Track() *Track {
	return s.track
}

// Options returns the options in force, with the first group in Start.
func (s *Subscription) Options() SubscribeOptions {
	s.track.mu.Lock()
	defer s.track.mu.Unlock()
	o := s.options
	start := s.start
	o.Start = &start
	return o
}

// Update replaces the options. A nil Start leaves the first group as it is, and
// one that is lower does not bring back groups that passed. An End that is higher
// does, as far as they are there. Groups that fall out of the range and were not
// handed out are forgotten.
func (s *Subscription) Update(o SubscribeOptions) {
	t := s.track
	t.mu.Lock()
	defer t.mu.Unlock()
	before := s.options.End
	s.options = o
	if o.Start != nil {
		s.start = *o.Start
	}
	if before != nil && *before < math.MaxUint64 && (o.End == nil || *o.End > *before) {
		s.catchUpLocked(max(s.start, *before+1))
	}
	for _, g := range slices.Clone(s.pending) {
		if !s.inRange(g.seq) {
			s.removePendingLocked(g)
		}
	}
	s.checkLocked()
	t.demandLocked()
	s.signal()
}

// Next waits for the next group and returns a reader of it, which must be
// closed. If several wait, the order of the subscription decides; a group that
// arrives late is handed out late. The error is [ErrEnded] after the last group
// of the range or of a track that ended cleanly, otherwise why the track ended;
// [ErrCancelled] after Close; or the cause of ctx's end.
func (s *Subscription) Next(ctx context.Context) (*GroupReader, error) {
	for {
		if r, err := s.poll(); r != nil || err != nil {
			return r, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// poll returns what Next returns, or nothing yet.
func (s *Subscription) poll() (*GroupReader, error) {
	t := s.track
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrCancelled
	case t.err != nil && !isClean(t.err):
		return nil, t.err
	case len(s.pending) > 0:
		return s.popLocked(), nil
	case s.isOverLocked():
		return nil, ErrEnded
	default:
		return nil, nil
	}
}

func (s *Subscription) popLocked() *GroupReader {
	i := 0
	if s.options.Order == Descending {
		i = len(s.pending) - 1
	}
	g := s.pending[i]
	s.pending = slices.Delete(s.pending, i, i+1)
	r := g.newReaderLocked(s)
	at, _ := slices.BinarySearchFunc(s.active, g.seq, func(r *GroupReader, seq uint64) int { return cmp.Compare(r.group.seq, seq) })
	s.active = slices.Insert(s.active, at, r)
	return r
}

// isOverLocked tells whether no further group is to be expected.
func (s *Subscription) isOverLocked() bool {
	t := s.track
	if t.err == nil && !s.isPastEndLocked() {
		return false
	}
	return !slices.ContainsFunc(t.cache, func(e entry) bool {
		return s.inRange(e.seq) && e.group != nil && !e.group.shown && e.group.state == open
	})
}

func (s *Subscription) isPastEndLocked() bool {
	end := s.options.End
	if end == nil {
		return false
	}
	t := s.track
	return *end < s.start || t.newest != nil && t.newest.seq >= *end || *end < t.floor || t.isGoneLocked(*end)
}

// First returns the lowest of the groups that wait to be handed out or were and
// are not closed, if there are any.
func (s *Subscription) First() (uint64, bool) {
	s.track.mu.Lock()
	defer s.track.mu.Unlock()
	g, _ := s.oldestLocked()
	if g == nil {
		return 0, false
	}
	return g.seq, true
}

// Awaits tells whether a lower group than seq may still come first: one was asked
// for, and nobody has said that it never comes.
func (s *Subscription) Awaits(seq uint64) bool {
	s.track.mu.Lock()
	defer s.track.mu.Unlock()
	return s.named && s.track.notGoneLocked(s.start) < seq
}

// Dropped takes the groups that this subscription does not get although they
// are in its range, in no particular order. If nobody takes them for long, far
// apart ranges are joined and may cover groups between them.
func (s *Subscription) Dropped() []Range {
	s.track.mu.Lock()
	defer s.track.mu.Unlock()
	reports := s.reports
	s.reports = nil
	return reports
}

// DroppedC returns a channel that receives a value when Dropped has something
// new to tell.
func (s *Subscription) DroppedC() <-chan struct{} {
	return s.told
}

// SkipToNewest drops all groups that wait to be handed out, except the newest
// of them.
func (s *Subscription) SkipToNewest(reason DropReason) {
	s.track.mu.Lock()
	defer s.track.mu.Unlock()
	for len(s.pending) > 1 {
		s.dropPendingLocked(s.pending[0], reason)
	}
}

// Close ends the subscription: no further group is handed out or reported.
// Groups that were handed out can be read to their end, within the same limits.
func (s *Subscription) Close() {
	t := s.track
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.discardLocked()
	s.leaveLocked()
	t.demandLocked()
	s.signal()
}

// leaveLocked takes a closed subscription off the track once all its readers
// are closed too.
func (s *Subscription) leaveLocked() {
	t := s.track
	if !s.closed || len(s.active) > 0 {
		return
	}
	if i := slices.Index(t.subscriptions, s); i >= 0 {
		t.subscriptions = slices.Delete(t.subscriptions, i, i+1)
	}
}

func (s *Subscription) inRange(seq uint64) bool {
	return seq >= s.start && (s.options.End == nil || seq <= *s.options.End)
}

// wantsLocked tells whether a group of the number is to be handed out or
// reported.
func (s *Subscription) wantsLocked(seq uint64) bool {
	return !s.closed && (s.track.err == nil || isClean(s.track.err)) && s.inRange(seq)
}

// clipLocked returns the part of r that the subscription wants, if any.
func (s *Subscription) clipLocked(r Range) []Range {
	r.First = max(r.First, s.start)
	if s.options.End != nil {
		r.Last = min(r.Last, *s.options.End)
	}
	if r.First > r.Last || !s.wantsLocked(r.First) {
		return nil
	}
	return []Range{r}
}

// signal has Next look again.
func (s *Subscription) signal() {
	notify(s.ready)
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pushLocked has Next hand out the group.
func (s *Subscription) pushLocked(g *group) {
	g.pins.Add(1)
	i, _ := slices.BinarySearchFunc(s.pending, g.seq, func(g *group, seq uint64) int { return cmp.Compare(g.seq, seq) })
	s.pending = slices.Insert(s.pending, i, g)
	s.signal()
}

// removePendingLocked takes back a group that waits to be handed out, and tells
// whether it did.
func (s *Subscription) removePendingLocked(g *group) bool {
	i := slices.Index(s.pending, g)
	if i < 0 {
		return false
	}
	s.pending = slices.Delete(s.pending, i, i+1)
	g.unpinLocked()
	return true
}

// dropPendingLocked drops a group if it waits to be handed out.
func (s *Subscription) dropPendingLocked(g *group, reason DropReason) {
	if s.removePendingLocked(g) {
		s.reportLocked(Range{g.seq, g.seq, reason})
		s.signal()
	}
}

// discardLocked forgets the groups that wait to be handed out.
func (s *Subscription) discardLocked() {
	for len(s.pending) > 0 {
		s.removePendingLocked(s.pending[len(s.pending)-1])
	}
}

// removeLocked takes a reader off the active ones.
func (s *Subscription) removeLocked(r *GroupReader) {
	if i := slices.Index(s.active, r); i >= 0 {
		s.active = slices.Delete(s.active, i, i+1)
	}
}

// reportLocked has Dropped tell of the ranges.
func (s *Subscription) reportLocked(ranges ...Range) {
	if s.closed || len(ranges) == 0 {
		return
	}
	for _, r := range ranges {
		if n := len(s.reports); n > 0 && s.reports[n-1].Reason == r.Reason && s.reports[n-1].Last+1 == r.First {
			s.reports[n-1].Last = r.Last
			continue
		}
		s.reports = append(s.reports, r)
	}
	if len(s.reports) > maxReports {
		s.joinReportsLocked()
	}
	notify(s.told)
}

// joinReportsLocked halves the ranges by joining neighbours.
func (s *Subscription) joinReportsLocked() {
	slices.SortFunc(s.reports, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	joined := s.reports[:0]
	for i := 0; i < len(s.reports); i += 2 {
		r := s.reports[i]
		if i+1 < len(s.reports) {
			r.Last = max(r.Last, s.reports[i+1].Last)
		}
		joined = append(joined, r)
	}
	s.reports = joined
}
