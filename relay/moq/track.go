package moq

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"
)

// TrackConfig is what a track is made with.
type TrackConfig struct {
	Path      Path
	Info      Info
	Budget    *Budget // nil: no bound over all tracks
	Limits    Limits
	Retention time.Duration // how long a group stays after a newer one came; 0: only the newest is kept
}

// Track is a live sequence of groups: written by one publisher, read by any
// number of subscriptions, remembered for those who come later. Its methods are
// for any goroutine.
type Track struct {
	// Static after construction.
	path      Path
	budget    *Budget
	limits    Limits
	retention time.Duration
	ready     chan struct{}
	ended     chan struct{}

	began    time.Time     // when it was made
	informed chan struct{} // closed once its info is known, or it has ended

	proven  atomic.Uint64 // largest frame that was complete so far
	stamped atomic.Bool   // frames come with timestamps of their publisher

	mu            sync.Mutex
	info          Info
	isReady       bool
	isInformed    bool
	err           error // why it ended; nil while it lives
	largest       Location
	hasLargest    bool
	live          map[*group]struct{} // groups that are not released
	cache         []entry             // groups that exist, by sequence; at most MaxGroups
	gone          []Range             // groups that never come, by sequence; at most MaxGroups
	floor         uint64              // groups below are too old, unless in cache
	suspended     []*GroupWriter      // of groups that are open and that nobody writes
	newest        *group              // the highest that was shown; nil before the first
	expiry        *time.Timer
	expiryDue     time.Time // zero if expiry is not running
	subscriptions []*Subscription
	demand        Demand
	demandChanged chan struct{}
	datagrams     window
	unchecked     int64 // bytes published since subscriptions were checked for lagging
}

// entry remembers a group that exists or existed.
type entry struct {
	seq   uint64
	group *group // nil once it left the cache
}

// NewTrack returns a track that has no group and no subscriber.
func NewTrack(c TrackConfig) *Track {
	return &Track{
		path:          c.Path,
		info:          c.Info,
		budget:        cmp.Or(c.Budget, unlimited()),
		limits:        c.Limits.withDefaults(),
		retention:     c.Retention,
		live:          make(map[*group]struct{}),
		ready:         make(chan struct{}),
		informed:      make(chan struct{}),
		began:         time.Now(),
		ended:         make(chan struct{}),
		demandChanged: make(chan struct{}),
	}
}

// Path returns the track's name.
func (t *Track) Path() Path {
	return t.path
}

// Info returns what the publisher last said of the track.
func (t *Track) Info() Info {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.info
}

// Ready returns a channel that is closed once the publisher has answered: with
// how far it is, the first group, or the end.
func (t *Track) Ready() <-chan struct{} {
	return t.ready
}

// Informed returns a channel that is closed once the publisher has said what
// Info returns, or the track has ended.
func (t *Track) Informed() <-chan struct{} {
	return t.informed
}

// arrival returns the timestamp of a frame that has none of its own: the
// milliseconds of a clock that does not jump.
func (t *Track) arrival(now time.Time) uint64 {
	return uint64(t.began.UnixMilli() + now.Sub(t.began).Milliseconds())
}

// Largest returns the place of the highest frame that is known of, and whether
// one is. The frame itself may not be there.
func (t *Track) Largest() (Location, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.largest, t.hasLargest
}

// Ended returns a channel that is closed when the track ends.
func (t *Track) Ended() <-chan struct{} {
	return t.ended
}

// Err returns why the track ended, or nil while it has not.
func (t *Track) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Group returns a reader of a group that is in the cache. It must be closed.
func (t *Track) Group(seq uint64) (*GroupReader, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.findLocked(seq)
	if !ok || t.cache[i].group == nil || !t.cache[i].group.shown {
		return nil, false
	}
	g := t.cache[i].group
	g.pins.Add(1)
	return g.newReaderLocked(nil), true
}

// Newest returns the number of the highest group that is known of, and whether one
// is: its frames may be yet to come.
func (t *Track) Newest() (uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	newest, known := t.largest.Group, t.hasLargest
	if n := len(t.cache); n > 0 {
		newest, known = max(newest, t.cache[n-1].seq), true
	}
	return newest, known
}

// LastGroup returns the number of the highest group that has begun to come, and
// when it did; false before the first one.
func (t *Track) LastGroup() (seq uint64, at time.Time, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.newest == nil {
		return 0, time.Time{}, false
	}
	return t.newest.seq, t.newest.shownAt, true
}

// HasSettled tells whether every group from first to last has begun to come, or
// never will.
func (t *Track) HasSettled(first, last uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first = max(first, t.floor)
	return first > last || len(t.absentLocked(first, last)) == 0
}

// Inform replaces what is known of the track, by a publisher that has yet to say
// how far it is: it has not answered with that.
func (t *Track) Inform(info Info) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.info = info
	t.informedLocked()
}

// SetInfo replaces what is known of the track, by a publisher that has said how far
// it is, or has nothing to say of that.
func (t *Track) SetInfo(info Info) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.info = info
	t.informedLocked()
	t.readyLocked()
}

// SetLargest takes the publisher's word that the track has reached a place. It
// never moves back.
func (t *Track) SetLargest(l Location) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reachedLocked(l)
	t.readyLocked()
}

// CreateGroup starts the group of the given number. Numbers may come in any
// order. The error is [ErrDuplicate] if the group exists or existed,
// [ErrTooOld] if it is below what the track remembers or was given up by Drop,
// and why the track ended if it did.
func (t *Track) CreateGroup(seq uint64) (*GroupWriter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.createLocked(seq)
}

// AppendGroup starts the group after the highest so far, or group 0.
func (t *Track) AppendGroup() (*GroupWriter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seq := t.floor
	if n := len(t.cache); n > 0 {
		seq = t.cache[n-1].seq + 1
	}
	if n := len(t.gone); n > 0 {
		seq = max(seq, t.gone[n-1].Last+1)
	}
	return t.createLocked(seq)
}

// Drop takes the publisher's word that the groups from first to last never
// come, as far as they have not come yet. Subscriptions are told.
func (t *Track) Drop(first, last uint64, reason DropReason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abandonLocked(func(seq uint64) bool { return first <= seq && seq <= last })
	for _, r := range t.absentLocked(max(first, t.floor), last) {
		r.Reason = reason
		t.goneLocked(r)
		for _, s := range t.subscriptions {
			s.reportLocked(s.clipLocked(r)...)
			s.signal()
		}
	}
}

// End ends the track. After a clean end, [ErrEnded] or nil, groups that are
// open can still be finished, and subscriptions get all groups before they hear
// of it. Any other error aborts the open groups and ends the subscriptions at
// once. Only the first call has an effect.
func (t *Track) End(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endLocked(err)
}

// EndIfIdle ends the track with [ErrCancelled] if it has no subscriber, and
// tells whether it is over.
func (t *Track) EndIfIdle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil && t.demand.Subscribers == 0 {
		t.endLocked(ErrCancelled)
	}
	return t.err != nil
}

func (t *Track) endLocked(err error) {
	if t.err != nil {
		return
	}
	now := time.Now()
	t.abandonLocked(func(uint64) bool { return true })
	if isClean(err) {
		t.err = ErrEnded
		if t.newest != nil {
			t.followLocked(t.newest, now)
		}
	} else {
		t.err = err
		t.clearLocked(now)
	}
	t.informedLocked()
	t.readyLocked()
	close(t.ended)
	for _, s := range t.subscriptions {
		s.signal()
	}
}

// clearLocked ends everything that depends on the track.
func (t *Track) clearLocked(now time.Time) {
	for _, s := range t.subscriptions {
		s.discardLocked()
	}
	for g := range t.live {
		g.abortLocked(t.err, UpstreamReset, now)
		t.uncacheLocked(g)
	}
}

func (t *Track) readyLocked() {
	if !t.isReady {
		t.isReady = true
		close(t.ready)
	}
}

func (t *Track) informedLocked() {
	if !t.isInformed {
		t.isInformed = true
		close(t.informed)
	}
}

// reachedLocked moves the largest location forward.
func (t *Track) reachedLocked(l Location) {
	if !t.hasLargest || l.after(t.largest) {
		t.largest, t.hasLargest = l, true
	}
}

// firstRoom returns how much to allocate for a frame of which nothing has come.
func (t *Track) firstRoom(size uint64) int {
	return int(min(size, max(firstPiece, min(provenPiece, t.proven.Load()))))
}
