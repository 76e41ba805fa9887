package base

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/qlog"
	"github.com/moqrelay/moqrelay/relay/transport"
	"github.com/moqrelay/moqrelay/relay/wire"
)

// LastGroupsWait is how long groups that are whole may take to be sent after
// their track has ended with an error.
const LastGroupsWait = time.Second

// Subscriber is how a subscription of the peer looks on the wire.
type Subscriber interface {
	// AppendHeader adds what the stream of a group begins with.
	AppendHeader(b []byte, sequence uint64) []byte
	// Bytes are those of a chunk as they go on the stream.
	Bytes(chunk moq.Chunk) []byte
	// AppendStart adds a message that says which group is the first one to come,
	// and AppendEnd one that says that none from end on will; nothing if there is
	// no such message.
	AppendStart(b []byte, sequence uint64) []byte
	AppendEnd(b []byte, end uint64) []byte
	// AppendDrop adds a message that says which groups, both ends included, do
	// not come; nothing if there is none.
	AppendDrop(b []byte, first, last uint64, code uint32) []byte
	// TooEarly tells whether a group that was stopped with a code should be sent
	// again, as the peer may not know the subscription yet. It is asked only
	// while the subscription is young; see [Delivery.StartYouth].
	TooEarly(code uint32, newest bool) bool
}

// Delivery is a subscription that the peer has here. Its methods are for the
// goroutine that serves the subscription, except where they say so.
type Delivery struct {
	// Static after Subscribe.
	base   *Base
	id     uint64
	stream transport.Stream
	wire   Subscriber
	sub    *moq.Subscription
	began  time.Time // when it was asked for
	cached bool      // a group was there at once

	joined     atomic.Bool                  // a first frame has left
	youngUntil atomic.Int64                 // UnixNano until which a group may be refused for being early
	last       atomic.Pointer[moq.Location] // see Cut

	mu       sync.Mutex
	priority moq.Priority
	order    moq.Order
	senders  []*sender // by sequence, the highest first
	lowest   *uint64   // of the groups that were handed out
	started  bool      // it was told which is the first
	notes    []byte    // messages that wait to be written, in front of drops
	drops    []drop
	writing  bool          // somebody writes to stream
	finished time.Time     // when the last group was
	quieter  chan struct{} // holds 1: senders or writing has shrunk
}

// NewDelivery returns the delivery of a subscription that was asked for on a
// stream under an id. The caller writes to the stream until it calls DoneWriting.
func (b *Base) NewDelivery(id uint64, stream transport.Stream, w Subscriber) *Delivery {
	return &Delivery{base: b, id: id, stream: stream, wire: w, began: time.Now(), quieter: make(chan struct{}, 1), writing: true}
}

// Subscribe takes hold of the track that lookup returns. One that ended for lack
// of subscribers just before is looked up once more.
func (d *Delivery) Subscribe(lookup func() (*moq.Track, error), o moq.SubscribeOptions) error {
	d.priority, d.order = o.Priority, o.Order
	var err error
	for range 2 {
		var track *moq.Track
		if track, err = lookup(); err != nil {
			return err
		}
		_, d.cached = track.Largest()
		if d.sub, err = track.Subscribe(o); err == nil {
			return nil
		}
	}
	return err
}

// Track returns the track that is subscribed.
func (d *Delivery) Track() *moq.Track { return d.sub.Track() }

// Began returns when the subscription was asked for.
func (d *Delivery) Began() time.Time { return d.began }

// Failed notes a subscription that was refused or broke off.
func (b *Base) Failed(track moq.Path, err error) {
	b.Log.Debug("subscription failed", "track", track, "error", err)
	b.Config.Metrics.SubscribeFailed(subscribeError(err))
}

func subscribeError(err error) metrics.SubscribeError {
	switch {
	case errors.Is(err, moq.ErrNotFound), errors.Is(err, moq.ErrUnauthorized):
		return metrics.SubscribeNotFound
	case errors.Is(err, moq.ErrTimeout):
		return metrics.SubscribeTimeout
	case errors.Is(err, moq.ErrOverloaded), errors.Is(err, moq.ErrTooLarge):
		return metrics.SubscribeLimit
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, moq.ErrMalformed):
		return metrics.SubscribeProtocol
	case errors.Is(err, moq.ErrInternal):
		return metrics.SubscribeInternal
	default:
		return metrics.SubscribeUpstream
	}
}

// Add makes d one of the session's subscriptions, unless its id is taken.
func (b *Base) Add(d *Delivery) bool {
	b.mu.Lock()
	if _, ok := b.serving[d.id]; ok {
		b.mu.Unlock()
		return false
	}
	b.serving[d.id] = d
	reranked := b.ranks.add(d.priority, 1)
	b.startTickerLocked()
	b.mu.Unlock()

	b.Config.Metrics.Subscribed(metrics.Down, 1)
	result := metrics.CacheMiss
	if d.cached {
		result = metrics.CacheHit
	}
	b.Config.Metrics.CacheRequested(result)
	if reranked {
		b.prioritise()
	}
	b.Log.Debug("subscribed", "track", d.sub.Track().Path(), "id", d.id)
	b.Conn.Qlog().Record(qlog.Subscribed{ID: d.id, Track: d.sub.Track().Path().String()})
	return true
}

// Remove forgets a subscription that is over.
func (b *Base) Remove(d *Delivery) {
	d.sub.Close()
	b.mu.Lock()
	delete(b.serving, d.id)
	reranked := b.ranks.add(d.currentPriority(), -1)
	b.mu.Unlock()
	notify(b.fewer)
	b.Config.Metrics.Subscribed(metrics.Down, -1)
	if reranked {
		b.prioritise()
	}
	b.Log.Debug("unsubscribed", "track", d.sub.Track().Path(), "id", d.id)
	b.Conn.Qlog().Record(qlog.Unsubscribed{ID: d.id, Track: d.sub.Track().Path().String()})
}

func (b *Base) servingNow() []*Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*Delivery, 0, len(b.serving))
	for _, d := range b.serving {
		all = append(all, d)
	}
	return all
}

// Update changes the subscription as the subscriber asks. It is for any
// goroutine.
func (d *Delivery) Update(o moq.SubscribeOptions) {
	d.sub.Update(o)
	b := d.base
	b.mu.Lock()
	d.mu.Lock()
	before, order := d.priority, d.order
	d.priority, d.order = o.Priority, o.Order
	d.mu.Unlock()
	reranked := false
	if b.serving[d.id] == d && o.Priority != before { // not while it is being removed
		left, joined := b.ranks.add(before, -1), b.ranks.add(o.Priority, 1)
		reranked = left || joined
	}
	b.mu.Unlock()
	switch {
	case reranked:
		b.prioritise()
	case o.Priority != before || o.Order != order:
		d.prioritise()
	}
}

func (d *Delivery) currentPriority() moq.Priority {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.priority
}

// Feed sends every group that the subscription yields, each on a stream and by
// a goroutine of its own, until it is over. The error is [moq.ErrEnded] after
// the last group of the range or of the track.
func (d *Delivery) Feed(ctx context.Context) error {
	for {
		group, err := d.sub.Next(ctx)
		d.tellDrops()
		if err != nil {
			return err
		}
		d.cameFirst(group.Sequence())
		d.noteStart()
		d.stopDropped()
		if err := d.launch(ctx, group); err != nil {
			return err
		}
	}
}

// cameFirst notes that a group was handed out.
func (d *Delivery) cameFirst(sequence uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lowest == nil || sequence < *d.lowest {
		d.lowest = &sequence
	}
}

// noteStart tells which group is the first one to come, as soon as that is known:
// not the one that is sent first, if older ones go behind it.
func (d *Delivery) noteStart() {
	d.mu.Lock()
	lowest, started := d.lowest, d.started
	d.mu.Unlock()
	if lowest == nil || started {
		return
	}
	first := *lowest
	if waiting, ok := d.sub.First(); ok {
		first = min(first, waiting)
	}
	if d.sub.Awaits(first) {
		return
	}
	d.mu.Lock()
	if !d.started {
		d.started = true
		d.notes = d.wire.AppendStart(d.notes, min(first, *d.lowest))
	}
	d.mu.Unlock()
	d.writeDrops()
}

// Cut has no frame sent of a group behind the one at last; nil has all of every
// group sent. It is for any goroutine, and does not bring back what was left out.
func (d *Delivery) Cut(last *moq.Location) { d.last.Store(last) }

// Finish ends the stream after Feed has ended with err. After a clean end of the
// track the FIN waits until the last groups have had the time to arrive: on it
// the subscriber forgets the subscription.
func (d *Delivery) Finish(err error) {
	if isLeave(err) {
		d.Leave(err)
		return
	}
	clean := errors.Is(err, moq.ErrEnded)
	if clean {
		d.note(func(b []byte) []byte { return d.wire.AppendEnd(b, d.end()) })
	}
	d.awaitSenders(err)
	d.tellDrops()
	if !d.AwaitWriter() || !clean {
		d.base.Refuse(d.stream, err)
		return
	}
	d.awaitArrival()
	_ = d.stream.Close() // a subscriber that has gone meanwhile does not mind
	d.stream.CancelRead(d.base.Codes.Stream(moq.ErrCancelled))
}

// end is the first group that will not come of a track that has ended.
func (d *Delivery) end() uint64 {
	newest, known := d.sub.Track().Newest()
	if !known {
		return 0
	}
	return newest + 1
}

// LeaveError says that the subscriber ended the subscription, and how: with
// [io.EOF] for a FIN.
type LeaveError struct{ Err error }

// Error says how.
func (e *LeaveError) Error() string { return "unsubscribed: " + e.Err.Error() }

// Unwrap returns Err.
func (e *LeaveError) Unwrap() error { return e.Err }

func isLeave(err error) bool {
	_, ok := errors.AsType[*LeaveError](err)
	return ok
}

// IsOrdinary tells whether a subscription may well end with err.
func (b *Base) IsOrdinary(err error) bool {
	return isLeave(err) || errors.Is(err, moq.ErrEnded) || errors.Is(err, ErrDraining) || b.Conn.Context().Err() != nil
}

// Leave ends the subscription at once, because the subscriber has left or never
// got an answer: a FIN for a FIN, a reset for all else. What was being sent is
// reset.
func (d *Delivery) Leave(err error) {
	d.sub.Close()
	d.StopSenders()
	d.awaitSenders(err)
	left := isLeave(err)
	switch {
	case left && d.AwaitWriter() && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		_ = d.stream.Close() // nobody is left to mind
	case left && !errors.Is(err, wire.ErrMalformed):
		d.base.Refuse(d.stream, moq.ErrCancelled)
	default:
		d.base.Refuse(d.stream, err)
	}
}

// awaitSenders waits until no group is being sent any more. After an error
// those that are whole have only so long.
func (d *Delivery) awaitSenders(err error) {
	var limit <-chan time.Time
	if !errors.Is(err, moq.ErrEnded) && !errors.Is(err, ErrDraining) {
		timer := time.NewTimer(LastGroupsWait)
		defer timer.Stop()
		limit = timer.C
	}
	for {
		d.mu.Lock()
		n := len(d.senders)
		d.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-d.quieter:
		case <-limit:
			limit = nil
			d.StopSenders()
		}
	}
}

// awaitArrival waits until what was sent last has probably arrived.
func (d *Delivery) awaitArrival() {
	d.mu.Lock()
	last := d.finished
	d.mu.Unlock()
	timer := time.NewTimer(time.Until(last.Add(d.base.SettleTime())))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.stream.Stopped():
	case <-d.base.Conn.Context().Done():
	}
}

// Close ends a subscription that was not added.
func (d *Delivery) Close() { d.sub.Close() }
