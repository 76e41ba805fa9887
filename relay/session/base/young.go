package base

import (
	"context"
	"errors"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// Some peers know a subscription only a moment after they were answered, and
// refuse its groups until then. What follows sends such a group again.

const (
	// youth is how long after the answer, beside four round trips, a subscription of a
	// peer that may have the old defects is young.
	youth = 500 * time.Millisecond
	// WatchWindow is how long, beside one and a half round trips, the FIN of a
	// young subscription's group is held back. QUIC does not tell of a
	// STOP_SENDING that comes after the FIN.
	WatchWindow = 100 * time.Millisecond
)

// RetryDelays are the pauses before a refused group is sent again.
var RetryDelays = [...]time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond}

// errRefused ends the wait for the next bytes of a group that was refused.
var errRefused = errors.New("the group was refused")

// StartYouth notes that a peer was answered which may not know the subscription
// until it has read that.
func (d *Delivery) StartYouth() {
	d.youngUntil.Store(time.Now().Add(youth + 4*d.base.Conn.Stats().SmoothedRTT).UnixNano())
}

func (d *Delivery) isYoung() bool {
	until := d.youngUntil.Load()
	return until != 0 && time.Now().UnixNano() < until
}

// watch returns a context that ends when the stream is stopped. The next write
// would tell of that as well, but in a track of a frame per second it may come
// when the subscription is young no more. The returned function ends the watch.
func (g *sender) watch(ctx context.Context, stream transport.SendStream) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() { // ends with the returned function
		defer close(done)
		select {
		case <-stream.Stopped():
			cancel(errRefused)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// refusal is the error of a stream that was stopped while nothing was written.
func refusal(stream transport.SendStream) error {
	if err := stream.StopCode(); err != nil {
		return err
	}
	return errStopped // by ourselves
}

// isTooEarly tells whether the group was refused because the subscriber does not
// know the subscription yet.
func (g *sender) isTooEarly(err error) bool {
	e, ok := errors.AsType[*transport.StreamError](err)
	return ok && e.Remote && g.down.isYoung() && g.down.wire.TooEarly(e.Code, g.group.Newest())
}

// restart opens another stream for the group, and reports whether it could.
func (g *sender) restart(delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.group.Done():
		return false
	case <-g.down.base.Conn.Context().Done():
		return false
	}
	stream, err := g.down.base.Conn.OpenUniStream()
	if err != nil {
		return false
	}
	g.down.mu.Lock()
	if g.stopped {
		g.down.mu.Unlock()
		stream.CancelWrite(g.down.base.Codes.Stream(moq.ErrCancelled))
		return false
	}
	g.stream = stream
	g.down.mu.Unlock()
	g.down.prioritise()
	g.group.Restart()
	return true
}
