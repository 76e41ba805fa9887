package transfork

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

const (
	// answerWait is how long INFO waits for the publisher's word on the newest
	// group. moq-relay 0.6.8 does not wait and says 0.
	answerWait = time.Second
	// lastGroupsWait is how long groups that are whole may take to be sent after
	// their track has ended with an error.
	lastGroupsWait = time.Second
	// updateGap is the silence after which four fields are a whole
	// SUBSCRIBE_UPDATE, as some writers omit one.
	updateGap = 200 * time.Millisecond
)

// downstream is a subscription that the peer has here.
type downstream struct {
	// Static after admitSubscription and the lookup of the track.
	session *Session
	id      wire.SubscribeID
	stream  transport.Stream
	sub     *moq.Subscription
	began   time.Time // when SUBSCRIBE was read
	cached  bool      // a group was there at once

	joined     atomic.Bool  // a first frame has left
	youngUntil atomic.Int64 // UnixNano until which a group may be refused for being early

	mu       sync.Mutex
	priority moq.Priority
	order    moq.Order
	senders  []*sender // by sequence, the highest first
	drops    []wire.GroupDrop
	writing  bool          // somebody writes to stream
	finished time.Time     // when the last group was
	quieter  chan struct{} // holds 1: senders or writing has shrunk
}

// serveSubscribe serves one subscription of the peer.
func (s *Session) serveSubscribe(stream transport.Stream, r *reader) {
	began := time.Now()
	ask, ok := request(s, stream, r, wire.ConsumeSubscribe)
	if !ok || !s.admitRequest(stream) {
		return
	}
	defer s.doneRequest()
	d := &downstream{
		session: s, id: ask.ID, stream: stream, began: began,
		priority: toPriority(ask.Priority), order: toOrder(ask.Order), quieter: make(chan struct{}, 1), writing: true,
	}
	if err := d.subscribe(ask); err != nil {
		s.subscribeFailed(ask, err)
		refuse(stream, codeOf(err))
		return
	}
	defer d.sub.Close()
	if !s.add(d) {
		refuse(stream, wire.CodeDuplicate)
		return
	}
	defer s.remove(d)

	ctx, cancel := context.WithCancelCause(s.conn.Context())
	defer cancel(nil)
	if !s.spawn(func() { cancel(d.listen(r)) }) {
		return
	}
	defer s.on(&s.draining, func() { cancel(errDraining) })()
	err := d.answer(ctx, ask)
	if err != nil {
		d.leave(err)
	} else {
		err = d.feed(ctx)
		d.finish(err)
	}
	if !isLeave(err) && !errors.Is(err, moq.ErrEnded) && !errors.Is(err, errDraining) && s.conn.Context().Err() == nil {
		s.subscribeFailed(ask, err)
	}
}

// subscribeFailed notes a subscription that was refused or broke off.
func (s *Session) subscribeFailed(ask wire.Subscribe, err error) {
	s.log.Debug("subscription failed", "track", pathOf(ask.Path), "error", err)
	s.config.Metrics.SubscribeFailed(subscribeError(err))
}

func subscribeError(err error) metrics.SubscribeError {
	switch {
	case errors.Is(err, moq.ErrNotFound), errors.Is(err, moq.ErrUnauthorized):
		return metrics.SubscribeNotFound
	case errors.Is(err, moq.ErrTimeout):
		return metrics.SubscribeTimeout
	case errors.Is(err, moq.ErrOverloaded):
		return metrics.SubscribeLimit
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, moq.ErrMalformed):
		return metrics.SubscribeProtocol
	case errors.Is(err, moq.ErrInternal):
		return metrics.SubscribeInternal
	default:
		return metrics.SubscribeUpstream
	}
}

// subscribe takes hold of the track. A track that ended for lack of subscribers
// just before is looked up once more.
func (d *downstream) subscribe(ask wire.Subscribe) error {
	options := moq.SubscribeOptions{
		Priority: d.priority,
		Order:    toOrder(ask.Order),
		MaxAge:   toAge(ask.Expires),
		Start:    ask.Min,
		End:      ask.Max,
	}
	var err error
	for range 2 {
		var track *moq.Track
		if track, err = d.session.track(pathOf(ask.Path)); err != nil {
			return err
		}
		_, d.cached = track.Largest()
		if d.sub, err = track.Subscribe(options); err == nil {
			return nil
		}
	}
	return err
}

// add makes d one of the session's subscriptions, unless its id is taken.
func (s *Session) add(d *downstream) bool {
	s.mu.Lock()
	if _, ok := s.serving[d.id]; ok {
		s.mu.Unlock()
		return false
	}
	s.serving[d.id] = d
	reranked := s.ranks.add(d.priority, 1)
	s.startTickerLocked()
	s.mu.Unlock()

	s.config.Metrics.Subscribed(metrics.Down, 1)
	result := metrics.CacheMiss
	if d.cached {
		result = metrics.CacheHit
	}
	s.config.Metrics.CacheRequested(result)
	if reranked {
		s.prioritise()
	}
	s.log.Debug("subscribed", "track", d.sub.Track().Path(), "id", d.id)
	return true
}

// remove forgets a subscription that is over.
func (s *Session) remove(d *downstream) {
	s.mu.Lock()
	delete(s.serving, d.id)
	reranked := s.ranks.add(d.currentPriority(), -1)
	s.mu.Unlock()
	notify(s.fewer)
	s.config.Metrics.Subscribed(metrics.Down, -1)
	if reranked {
		s.prioritise()
	}
	s.log.Debug("unsubscribed", "track", d.sub.Track().Path(), "id", d.id)
}

func (s *Session) servingNow() []*downstream {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*downstream, 0, len(s.serving))
	for _, d := range s.serving {
		all = append(all, d)
	}
	return all
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// answer writes INFO: the asker's own parameters, and the newest group if that
// is known soon.
func (d *downstream) answer(ctx context.Context, ask wire.Subscribe) error {
	defer d.doneWriting()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	track := d.sub.Track()
	timer := time.NewTimer(answerWait)
	defer timer.Stop()
	select {
	case <-track.Ready():
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := track.Err(); err != nil && !errors.Is(err, moq.ErrEnded) {
		return err
	}
	newest, _ := track.Newest()
	info := wire.Info{Priority: ask.Priority, Order: ask.Order, Expires: ask.Expires, Latest: newest}
	if _, err := d.stream.Write(info.Append(nil)); err != nil {
		return err
	}
	d.startYouth()
	return nil
}

// listen reads what the subscriber sends after SUBSCRIBE, and returns how it
// left: with [io.EOF] for a FIN, which unsubscribes as well as a reset.
func (d *downstream) listen(r *reader) error {
	for {
		update, err := d.nextUpdate(r)
		if err != nil {
			d.stopSenders()
			return &leaveError{err}
		}
		if !d.session.admitControl() {
			return errClosed
		}
		d.update(update)
	}
}

// nextUpdate reads a SUBSCRIBE_UPDATE. Four fields are one if nothing follows.
func (d *downstream) nextUpdate(r *reader) (wire.SubscribeUpdate, error) {
	if len(r.buffered()) == 0 {
		if err := r.fill(); err != nil {
			return wire.SubscribeUpdate{}, err
		}
	}
	_ = d.stream.SetReadDeadline(time.Now().Add(updateGap)) // a stream that is gone fails below
	defer func() { _ = d.stream.SetReadDeadline(time.Time{}) }()
	update, err := next(r, wire.ConsumeSubscribeUpdate)
	if err == nil || errors.Is(err, wire.ErrMalformed) {
		return update, err
	}
	short, n, shortErr := wire.ConsumeShortSubscribeUpdate(r.buffered())
	if shortErr != nil || n < len(r.buffered()) {
		return update, err
	}
	r.off += n
	return short, nil
}

// update changes the subscription as the subscriber asks.
func (d *downstream) update(u wire.SubscribeUpdate) {
	d.sub.Update(moq.SubscribeOptions{
		Priority: toPriority(u.Priority),
		Order:    toOrder(u.Order),
		MaxAge:   toAge(u.Expires),
		Start:    u.Min,
		End:      u.Max,
	})
	s := d.session
	s.mu.Lock()
	d.mu.Lock()
	before := d.priority
	d.priority, d.order = toPriority(u.Priority), toOrder(u.Order)
	now := d.priority
	d.mu.Unlock()
	if s.serving[d.id] == d { // not while it is being removed
		s.ranks.add(before, -1)
		s.ranks.add(now, 1)
	}
	s.mu.Unlock()
	s.prioritise()
}

func (d *downstream) currentPriority() moq.Priority {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.priority
}

// feed sends every group that the subscription yields, each on a stream and by
// a goroutine of its own, until it is over.
func (d *downstream) feed(ctx context.Context) error {
	for {
		group, err := d.sub.Next(ctx)
		d.tellDrops()
		if err != nil {
			return err
		}
		d.stopDropped()
		if err := d.launch(ctx, group); err != nil {
			return err
		}
	}
}

// finish ends the Subscribe stream. After a clean end of the track the FIN waits
// until the last groups have had the time to arrive: on it the subscriber
// forgets the subscription.
func (d *downstream) finish(err error) {
	if isLeave(err) {
		d.leave(err)
		return
	}
	clean := errors.Is(err, moq.ErrEnded)
	d.awaitSenders(err)
	d.tellDrops()
	if !d.awaitWriter() || !clean {
		refuse(d.stream, codeOfFinish(err))
		return
	}
	d.awaitArrival()
	_ = d.stream.Close() // a subscriber that has gone meanwhile does not mind
	d.stream.CancelRead(uint32(wire.CodeCancel))
}

// codeOfFinish is the code of a subscription that did not end cleanly.
func codeOfFinish(err error) wire.Code {
	if errors.Is(err, errDraining) {
		return wire.CodeCancel
	}
	return codeOf(err)
}

// leaveError says that the subscriber ended the subscription, and how.
type leaveError struct{ err error }

func (e *leaveError) Error() string { return "unsubscribed: " + e.err.Error() }
func (e *leaveError) Unwrap() error { return e.err }

func isLeave(err error) bool {
	_, ok := errors.AsType[*leaveError](err)
	return ok
}

// leave ends the subscription at once, because the subscriber has left or never
// got an answer: a FIN for a FIN, a reset for all else. What was being sent is
// reset.
func (d *downstream) leave(err error) {
	d.sub.Close()
	d.stopSenders()
	d.awaitSenders(err)
	_, left := errors.AsType[*leaveError](err)
	switch {
	case left && d.awaitWriter() && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		_ = d.stream.Close() // nobody is left to mind
	case left && !errors.Is(err, wire.ErrMalformed):
		refuse(d.stream, wire.CodeCancel)
	default:
		refuse(d.stream, codeOfFinish(err))
	}
}

// awaitSenders waits until no group is being sent any more. After an error
// those that are whole have only so long.
func (d *downstream) awaitSenders(err error) {
	var limit <-chan time.Time
	if !errors.Is(err, moq.ErrEnded) && !errors.Is(err, errDraining) {
		timer := time.NewTimer(lastGroupsWait)
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
			d.stopSenders()
		}
	}
}

// awaitWriter waits until nobody writes to the stream and takes that over. It
// reports whether it could: a subscriber may not read what it is told.
func (d *downstream) awaitWriter() bool {
	timer := time.NewTimer(lastGroupsWait)
	defer timer.Stop()
	for {
		d.mu.Lock()
		writing := d.writing
		d.writing = true
		d.mu.Unlock()
		if !writing {
			return true
		}
		select {
		case <-d.quieter:
		case <-timer.C:
			return false
		case <-d.session.conn.Context().Done():
			return false
		}
	}
}

// awaitArrival waits until what was sent last has probably arrived.
func (d *downstream) awaitArrival() {
	d.mu.Lock()
	last := d.finished
	d.mu.Unlock()
	timer := time.NewTimer(time.Until(last.Add(d.session.settleTime())))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.stream.Stopped():
	case <-d.session.conn.Context().Done():
	}
}
