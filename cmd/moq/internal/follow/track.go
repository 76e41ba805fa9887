package follow

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
)

const (
	// minRetry and maxRetry bound the time between two subscriptions at one relay.
	minRetry = 50 * time.Millisecond
	maxRetry = 250 * time.Millisecond
	// handover is how long a feed that is replaced may still deliver groups before
	// those of the new one.
	handover = time.Second
	// orphanage is how long a group that was cut off waits to be completed after
	// a later one has come.
	orphanage = time.Second
	// endedRetry is how long a track that has ended is not asked for again, while
	// others of its broadcast go on.
	endedRetry = time.Second
	// lag is how far one relay may be behind another one.
	lag = 2 * time.Second
	// idleTime is how long nobody needs to be subscribed before a track ends.
	idleTime = 200 * time.Millisecond
	// tick is how often a track looks at what only time changes.
	tick = 50 * time.Millisecond
)

// track is a track that is fed by one relay, or by several while it moves.
type track struct {
	// Static after construction.
	follower *Follower
	path     moq.Path
	out      *moq.Track
	woken    chan struct{} // holds 1: something has changed
	copies   sync.WaitGroup
	isOver   atomic.Bool // its publisher has ended it, for all that is known here

	started bool // guarded by Follower.mu

	mu      sync.Mutex         // taken before Follower.mu where both are
	feeds   []*feed            // that have not ended, in the order in which they began
	open    map[uint64]*splice // groups that are not whole yet
	highest uint64             // group that has begun
	begun   bool               // highest is valid
	past    uint64             // what highest was when mark was set
	mark    uint64             // what highest was at markAt
	markAt  time.Time
	failure error         // why the last feed ended; nil before
	retryAt time.Time     // not subscribed again before
	retry   time.Duration // the next time between two subscriptions
	lastFed time.Time     // when there was a feed last
	idle    time.Time     // since when nobody is subscribed; zero while somebody is
	endings int           // feeds that ended well, one after the other, with nothing new
}

func newTrack(f *Follower, path moq.Path) *track {
	now := time.Now()
	return &track{
		follower: f, path: path,
		out: moq.NewTrack(moq.TrackConfig{
			Path: path, Info: moq.Info{Priority: moq.DefaultPriority},
			Budget: f.config.Budget, Limits: f.config.Limits,
		}),
		woken: make(chan struct{}, 1),
		open:  make(map[uint64]*splice),
		retry: minRetry, lastFed: now,
	}
}

// wake has run look again.
func (t *track) wake() {
	select {
	case t.woken <- struct{}{}:
	default:
	}
}

// run feeds the track until it is over.
func (t *track) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	poll := time.NewTicker(tick)
	defer poll.Stop()
	over := moq.ErrGoingAway
	for ctx.Err() == nil {
		if why := t.look(ctx, time.Now()); why != nil {
			over = why
			break
		}
		select {
		case <-t.woken:
		case <-poll.C:
		case <-ctx.Done():
		}
	}
	t.isOver.Store(true)
	t.out.End(over)
	cancel()
	t.close()
	t.copies.Wait()
	t.follower.forget(t)
}

func (f *Follower) forget(t *track) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tracks[t.path] == t {
		delete(f.tracks, t.path)
	}
}

// close ends all feeds, and the groups that they leave behind.
func (t *track) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.feeds {
		d.close()
	}
	for _, s := range t.open {
		s.abort()
	}
}

// look does what is due, and says how the track is over if it is.
func (t *track) look(ctx context.Context, now time.Time) error {
	if t.isIdle(now) && t.out.EndIfIdle() {
		return moq.ErrCancelled
	}
	if err := t.out.Err(); err != nil {
		return err
	}
	m := t.follower.now()
	var announcement uint64
	if m != nil {
		announcement = t.follower.announcement(m, t.path)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweepLocked(now)
	if now.Sub(t.markAt) > lag {
		t.past, t.mark, t.markAt = t.mark, t.highest, now
	}
	if len(t.feeds) > 0 {
		t.lastFed = now
		newest := t.feeds[len(t.feeds)-1]
		moved := m != nil && (newest.member != m || announcement > newest.announcement)
		if moved && !now.Before(t.retryAt) {
			t.subscribeLocked(ctx, m, announcement, now)
		}
		t.supersedeLocked(now)
		return nil
	}
	return t.renewLocked(ctx, m, announcement, now)
}

// isIdle tells whether nobody has been subscribed for a while.
func (t *track) isIdle(now time.Time) bool {
	demand, _ := t.out.Demand()
	t.mu.Lock()
	defer t.mu.Unlock()
	if demand.Subscribers > 0 {
		t.idle = time.Time{}
		return false
	}
	if t.idle.IsZero() {
		t.idle = now
	}
	return now.Sub(t.idle) >= idleTime
}

// othersGoOn tells whether another track of the same broadcast is wanted and has not
// ended. A publisher ends all of them, or else one has ended for another reason:
// a relay that stops without a word says the same.
func (f *Follower) othersGoOn(t *track) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for path, other := range f.tracks {
		if other == t || path.Parent() != t.path.Parent() || other.isOver.Load() {
			continue
		}
		if demand, _ := other.out.Demand(); demand.Subscribers > 0 {
			return true
		}
	}
	return false
}

// renewLocked subscribes again, or decides that the track is over.
func (t *track) renewLocked(ctx context.Context, m *member, announcement uint64, now time.Time) error {
	demand, _ := t.out.Demand()
	hasEnded := t.endings > 1 || t.endings == 1 && announcement == 0 // what is announced may not have been withdrawn yet
	isCopying := t.isCopyingLocked()
	t.isOver.Store(hasEnded && !isCopying)
	switch {
	case demand.Subscribers == 0, m == nil:
		t.lastFed = now // nobody wants it, or nobody knows of it
		return nil
	case t.endings > 0 && isCopying:
		return nil // the last groups may come to their end after the subscription
	case hasEnded && !t.follower.othersGoOn(t):
		return moq.ErrEnded
	case m.since.After(t.lastFed):
		t.lastFed = m.since
	}
	if now.Sub(t.lastFed) > t.follower.config.Patience {
		return cmp.Or(t.failure, moq.ErrTimeout)
	}
	isNews := t.failure == nil || announcement > 0 || m.relay.Announced() == nil
	if isNews && !now.Before(t.retryAt) {
		t.subscribeLocked(ctx, m, announcement, now)
	}
	return nil
}

// isCopyingLocked tells whether a group is being delivered.
func (t *track) isCopyingLocked() bool {
	for _, s := range t.open {
		if s.readers > 0 {
			return true
		}
	}
	return false
}

// subscribeLocked adds a feed from a relay. It begins with the first group that
// is not whole.
func (t *track) subscribeLocked(ctx context.Context, m *member, announcement uint64, now time.Time) {
	t.retryAt = now.Add(t.retry)
	t.retry = min(2*t.retry, maxRetry)
	demand, _ := t.out.Demand()
	options := moq.SubscribeOptions{Priority: demand.Priority, Order: demand.Order, MaxAge: demand.MaxAge}
	first := uint64(0)
	if t.begun {
		first = t.highest + 1
		for number := range t.open {
			first = min(first, number)
		}
		options.Start = &first
	}
	sub, err := subscribe(m.relay, t.path, options)
	if err != nil {
		t.failure = err
		return
	}
	d := &feed{track: t, member: m, announcement: announcement, sub: sub, least: min(first, t.past), began: now}
	t.feeds = append(t.feeds, d)
	t.copies.Go(func() { d.run(ctx) })
}

// subscribe subscribes at a relay. A track that ended for lack of subscribers
// just before is asked for again.
func subscribe(r Relay, path moq.Path, o moq.SubscribeOptions) (*moq.Subscription, error) {
	for try := 0; ; try++ {
		track, err := r.Track(path)
		if err != nil {
			return nil, err
		}
		sub, err := track.Subscribe(o)
		if err == nil || try > 0 || !errors.Is(err, moq.ErrCancelled) {
			return sub, err
		}
	}
}

// supersedeLocked closes the feeds that the newest one has replaced.
func (t *track) supersedeLocked(now time.Time) {
	newest := t.feeds[len(t.feeds)-1]
	for _, d := range t.feeds[:len(t.feeds)-1] {
		if d.isReplacedLocked(newest, now) {
			d.close()
		}
	}
}

// sweepLocked gives up groups that were cut off and that no relay completes.
func (t *track) sweepLocked(now time.Time) {
	for number, s := range t.open {
		if s.readers == 0 && number < t.highest && len(t.feeds) > 0 && now.Sub(s.orphaned) > orphanage {
			s.abort()
			delete(t.open, number)
		}
	}
}

// enter returns the splice of a group, nil if it has been given out already.
func (t *track) enter(number uint64) *splice {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.open[number]
	if !ok {
		writer, err := t.out.CreateGroup(number)
		if err != nil {
			return nil
		}
		s = &splice{number: number, writer: writer}
		t.open[number] = s
	}
	s.readers++
	if !t.begun || number > t.highest {
		t.begun, t.highest = true, number
	}
	t.retry, t.endings = minRetry, 0
	t.isOver.Store(false)
	return s
}

// leave notes that a feed does not deliver a group any more.
func (t *track) leave(s *splice, isWhole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.readers--
	t.wake()
	if isWhole {
		delete(t.open, s.number)
	} else if s.readers == 0 {
		s.orphaned = time.Now()
	}
}

// drop passes on that groups never come, if no other feed may have them.
func (t *track) drop(d *feed, ranges []moq.Range) {
	t.mu.Lock()
	isAlone := len(t.feeds) == 1 && t.feeds[0] == d
	t.mu.Unlock()
	if !isAlone || d.isEnding() {
		return
	}
	for _, r := range ranges {
		t.out.Drop(r.First, r.Last, r.Reason)
	}
}

// ended notes the end of a feed.
func (t *track) ended(d *feed, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feeds = slices.DeleteFunc(t.feeds, func(other *feed) bool { return other == d })
	if d.closed {
		return
	}
	t.failure = err
	pause := minRetry
	if errors.Is(err, moq.ErrEnded) && !d.isEnding() {
		if t.endings++; t.endings > 1 {
			pause = endedRetry
		}
	}
	if next := time.Now().Add(pause); t.retryAt.Before(next) {
		t.retryAt = next
	}
	t.wake()
}

// errRestarted is why a track ends whose publisher has begun again from the first
// group. What comes then cannot be told from what has come already.
var errRestarted = &moq.EndError{Reason: moq.Cancelled, Detail: "the publisher has begun again"}

// IsRestart tells whether a track has ended because its publisher has begun again:
// asked for once more, it is that of the present one.
func IsRestart(err error) bool {
	e, ok := errors.AsType[*moq.EndError](err)
	return ok && e == errRestarted
}

// restarted notes that the publisher has begun again.
func (t *track) restarted() {
	t.out.End(errRestarted)
	t.wake()
}

// isFedBy tells whether a relay delivers the track.
func (t *track) isFedBy(m *member) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.feeds, func(d *feed) bool { return d.member == m })
}
