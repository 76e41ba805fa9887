package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// trackPath is the track that is published.
var trackPath = []string{"bench", "load"}

// stampBytes is the size of the time at the start of every frame: nanoseconds
// since began, when the frame, or its last slice, was due.
const stampBytes = 8

// began is where the stamps count from.
var began = time.Now()

// publisher announces the track and writes frames to whoever has subscribed.
type publisher struct {
	client *client
	load   workload
	frames []byte // one frame behind its header

	sequence atomic.Uint64 // group that is being written
	failed   atomic.Uint64 // groups that were refused or reset
	missed   atomic.Uint64 // groups for which there was no credit

	wg          sync.WaitGroup
	mu          sync.Mutex
	subscribers []wire.SubscribeID
}

func newPublisher(c *client, load workload) *publisher {
	header := wire.FrameHeader{Size: uint64(load.frame)}.Append(nil)
	return &publisher{client: c, load: load, frames: append(header, make([]byte, load.frame)...)}
}

// run publishes until ctx is done.
func (p *publisher) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	p.wg.Go(func() { p.serve(ctx) })
	p.publish(ctx)
	cancel()
	p.client.close()
	p.wg.Wait()
}

// serve answers the relay's requests.
func (p *publisher) serve(ctx context.Context) {
	for {
		stream, err := p.client.conn.AcceptStream(ctx)
		if err != nil {
			return
		}
		p.wg.Go(func() {
			if err := p.answer(stream); err != nil {
				stream.CancelWrite(uint32(wire.CodeNotFound))
				stream.CancelRead(uint32(wire.CodeNotFound))
			}
		})
	}
}

func (p *publisher) answer(stream transport.Stream) error {
	m := &messages{stream: stream}
	typ, err := next(m, wire.ConsumeStreamType)
	if err != nil {
		return err
	}
	switch typ {
	case wire.StreamAnnounce:
		return p.announce(stream, m)
	case wire.StreamSubscribe:
		return p.subscribed(stream, m)
	default:
		return fmt.Errorf("stream of type %d", typ)
	}
}

func (p *publisher) announce(stream transport.Stream, m *messages) error {
	interest, err := next(m, wire.ConsumeAnnounceInterest)
	if err != nil {
		return err
	}
	n := len(interest.Prefix)
	if n <= len(trackPath) && slices.Equal(interest.Prefix, trackPath[:n]) {
		_, err = stream.Write(wire.Announce{Status: wire.Active, Suffix: trackPath[n:]}.Append(nil))
	}
	return err
}

func (p *publisher) subscribed(stream transport.Stream, m *messages) error {
	ask, err := next(m, wire.ConsumeSubscribe)
	if err != nil {
		return err
	}
	if !slices.Equal(ask.Path, trackPath) {
		return errors.New("no such track")
	}
	info := wire.Info{Priority: ask.Priority, Order: ask.Order, Expires: ask.Expires, Latest: p.sequence.Load()}
	if _, err := stream.Write(info.Append(nil)); err != nil {
		return err
	}
	p.mu.Lock()
	p.subscribers = append(p.subscribers, ask.ID)
	p.mu.Unlock()
	for { // until the relay leaves
		if _, err := next(m, wire.ConsumeSubscribeUpdate); err != nil {
			p.mu.Lock()
			p.subscribers = slices.DeleteFunc(p.subscribers, func(id wire.SubscribeID) bool { return id == ask.ID })
			p.mu.Unlock()
			return err
		}
	}
}

// publish writes every frame when it is due, to all subscriptions that were
// there when its group began.
func (p *publisher) publish(ctx context.Context) {
	start := time.Now()
	var streams []transport.SendStream
	for n := 0; ; n++ {
		due := start.Add(time.Duration(n) * p.load.interval)
		if !sleepUntil(ctx, due) {
			return
		}
		var header []byte
		if n%p.load.groupFrames == 0 {
			p.sequence.Store(uint64(n / p.load.groupFrames))
			streams = p.begin()
			header = wire.StreamGroup.Append(nil)
		}
		streams = p.writeFrame(ctx, streams, header, due)
		if (n+1)%p.load.groupFrames == 0 {
			for _, s := range streams {
				_ = s.Close() // a stream that is gone was counted
			}
		}
	}
}

func sleepUntil(ctx context.Context, t time.Time) bool {
	if wait := time.Until(t); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// begin opens a stream for the group at every subscription.
func (p *publisher) begin() []transport.SendStream {
	p.mu.Lock()
	ids := slices.Clone(p.subscribers)
	p.mu.Unlock()
	var streams []transport.SendStream
	for _, id := range ids {
		s, err := p.client.conn.OpenUniStream()
		if err != nil {
			p.missed.Add(1)
			continue
		}
		streams = append(streams, &groupStream{SendStream: s, id: id, sequence: p.sequence.Load()})
	}
	return streams
}

// groupStream is the stream of a group whose header goes with its first bytes.
type groupStream struct {
	transport.SendStream
	id       wire.SubscribeID
	sequence uint64
}

func (s *groupStream) start(typ, first []byte) error {
	b := wire.Group{ID: s.id, Sequence: s.sequence}.Append(typ)
	_, err := s.Write(append(b, first...))
	return err
}

// writeFrame writes a frame in slices and returns the streams that are left. The
// type goes in front of the first frame of a group.
func (p *publisher) writeFrame(ctx context.Context, streams []transport.SendStream, typ []byte, due time.Time) []transport.SendStream {
	at := len(p.frames) - p.load.frame
	binary.BigEndian.PutUint64(p.frames[at:], uint64(due.Add(p.load.spread()).Sub(began)))
	for i := range p.load.slices {
		if !sleepUntil(ctx, due.Add(time.Duration(i)*sliceGap)) {
			return streams
		}
		from, to := i*len(p.frames)/p.load.slices, (i+1)*len(p.frames)/p.load.slices
		streams = slices.DeleteFunc(streams, func(s transport.SendStream) bool {
			var err error
			if typ != nil && i == 0 {
				err = s.(*groupStream).start(slices.Clone(typ), p.frames[from:to])
			} else {
				_, err = s.Write(p.frames[from:to])
			}
			if err != nil {
				p.failed.Add(1)
				s.CancelWrite(uint32(wire.CodeCancel))
			}
			return err != nil
		})
	}
	return streams
}
