package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

const (
	// memory is what the tracks of a client may hold.
	memory = 256 << 20
	// queuedGroups is how many groups a client may lag behind: 10 s of audio.
	queuedGroups = 512
	// drainTimeout bounds the delivery of what is left at the end.
	drainTimeout = 5 * time.Second
	// settleTime is how long, beside two round trips, the last packets may take.
	settleTime = 50 * time.Millisecond
	// linger is how long a subscription outlives its last subscriber: just so long
	// that who asks for a track can take it.
	linger = 100 * time.Millisecond
	// closeNormal is the code of a session that ends as planned.
	closeNormal = 0
)

// client is a session with a relay. It is what a line goes over.
type client struct {
	endpoint endpoint
	conn     transport.Conn
	session  session.Session
	in, out  *origin.Table
	budget   *moq.Budget
	opened   time.Time

	ended chan struct{} // closed when the session has ended
	err   error         // why; read it after ended is closed
}

// connect dials a relay and returns when the session is ready. What the relay
// announces below interest goes into in; nil does not ask for it.
func (f *dialFlags) connect(ctx context.Context, url string, in *origin.Table, interest moq.Path) (*client, error) {
	return f.connectWith(ctx, url, in, interest, origin.NewTable(), moq.NewBudget(memory))
}

// connectWith is connect for a session that announces what is in out.
func (f *dialFlags) connectWith(
	ctx context.Context, url string, in *origin.Table, interest moq.Path, out *origin.Table, budget *moq.Budget,
) (*client, error) {
	start := time.Now()
	conn, e, err := f.dial(ctx, url)
	if err != nil {
		return nil, err
	}
	c := &client{
		endpoint: e, conn: conn,
		in: in, out: out,
		budget: budget,
		opened: start,
		ended:  make(chan struct{}),
	}
	c.session = protocols.Client(conn, session.Config{
		In: in, Out: c.out, Class: origin.Client, Interest: interest,
		Hop: f.hop(), RequestPath: e.requestPath(), KnowPeer: true,
		Budget: c.budget, TrackLimits: trackLimits(), Linger: linger,
		HandshakeTimeout: f.timeout,
	})
	go func() { // Close waits for it
		defer close(c.ended)
		c.err = c.session.Run(context.WithoutCancel(ctx))
	}()
	select {
	case <-c.session.Ready():
		return c, nil
	case <-c.ended:
		return nil, connectFailure(ctx, e, fmt.Errorf("the handshake failed: %w", c.lost()),
			"is the path of the URL right, with the token if the relay wants one?")
	case <-ctx.Done():
		c.close()
		return nil, errInterrupted
	}
}

func trackLimits() moq.Limits {
	l := moq.DefaultLimits()
	l.QueuedGroups = queuedGroups
	l.MaxGroups = max(l.MaxGroups, queuedGroups)
	return l
}

// lost returns why the session has ended, once it has.
func (c *client) lost() error {
	<-c.ended
	if c.err == nil {
		return errors.New("connection closed")
	}
	return c.err
}

// lostFailure is the failure of a command whose session has ended.
func (c *client) lostFailure() error {
	return failed(fmt.Errorf("%s: %w", c.endpoint.url, c.lost()), "the relay is gone or closed the session; start again when it is back")
}

// close ends the session at once.
func (c *client) close() {
	c.session.Close(closeNormal, "")
	<-c.ended
}

// deliver returns when the subscribers of tracks that have ended have what there
// is of them, and closes the session.
func (c *client) deliver(ctx context.Context, tracks []*moq.Track, name moq.Path) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := awaitDelivery(ctx, tracks, name, c.ended, c.lostFailure); err != nil {
		return err
	}
	c.drain(ctx)
	return nil
}

// awaitDelivery returns when tracks that have ended have no subscriber any more.
func awaitDelivery(ctx context.Context, tracks []*moq.Track, name moq.Path, ended <-chan struct{}, lost func() error) error {
	for _, t := range tracks {
		for {
			demand, changed := t.Demand()
			if demand.Subscribers == 0 {
				break
			}
			select {
			case <-changed:
				continue
			case <-ended:
				return lost()
			case <-ctx.Done():
			}
			return failed(fmt.Errorf("the relay did not take the end of %q within %v", name, drainTimeout),
				"is the way to it slower than the media?")
		}
	}
	return nil
}

// drain withdraws what is announced, and closes when that has been sent.
func (c *client) drain(ctx context.Context) {
	c.session.Drain(ctx)
	// A close overtakes what is on its way.
	timer := time.NewTimer(2*c.conn.Stats().SmoothedRTT + settleTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ended:
	}
	c.close()
}

// peer is how the relay is shown: its name in the cluster if it told one.
func (c *client) peer() string {
	if node := c.session.Node(); node != "" {
		return node
	}
	return c.endpoint.address
}
