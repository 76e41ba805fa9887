package base

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/transport"
)

const (
	// maxFirstWrite is how much of a group's first chunk goes with the header in
	// one Write if that is all of it; otherwise as much as fills a packet does.
	maxFirstWrite = 2 << 10
	firstPacket   = 1150

	// sampledFrames is of how many live frames of a group one has its age observed.
	sampledFrames = 32
)

// firstWrites holds buffers for the header of a group and its first bytes.
var firstWrites = sync.Pool{New: func() any { return new([maxFirstWrite]byte) }}

// errStopped is why a group is not sent on: its subscription is over.
var errStopped = errors.New("sending was stopped")

// sender sends one group of one subscription.
type sender struct {
	// Static after construction.
	down     *Delivery
	sequence uint64
	group    *moq.GroupReader

	// Owned by run.
	frames int // sent
	opened bool

	// Guarded by down.mu.
	stream  transport.SendStream
	stopped bool
}

// run sends the group to its end, again from its start if it is refused for
// being early.
func (g *sender) run() {
	defer g.down.removeSender(g)
	err := g.send()
	for _, delay := range RetryDelays {
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
	ctx := g.down.base.Conn.Context()
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
	var index uint64 // of the frame
	for first := true; ; first = false {
		chunk, err := g.group.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			if first { // a group without frames
				if _, err := stream.Write(g.down.wire.AppendHeader(nil, g.sequence)); err != nil {
					return err
				}
				g.begun()
			}
			return g.fin(stream)
		case err != nil:
			return err
		case first:
			err = g.writeFirst(stream, g.down.wire.Bytes(chunk))
			g.begun()
		default:
			_, err = stream.Write(g.down.wire.Bytes(chunk))
		}
		if err != nil {
			return err
		}
		g.sent(chunk)
		if chunk.End() {
			if g.isLast(index) {
				return g.fin(stream)
			}
			index++
		}
	}
}

// isLast tells whether the subscriber wants no frame of the group behind this
// one.
func (g *sender) isLast(index uint64) bool {
	last := g.down.last.Load()
	return last != nil && last.Group == g.sequence && last.Frame <= index
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
func (g *sender) writeFirst(stream transport.SendStream, first []byte) error {
	buf := firstWrites.Get().(*[maxFirstWrite]byte)
	defer firstWrites.Put(buf)
	b := g.down.wire.AppendHeader(buf[:0], g.sequence)
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
		g.down.base.Traffic.EgressGroups.Inc()
	}
}

// sent counts what has been handed to QUIC.
func (g *sender) sent(chunk moq.Chunk) {
	t := g.down.base.Traffic
	t.EgressBytes.Add(float64(len(chunk.Payload())))
	if !chunk.End() {
		return
	}
	t.EgressFrames.Inc()
	if !g.down.joined.Load() && g.down.joined.CompareAndSwap(false, true) {
		g.down.base.Config.Metrics.Joined(time.Since(g.down.began))
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
	if g.down.isYoung() {
		timer := time.NewTimer(WatchWindow + 3*g.down.base.Conn.Stats().SmoothedRTT/2)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-stream.Stopped():
			return refusal(stream)
		}
	}
	return stream.Close()
}

// close gives up the group, which was sent whole if err is nil. Otherwise the
// stream is reset, never finished, and the subscriber is told of the drop,
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
	code := d.base.Codes.Stream(err)
	stream.CancelWrite(code)
	g.group.Close()
	d.tellDrops() // what was dropped by the relay stands there already
	if _, ended := errors.AsType[*moq.EndError](err); ended && !stopped {
		d.base.Config.Metrics.GroupsDropped(moq.UpstreamReset.String(), 1)
		d.queueDrop(drop{g.sequence, g.sequence, code})
		d.writeDrops()
	}
}

// stop gives up the group because its subscription is over.
func (g *sender) stop() {
	g.down.mu.Lock()
	g.stopped = true
	stream := g.stream
	g.down.mu.Unlock()
	stream.CancelWrite(g.down.base.Codes.Stream(moq.ErrCancelled))
	g.group.Close()
}
