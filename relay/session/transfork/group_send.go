package transfork

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

const (
	// maxFirstWrite is how much of a group's first chunk goes with the header in
	// one Write if that is all of it; otherwise as much as fills a packet does.
	maxFirstWrite = 2 << 10
	firstPacket   = 1150

	// youth is how long after INFO, beside four round trips, a subscription of a
	// peer that may have the old defects is young.
	youth = 500 * time.Millisecond
	// watchWindow is how long, beside one and a half round trips, the FIN of a
	// young subscription's group is held back. QUIC does not tell of a
	// STOP_SENDING that comes after the FIN.
	watchWindow = 100 * time.Millisecond

	// sampledFrames is of how many live frames of a group one has its age observed.
	sampledFrames = 32
)

// retryDelays are the pauses before a refused group is sent again.
var retryDelays = [...]time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond}

// firstWrites holds buffers for the header of a group and its first bytes.
var firstWrites = sync.Pool{New: func() any { return new([maxFirstWrite]byte) }}

// errStopped is why a group is not sent on: its subscription is over.
var errStopped = errors.New("sending was stopped")

// errRefused ends the wait for the next bytes of a group that was refused.
var errRefused = errors.New("the group was refused")

// sender sends one group of one subscription.
type sender struct {
	// Static after construction.
	down     *downstream
	sequence uint64
	group    *moq.GroupReader

	// Owned by run.
	frames int // sent
	opened bool

	// Guarded by down.mu.
	stream  transport.SendStream
	stopped bool
}

// startYouth notes that INFO has been written. Until its receiver has handled
// it, moq-relay 0.6.8 refuses the groups of the subscription; those of our kind
// know it before they ask.
func (d *downstream) startYouth() {
	if s := d.session; !s.marked {
		d.youngUntil.Store(time.Now().Add(youth + 4*s.conn.Stats().SmoothedRTT).UnixNano())
	}
}

func (d *downstream) isYoung() bool {
	until := d.youngUntil.Load()
	return until != 0 && time.Now().UnixNano() < until
}

// run sends the group to its end, again from its start if it is refused for
// being early.
func (g *sender) run() {
	defer g.down.removeSender(g)
	err := g.send()
	for _, delay := range retryDelays {
		if !g.isTooEarly(err) || !g.restart(delay) {
			break
		}
		err = g.send()
	}
	g.close(err)
}

// send sends the group from its first frame on. While the subscription is young
// it sees a refusal at once.
func (g *sender) send() error {
	stream, err := g.current()
	if err != nil {
		return err
	}
	ctx := g.down.session.conn.Context()
	if !g.down.isYoung() {
		return g.sendOn(ctx, stream)
	}
	ctx, stop := g.watch(ctx, stream)
	defer stop()
	if err = g.sendOn(ctx, stream); errors.Is(err, errRefused) {
		return refusal(stream)
	}
	return err
}

func (g *sender) sendOn(ctx context.Context, stream transport.SendStream) error {
	header := wire.Group{ID: g.down.id, Sequence: g.sequence}
	for first := true; ; first = false {
		chunk, err := g.group.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			if first { // a group without frames
				if _, err := stream.Write(header.Append(wire.StreamGroup.Append(nil))); err != nil {
					return err
				}
				g.begun()
			}
			return g.fin(stream)
		case err != nil:
			return err
		case first:
			err = writeFirst(stream, header, chunk.Prefixed())
			g.begun()
		default:
			_, err = stream.Write(chunk.Prefixed())
		}
		if err != nil {
			return err
		}
		g.sent(chunk)
	}
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

// current returns the stream to write to.
func (g *sender) current() (transport.SendStream, error) {
	g.down.mu.Lock()
	defer g.down.mu.Unlock()
	if g.stopped {
		return nil, errStopped
	}
	return g.stream, nil
}

// writeFirst writes the header of a group and the first bytes in one go, as each
// Write costs about as much as a packet.
func writeFirst(stream transport.SendStream, header wire.Group, first []byte) error {
	buf := firstWrites.Get().(*[maxFirstWrite]byte)
	defer firstWrites.Put(buf)
	b := header.Append(wire.StreamGroup.Append(buf[:0]))
	n := len(first)
	if len(b)+n > maxFirstWrite {
		n = firstPacket
	}
	if _, err := stream.Write(append(b, first[:n]...)); err != nil || n == len(first) {
		return err
	}
	_, err := stream.Write(first[n:])
	return err
}

// begun counts the group, once.
func (g *sender) begun() {
	if !g.opened {
		g.opened = true
		g.down.session.traffic.EgressGroups.Inc()
	}
}

// sent counts what has been handed to QUIC.
func (g *sender) sent(chunk moq.Chunk) {
	t := g.down.session.traffic
	t.EgressBytes.Add(float64(len(chunk.Payload())))
	if !chunk.End() {
		return
	}
	t.EgressFrames.Inc()
	if !g.down.joined.Load() && g.down.joined.CompareAndSwap(false, true) {
		g.down.session.config.Metrics.Joined(time.Since(g.down.began))
	}
	// What was there before the subscription has an age that is nobody's fault.
	if g.frames%sampledFrames == 0 && chunk.Arrived().After(g.down.began) {
		t.GroupAge.Observe(time.Since(chunk.Arrived()).Seconds())
	}
	g.frames++
}

// fin ends the stream of a group that is complete. While the subscription is
// young it waits before that for the group to be refused.
func (g *sender) fin(stream transport.SendStream) error {
	s := g.down.session
	if g.down.isYoung() {
		timer := time.NewTimer(watchWindow + 3*s.conn.Stats().SmoothedRTT/2)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-stream.Stopped():
			return refusal(stream)
		}
	}
	return stream.Close()
}

// isTooEarly tells whether the group was refused because the subscriber does not
// know the subscription yet. Releases from 0.6.14 on use 0 for what they do not
// know; but that is also what a subscriber says who has seen enough, so it
// counts only for the newest group.
func (g *sender) isTooEarly(err error) bool {
	e, ok := errors.AsType[*transport.StreamError](err)
	if !ok || !e.Remote || !g.down.isYoung() {
		return false
	}
	switch wire.Code(e.Code) {
	case wire.CodeNotFound:
		return true
	case wire.CodeCancel:
		return g.group.Newest()
	default:
		return false
	}
}

// restart opens another stream for the group, and reports whether it could.
func (g *sender) restart(delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.group.Done():
		return false
	case <-g.down.session.conn.Context().Done():
		return false
	}
	stream, err := g.down.session.conn.OpenUniStream()
	if err != nil {
		return false
	}
	g.down.mu.Lock()
	if g.stopped {
		g.down.mu.Unlock()
		stream.CancelWrite(uint32(wire.CodeCancel))
		return false
	}
	g.stream = stream
	g.down.mu.Unlock()
	g.down.prioritise()
	g.group.Restart()
	return true
}

// close gives up the group, which was sent whole if err is nil. Otherwise the
// stream is reset, never finished, and the subscriber is told by GROUP_DROP,
// unless it was itself who did not want the group.
func (g *sender) close(err error) {
	d := g.down
	if err == nil {
		g.group.Close()
		return
	}
	d.mu.Lock()
	stream, stopped := g.stream, g.stopped
	d.mu.Unlock()
	if reason, dropped := g.group.Dropped(); dropped {
		err = &moq.DropError{Reason: reason} // also where it made a write fail
	}
	code := codeOf(err)
	stream.CancelWrite(uint32(code))
	g.group.Close()
	d.tellDrops() // what was dropped by the relay stands there already
	if _, ended := errors.AsType[*moq.EndError](err); ended && !stopped {
		d.session.config.Metrics.GroupsDropped(moq.UpstreamReset.String(), 1)
		d.queueDrop(wire.GroupDrop{First: g.sequence, Code: code})
		d.writeDrops()
	}
}

// stop gives up the group because its subscription is over.
func (g *sender) stop(code wire.Code) {
	g.down.mu.Lock()
	g.stopped = true
	stream := g.stream
	g.down.mu.Unlock()
	stream.CancelWrite(uint32(code))
	g.group.Close()
}
