package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/hang"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/karp"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/playout"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

const (
	// maxBuffered is how much a player holds back to put it in order, in bytes.
	maxBuffered = 64 << 20
	// catalogGrace is how long the catalog of another publisher may take to become
	// complete: they write one for every track that they add.
	catalogGrace = 500 * time.Millisecond
)

// player writes one broadcast after the other to one output.
type player struct {
	// Static after construction.
	from   origin.Source   // where tracks are to be had
	lost   <-chan struct{} // closed when there is nothing more to be had
	events *eventLog
	out    io.Writer
	wait   time.Duration // for what is missing
	limit  time.Duration // of the whole, from the first frame on; 0: none
	stats  *playStats

	// Owned by play.
	mp4       *fmp4.Writer
	headers   []fmp4.Track
	timelines []*karp.Timeline
	first     time.Time // when the first frame was written
	last      uint64    // the greatest timestamp written, in microseconds
	shift     uint64    // from the broadcast's timestamps to those written
	shifted   bool      // shift is that of this broadcast
}

// How a broadcast ended that was played without an error.
type outcome uint8

const (
	hasEnded outcome = iota // the publisher ended it, all has been written
	brokeOff                // it stopped
	replaced                // the publisher has begun another one
	limited                 // the time is over
)

// A source is a track to play.
type source struct {
	path     moq.Path
	priority moq.Priority
	unpack   func(frame []byte) ([]hang.Sample, error)
}

// loadCatalog reads a catalog, of whichever layout it is. One that may become
// more complete is waited for a moment longer.
func (p *player) loadCatalog(ctx context.Context, path moq.Path, timeout time.Duration) (hang.Catalog, error) {
	late := &moq.EndError{Reason: moq.Timeout, Detail: fmt.Sprintf("no catalog within %v", timeout)}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, late)
	defer cancel()
	sub, err := p.subscribe(source{path: path, priority: hang.CatalogPriority})
	if err != nil {
		return hang.Catalog{}, err
	}
	r := &catalogReader{sub: sub}
	defer r.close()
	c, err := r.next(ctx)
	if err != nil {
		return c, err
	}
	grace, cancel := context.WithTimeout(ctx, catalogGrace)
	defer cancel()
	for !c.Whole {
		more, err := r.next(grace)
		if err != nil {
			break // the grace is over, what there is counts
		}
		c = more
	}
	return p.complete(ctx, path.Parent(), c.Choice())
}

// complete adds to a catalog what is in keyframes alone.
func (p *player) complete(ctx context.Context, broadcast moq.Path, c hang.Catalog) (hang.Catalog, error) {
	for i, t := range c.Tracks {
		if !t.NeedsKeyframe() {
			continue
		}
		frame, err := p.firstFrame(ctx, source{path: broadcast.Append(t.Name), priority: t.Priority})
		if err == nil {
			c.Tracks[i], err = t.WithKeyframe(frame)
		}
		if err != nil {
			return c, fmt.Errorf("track %q: %w", t.Name, err)
		}
	}
	return c, nil
}

// firstFrame returns the first frame of a group.
func (p *player) firstFrame(ctx context.Context, s source) ([]byte, error) {
	sub, err := p.subscribe(s)
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	group, err := sub.Next(ctx)
	if err != nil {
		return nil, err
	}
	defer group.Close()
	return group.NextFrame(ctx)
}

// catalogReader reads one catalog after the other: each group begins with a whole
// one, and what follows there is how it changes.
type catalogReader struct {
	sub   *moq.Subscription
	group *moq.GroupReader // that is being read, nil between two
	raw   []byte           // nil before the first of the group
}

func (r *catalogReader) close() {
	if r.group != nil {
		r.group.Close()
	}
	r.sub.Close()
}

func (r *catalogReader) next(ctx context.Context) (hang.Catalog, error) {
	for {
		if r.group == nil {
			group, err := r.sub.Next(ctx)
			if err != nil {
				return hang.Catalog{}, err
			}
			r.group, r.raw = group, nil
		}
		frame, err := r.group.NextFrame(ctx)
		switch {
		case errors.Is(err, io.EOF) && r.raw != nil:
			r.group.Close()
			r.group = nil
			continue
		case err != nil:
			return hang.Catalog{}, err
		case r.raw == nil:
			r.raw = frame
		default:
			if r.raw, err = hang.Merge(r.raw, frame); err != nil {
				return hang.Catalog{}, err
			}
		}
		if hang.Describes(r.raw) {
			return hang.Decode(r.raw)
		}
		c, err := karp.DecodeCatalog(r.raw)
		return hang.FromKarp(c), err
	}
}

func (p *player) subscribe(s source) (*moq.Subscription, error) {
	// A track that ended for lack of subscribers just before is asked for again.
	for try := 0; ; try++ {
		track, err := p.from.Track(s.path)
		if err != nil {
			return nil, err
		}
		sub, err := track.Subscribe(moq.SubscribeOptions{Priority: s.priority, Order: moq.Ascending})
		if err == nil || try > 0 || !errors.Is(err, moq.ErrCancelled) {
			return sub, err
		}
	}
}

// errOtherMedia is the end of an output that cannot hold what comes next.
var errOtherMedia = errors.New("the publisher came back with other media")

// setUp writes the movie header, or checks that the one that was written holds
// for another broadcast as well.
func (p *player) setUp(c hang.Catalog) error {
	p.shifted = false
	var headers []fmp4.Track
	var timelines []*karp.Timeline
	for _, t := range c.Tracks {
		headers = append(headers, t.MP4)
		timelines = append(timelines, karp.NewTimeline(t.Track))
	}
	if p.headers != nil {
		same := slices.EqualFunc(p.headers, headers, func(a, b fmp4.Track) bool {
			return a.ID == b.ID && a.Kind == b.Kind && a.Timescale == b.Timescale && string(a.Entry) == string(b.Entry)
		})
		if !same {
			return errOtherMedia
		}
		return nil // decode times go on in the old timelines
	}
	p.mp4, p.headers, p.timelines = fmp4.NewWriter(p.out), headers, timelines
	return p.mp4.WriteHeader(headers)
}

// playMedia plays the tracks of a catalog as MP4.
func (p *player) playMedia(ctx context.Context, broadcast moq.Path, c hang.Catalog, newer <-chan struct{}) (outcome, error) {
	var sources []source
	for _, t := range c.Tracks {
		sources = append(sources, source{broadcast.Append(t.Name), t.Priority, t.Unpack})
	}
	return p.play(ctx, sources, newer, p.writeSample)
}

// playRaw plays the frames of one track as they are.
func (p *player) playRaw(ctx context.Context, track moq.Path, newer <-chan struct{}) (outcome, error) {
	asIs := func(frame []byte) ([]hang.Sample, error) { return []hang.Sample{{Data: frame}}, nil }
	write := func(f playout.Frame) error {
		_, err := p.out.Write(f.Data)
		return err
	}
	return p.play(ctx, []source{{track, moq.DefaultPriority, asIs}}, newer, write)
}

// writeSample writes a frame as a fragment of its own, so that it is out at once.
func (p *player) writeSample(f playout.Frame) error {
	if !p.shifted {
		p.shifted, p.shift = true, 0
		if p.last > 0 { // a further broadcast goes on where the last one stopped
			p.shift = p.last + uint64(frameTime/time.Microsecond) - f.Micros
		}
	}
	micros := f.Micros + p.shift
	if int64(micros) < 0 {
		micros = 0 // before the first frame of this broadcast, of the output as well
	}
	p.last = max(p.last, micros)
	decode, offset, duration := p.timelines[f.Track].Place(micros)
	return p.mp4.WriteSamples(fmp4.Sample{
		Track: p.headers[f.Track].ID, Time: decode, Offset: offset, Duration: duration,
		Sync: f.First, Data: f.Data,
	})
}

// frameTime is a guess at the time between the last frame of a broadcast and the
// first one of the next.
const frameTime = 33 * time.Millisecond

// play subscribes to the sources and writes their frames in order until they
// end. What is missing is waited for as long as p.wait says and then counted.
func (p *player) play(
	ctx context.Context, sources []source, newer <-chan struct{}, write func(playout.Frame) error,
) (outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	var receivers sync.WaitGroup
	defer receivers.Wait()
	defer cancel()
	arrivals := make(chan arrival)
	for i, s := range sources {
		sub, err := p.subscribe(s)
		if err != nil {
			return brokeOff, fmt.Errorf("subscribe %q: %w", s.path, err)
		}
		r := &receiver{sub: sub, track: i, arrivals: arrivals}
		receivers.Go(func() { r.run(ctx) })
	}
	groups := newGroupLog(p.events, sources)
	buffer := playout.New(len(sources), p.wait, maxBuffered)
	defer p.stats.finish(buffer)
	result := hasEnded
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	for {
		next, err := p.writeDue(buffer, write)
		if err != nil {
			return brokeOff, err
		}
		if buffer.Done() {
			return result, nil
		}
		wake.Reset(next)
		select {
		case a := <-arrivals:
			groups.note(a)
			if a.kind == trackEnded && !errors.Is(a.err, moq.ErrEnded) {
				result = brokeOff
				p.stats.brokeOff(a.err)
			}
			if err := a.put(buffer, sources[a.track].unpack); err != nil {
				return brokeOff, fmt.Errorf("track %q: %w", sources[a.track].path, err)
			}
		case <-wake.C:
		case <-newer:
			return replaced, nil
		case <-p.lost:
			return brokeOff, nil
		case <-ctx.Done():
			return brokeOff, context.Cause(ctx)
		}
		if p.limit > 0 && !p.first.IsZero() && time.Since(p.first) >= p.limit {
			return limited, nil
		}
	}
}

// writeDue writes the frames whose turn it is and returns how long there is
// nothing to do unless something comes.
func (p *player) writeDue(buffer *playout.Buffer, write func(playout.Frame) error) (time.Duration, error) {
	for {
		now := time.Now()
		f, ok, wake := buffer.Next(now)
		if !ok {
			idle := time.Hour
			if !wake.IsZero() {
				idle = max(0, wake.Sub(now))
			}
			if p.limit > 0 && !p.first.IsZero() {
				idle = min(idle, max(0, p.first.Add(p.limit).Sub(now)))
			}
			return idle, nil
		}
		if err := write(f); err != nil {
			return 0, fmt.Errorf("write: %w", err)
		}
		if p.first.IsZero() {
			p.first = now
			p.stats.joined(now)
		}
		p.stats.wrote(f, buffer)
		if p.limit > 0 && now.Sub(p.first) >= p.limit {
			return 0, nil
		}
	}
}
