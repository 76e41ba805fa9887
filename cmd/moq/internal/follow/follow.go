package follow

import (
	"context"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// Relay is a session with a relay that is ready for use.
type Relay interface {
	// Source subscribes there.
	origin.Source
	// Announced is what the relay announces; nil if it was not asked.
	Announced() *origin.Table
	// GoingAway is closed when the relay says that it leaves.
	GoingAway() <-chan struct{}
	// Ended is closed when the session has ended; Err says why then.
	Ended() <-chan struct{}
	Err() error
	// Subscriptions counts what the relay has subscribed of ours.
	Subscriptions() int
	// Close ends the session, and returns when it has ended.
	Close()
}

// State is what became of a relay.
type State string

// The states. A relay that was connected leaves, or is lost, or both.
const (
	Connected State = "connected"
	Leaving   State = "leaving"
	Lost      State = "lost"
)

// Event is a change of state.
type Event struct {
	State State
	Relay Relay // that it is about
	At    time.Time
	Err   error // why it is lost
}

// Config says how to follow. Zero values are defaults.
type Config struct {
	// Dial connects to a relay, in a way that another one may answer than the
	// last time. Nil: the first relay is the only one.
	Dial func(context.Context) (Relay, error)
	// Patience is how long a track may be gone, from a relay that is there,
	// before it ends. Default 10 s.
	Patience time.Duration
	// Tell hears of every change of state, one after the other. Nil: nobody.
	Tell func(Event)
	// Budget and Limits are those of the tracks that are given out.
	Budget *moq.Budget
	Limits moq.Limits
}

// defaultPatience is the patience of a Config that states none.
const defaultPatience = 10 * time.Second

// Follower keeps to one relay after the other. Its methods are for any
// goroutine.
type Follower struct {
	// Static after construction.
	config    Config
	first     Relay
	announced *origin.Table
	wg        sync.WaitGroup // everything that Run started

	telling sync.Mutex // held while the state changes, so that events keep its order

	mu      sync.Mutex
	current *member // nil while there is none
	tracks  map[moq.Path]*track
	known   map[moq.Path]map[origin.Hop]bool // publishers of broadcasts, now and before
	ended   bool                             // no track is given out any more
	ctx     context.Context                  //nolint:containedctx // of Run, nil before: tracks start when they are asked for and end with it
}

// New returns a follower that begins with a relay that is connected. Run makes
// it go on.
func New(c Config, first Relay) *Follower {
	if c.Patience <= 0 {
		c.Patience = defaultPatience
	}
	if c.Tell == nil {
		c.Tell = func(Event) {}
	}
	return &Follower{config: c, first: first, announced: origin.NewTable(), tracks: make(map[moq.Path]*track), known: make(map[moq.Path]map[origin.Hop]bool)}
}

// Announced is what the relays announce together.
func (f *Follower) Announced() *origin.Table { return f.announced }

// Current returns the relay in use, nil while it is lost.
func (f *Follower) Current() Relay {
	if m := f.now(); m != nil {
		return m.relay
	}
	return nil
}

func (f *Follower) now() *member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current
}

// Track returns the track of a path, of whatever relay has it, now or later. All
// who ask for one path share it.
func (f *Follower) Track(path moq.Path) (*moq.Track, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, moq.ErrGoingAway
	}
	t, ok := f.tracks[path]
	if !ok || t.out.Err() != nil {
		t = newTrack(f, path)
		f.tracks[path] = t
		f.startLocked(t)
	}
	return t.out, nil
}

// forgetBroadcast ends the tracks of a broadcast: another publisher has it now, and what
// that publishes cannot be told from what has come already. Who asks for one of
// them again gets it from its beginning.
func (f *Follower) forgetBroadcast(broadcast moq.Path) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for path, t := range f.tracks {
		if path.HasPrefix(broadcast) {
			delete(f.tracks, path)
			t.restarted()
		}
	}
}

// startLocked runs a track, once Run has begun.
func (f *Follower) startLocked(t *track) {
	if f.ctx == nil || t.started {
		return
	}
	t.started = true
	ctx := f.ctx
	f.wg.Go(func() { t.run(ctx) })
}

// Run follows until ctx is done, and then returns nil, or until the relay is lost
// and no other one may be dialled; then the error says why. All relays are
// closed then and all tracks have ended.
func (f *Follower) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.stop(cancel)
	f.mu.Lock()
	f.ctx = ctx
	f.mu.Unlock()
	m := f.adopt(ctx, f.first)
	for m != nil {
		leaves := m.relay.GoingAway()
		if f.config.Dial == nil {
			leaves = nil
		}
		select {
		case <-leaves:
		case <-m.relay.Ended():
		case <-ctx.Done():
			return nil
		}
		if f.config.Dial == nil {
			f.lose(m)
			return m.relay.Err()
		}
		m = f.replace(ctx, m)
	}
	return nil
}

// replace finds another relay in place of one that leaves or is lost; nil if ctx
// ends before.
func (f *Follower) replace(ctx context.Context, old *member) *member {
	if !isClosed(old.relay.Ended()) {
		f.tell(Event{State: Leaving, Relay: old.relay})
	}
	f.wg.Go(func() {
		<-old.relay.Ended()
		f.lose(old) // unless it has been replaced
	})
	relay := f.reach(ctx, old.relay.Ended())
	if relay == nil {
		return nil
	}
	next := f.adopt(ctx, relay)
	f.wg.Go(func() { f.retire(ctx, old) })
	return next
}

// tell tells of a change of state.
func (f *Follower) tell(e Event) {
	f.telling.Lock()
	defer f.telling.Unlock()
	e.At = time.Now()
	f.config.Tell(e)
}

// lose notes that a relay's session has ended before another one took its place.
func (f *Follower) lose(m *member) {
	f.telling.Lock()
	defer f.telling.Unlock()
	f.mu.Lock()
	isCurrent := f.current == m && f.ctx.Err() == nil
	if isCurrent {
		f.current = nil
	}
	f.mu.Unlock()
	if isCurrent {
		f.config.Tell(Event{State: Lost, Relay: m.relay, At: time.Now(), Err: m.relay.Err()})
		f.wake()
	}
}

// adopt makes a relay the current one. Tracks are subscribed there as well.
func (f *Follower) adopt(ctx context.Context, r Relay) *member {
	m := &member{relay: r, since: time.Now(), live: make(map[announced]uint64)}
	f.telling.Lock()
	defer f.telling.Unlock()
	f.mu.Lock()
	f.current = m
	for _, t := range f.tracks {
		f.startLocked(t)
	}
	f.mu.Unlock()
	f.config.Tell(Event{State: Connected, Relay: r, At: time.Now()})
	if r.Announced() != nil {
		f.wg.Go(func() { f.mirror(ctx, m) })
	}
	f.wake()
	return m
}

// wake has every track look at what has changed.
func (f *Follower) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tracks {
		t.wake()
	}
}

// stop ends everything.
func (f *Follower) stop(cancel context.CancelFunc) {
	cancel()
	f.mu.Lock()
	f.ended = true
	m := f.current
	f.mu.Unlock()
	if m != nil {
		m.relay.Close()
	}
	f.wg.Wait()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
