package main

import (
	"context"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/follow"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/screen"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// A client is a relay to follow.

// Track subscribes at the relay.
func (c *client) Track(path moq.Path) (*moq.Track, error) { return c.session.Track(path) }

// Announced is what the relay announces.
func (c *client) Announced() *origin.Table { return c.in }

// GoingAway is closed when the relay says that it leaves.
func (c *client) GoingAway() <-chan struct{} { return c.session.GoingAway() }

// Ended is closed when the session has ended.
func (c *client) Ended() <-chan struct{} { return c.ended }

// Err says why it has, after that.
func (c *client) Err() error { return c.lost() }

// Subscriptions counts those of the relay.
func (c *client) Subscriptions() int { return c.session.Stats().Subscriptions }

// Close ends the session, after what it announces has been withdrawn.
func (c *client) Close() {
	if c.out.Len() > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		c.drain(ctx)
	}
	c.close()
}

var _ follow.Relay = (*client)(nil)

// line is the way of a command to whatever relay answers at its URL, one after
// the other.
type line struct {
	// Static after construction.
	url      string
	budget   *moq.Budget
	out      *origin.Table // what is announced at each of the relays
	follower *follow.Follower
	tell     func(follow.Event)
	done     chan struct{} // closed when it has ended for good

	mu     sync.Mutex
	last   *client   // that is or was in use
	lostAt time.Time // since when there is none; zero while there is one
}

// follow connects, and keeps connected until the returned function is called:
// which closes everything. What relays announce below interest is to be had of
// the line; without isInterested they are not asked.
func (f *dialFlags) follow(
	ctx context.Context, url string, isInterested bool, interest moq.Path, tell func(follow.Event),
) (l *line, hangUp func(), err error) {
	l = &line{
		url: url, budget: moq.NewBudget(memory), out: origin.NewTable(), tell: tell,
		done: make(chan struct{}),
	}
	f.hop()
	flags := *f
	flags.isFollowing = !f.noReconnect
	dial := func(ctx context.Context) (*client, error) {
		var in *origin.Table
		if isInterested {
			in = origin.NewTable()
		}
		return flags.connectWith(ctx, url, in, interest, l.out, l.budget)
	}
	first, err := dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	c := follow.Config{Patience: f.timeout, Tell: l.note, Budget: l.budget, Limits: trackLimits()}
	if !f.noReconnect {
		c.Dial = func(ctx context.Context) (follow.Relay, error) { return dial(ctx) }
	}
	l.last = first
	l.follower = follow.New(c, first)
	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() { // hangUp waits for it
		defer close(l.done)
		_ = l.follower.Run(following) // why is known of the session
	}()
	return l, func() { cancel(); <-l.done }, nil
}

// note takes a change of state.
func (l *line) note(e follow.Event) {
	c := e.Relay.(*client)
	l.mu.Lock()
	switch e.State {
	case follow.Connected:
		l.last, l.lostAt = c, time.Time{}
	case follow.Lost:
		l.lostAt = e.At
	case follow.Leaving:
	}
	l.mu.Unlock()
	if l.tell != nil {
		l.tell(e)
	}
}

// current is the session in use or, while there is none, the one before.
func (l *line) current() *client {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// lostFor tells whether there is no relay, and since when.
func (l *line) lostFor(now time.Time) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.lostAt), !l.lostAt.IsZero()
}

// peer is how the relay in use is shown.
func (l *line) peer() string { return l.current().peer() }

// carrier is how the protocol in use is shown.
func (l *line) carrier() string { return l.current().endpoint.carrier() }

// way is the carrier for people.
func (l *line) way() string { return l.current().endpoint.way() }

// lostFailure is the failure of a command whose line has ended.
func (l *line) lostFailure() error { return l.current().lostFailure() }

// deliver returns when the subscribers of tracks that have ended have what there
// is of them. A relay that is lost is waited for.
func (l *line) deliver(ctx context.Context, tracks []*moq.Track, name moq.Path) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	poll := time.NewTicker(settleTime)
	defer poll.Stop()
	for isLost := true; isLost; {
		if _, isLost = l.lostFor(time.Now()); !isLost {
			break
		}
		select {
		case <-poll.C:
		case <-l.done:
			return l.lostFailure()
		case <-ctx.Done():
			return l.lostFailure()
		}
	}
	return awaitDelivery(ctx, tracks, name, l.done, l.lostFailure)
}

// tellOf shows what became of a relay, to people or, as JSON, to scripts.
func tellOf(e follow.Event, url string, events *eventLog, show *screen.Screen) {
	if events != nil {
		events.session(url, e)
		return
	}
	relay := e.Relay.(*client).peer()
	switch e.State {
	case follow.Leaving:
		show.Note("%s leaves, looking for another relay", relay)
	case follow.Lost:
		show.Note("%s is lost: %v", relay, e.Err)
	case follow.Connected:
	}
}
