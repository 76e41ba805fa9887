package main

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/transport"
)

// trackPath is the track that is published.
var trackPath = []string{"bench", "load"}

// stampBytes is the size of the time at the start of every frame: nanoseconds
// since began, when the frame, or its last slice, was due.
const stampBytes = 8

// codeRefused resets streams; what it says nobody asks.
const codeRefused = 1

// began is where the stamps count from.
var began = time.Now()

// publisher announces the track and writes frames to whoever has subscribed.
type publisher struct {
	client  *client
	load    workload
	payload []byte // of every frame

	sequence atomic.Uint64 // group that is being written
	failed   atomic.Uint64 // groups that were refused or reset
	missed   atomic.Uint64 // groups for which there was no credit

	wg          sync.WaitGroup
	mu          sync.Mutex
	subscribers []uint64 // their ids
}

func newPublisher(c *client, load workload) *publisher {
	return &publisher{client: c, load: load, payload: make([]byte, load.frame)}
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
			if err := p.client.speak.answer(p, stream); err != nil {
				stream.CancelWrite(codeRefused)
				stream.CancelRead(codeRefused)
			}
		})
	}
}

// subscribed has the groups that begin from now on go to a subscription, which is
// accepted with the group that has begun last, until it changes no more: the relay
// leaves.
func (p *publisher) subscribed(id uint64, accept func(latest uint64) error, change func() error) error {
	p.mu.Lock()
	err := accept(p.sequence.Load())
	if err == nil {
		p.subscribers = append(p.subscribers, id)
	}
	p.mu.Unlock()
	for err == nil {
		err = change()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subscribers = slices.DeleteFunc(p.subscribers, func(other uint64) bool { return other == id })
	return err
}

// publish writes every frame when it is due, to all subscriptions that were
// there when its group began.
func (p *publisher) publish(ctx context.Context) {
	start := time.Now()
	var streams []*groupStream
	for n := 0; ; n++ {
		due := start.Add(time.Duration(n) * p.load.interval)
		if !sleepUntil(ctx, due) {
			return
		}
		since := p.load.interval
		if n%p.load.groupFrames == 0 {
			streams = p.begin(uint64(n / p.load.groupFrames))
			since = due.Sub(start)
		}
		streams = p.writeFrame(ctx, streams, since, due)
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

// groupStream is the stream of a group, and the header that goes with its first
// bytes.
type groupStream struct {
	transport.SendStream
	header []byte // nil once it is written
}

// begin opens a stream for the group at every subscription.
func (p *publisher) begin(sequence uint64) []*groupStream {
	p.mu.Lock()
	p.sequence.Store(sequence)
	ids := slices.Clone(p.subscribers)
	p.mu.Unlock()
	var streams []*groupStream
	for _, id := range ids {
		s, err := p.client.conn.OpenUniStream()
		if err != nil {
			p.missed.Add(1)
			continue
		}
		streams = append(streams, &groupStream{s, p.client.speak.appendGroup(nil, id, sequence)})
	}
	return streams
}

// write writes a part of the group.
func (s *groupStream) write(b []byte) error {
	_, err := s.Write(append(s.header, b...))
	s.header = nil
	return err
}

// writeFrame writes a frame in slices and returns the streams that are left. The
// frame is so long after the one before it in its group, or after the first of all.
func (p *publisher) writeFrame(ctx context.Context, streams []*groupStream, since time.Duration, due time.Time) []*groupStream {
	binary.BigEndian.PutUint64(p.payload, uint64(due.Add(p.load.spread()).Sub(began)))
	b := p.client.speak.appendFrame(nil, frame{p.load.frame, since.Microseconds()})
	b = append(b, p.payload...)
	for i := range p.load.slices {
		if !sleepUntil(ctx, due.Add(time.Duration(i)*sliceGap)) {
			return streams
		}
		from, to := i*len(b)/p.load.slices, (i+1)*len(b)/p.load.slices
		streams = slices.DeleteFunc(streams, func(s *groupStream) bool {
			err := s.write(b[from:to])
			if err != nil {
				p.failed.Add(1)
				s.CancelWrite(codeRefused)
			}
			return err != nil
		})
	}
	return streams
}
