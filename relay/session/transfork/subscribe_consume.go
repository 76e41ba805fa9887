package transfork

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

const (
	// answerTimeout is how long a publisher may take to answer SUBSCRIBE.
	answerTimeout = 10 * time.Second
	// updateInterval is the least time between two SUBSCRIBE_UPDATE.
	updateInterval = 100 * time.Millisecond
)

// upstream is a subscription at the peer, shared by all who ask for the path.
type upstream struct {
	// Static after construction.
	session *Session
	track   *moq.Track
	moved   chan struct{} // holds 1: receiving or quietSince has changed
	gone    chan struct{} // closed when the peer has withdrawn the path
	leave   sync.Once     // closes gone

	// Owned by run; changed while session.mu is held.
	id wire.SubscribeID

	mu         sync.Mutex
	over       bool
	receiving  map[transport.ReceiveStream]struct{}
	quietSince time.Time // when receiving became empty
}

// Track subscribes at the peer, unless that is done already, and returns at once.
func (s *Session) Track(path moq.Path) (*moq.Track, error) {
	if !hasWireForm(path) {
		return nil, fmt.Errorf("subscribe %q: no path of MoqTransfork: %w", path, moq.ErrNotFound)
	}
	s.mu.Lock()
	if u, ok := s.upstreams[path]; ok {
		s.mu.Unlock()
		return u.track, nil
	}
	u := &upstream{
		session: s,
		track: moq.NewTrack(moq.TrackConfig{
			Path:      path,
			Info:      moq.Info{Priority: moq.DefaultPriority},
			Budget:    s.Config.Budget,
			Limits:    s.Config.TrackLimits,
			Retention: s.Config.Retention,
		}),
		id:        s.nextID,
		moved:     make(chan struct{}, 1),
		gone:      make(chan struct{}),
		receiving: make(map[transport.ReceiveStream]struct{}),
	}
	s.nextID++
	s.upstreams[path] = u
	s.receiving[u.id] = u // before the publisher learns of it: groups may come before INFO
	s.mu.Unlock()
	if !s.Spawn(u.run) {
		u.end(moq.ErrGoingAway)
	}
	return u.track, nil
}

// unannounced notes that the peer has withdrawn a path. Whoever asks for it from
// now on gets a new subscription.
func (s *Session) unannounced(path moq.Path) {
	s.mu.Lock()
	u, ok := s.upstreams[path]
	delete(s.upstreams, path)
	s.mu.Unlock()
	if ok {
		u.leave.Do(func() { close(u.gone) })
	}
}

// run keeps the subscription for as long as it is wanted and the peer serves it.
func (u *upstream) run() {
	err := moq.ErrInternal // what a panic leaves behind
	defer func() { u.end(err) }()
	if err = u.awaitDemand(); err == nil {
		u.session.Config.Metrics.Subscribed(metrics.Up, 1)
		defer u.session.Config.Metrics.Subscribed(metrics.Up, -1)
		err = u.subscribe(u.first())
		if errors.Is(err, errStartsLate) {
			u.renumber()
			err = u.subscribe(nil)
		}
	}
}

// errStartsLate is why a subscription is made again that names a first group
// which the publisher has not come near to: others who share it would wait long.
var errStartsLate = errors.New("the first group is yet to come")

// renumber takes another id for a further subscription.
func (u *upstream) renumber() {
	s := u.session
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.receiving, u.id)
	u.id = s.nextID
	s.nextID++
	s.receiving[u.id] = u
}

// end ends the track. Groups that come later are refused as unknown.
func (u *upstream) end(err error) {
	s := u.session
	s.mu.Lock()
	if s.upstreams[u.track.Path()] == u {
		delete(s.upstreams, u.track.Path())
	}
	delete(s.receiving, u.id)
	s.mu.Unlock()
	u.track.End(err)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	if errors.Is(err, moq.ErrEnded) {
		return // what has begun may still be finished
	}
	for stream := range u.receiving {
		stream.CancelRead(uint32(wire.CodeNotFound))
	}
}

// awaitDemand waits until the session is ready and somebody has subscribed.
func (u *upstream) awaitDemand() error {
	gone := u.session.Conn.Context()
	select {
	case <-u.session.Ready():
	case <-gone.Done():
		return u.session.endOfConn(context.Cause(gone))
	}
	idle := time.NewTimer(u.linger())
	defer idle.Stop()
	for {
		demand, changed := u.track.Demand()
		if demand.Subscribers > 0 {
			return nil
		}
		select {
		case <-changed:
		case <-idle.C:
			if u.track.EndIfIdle() {
				return moq.ErrCancelled
			}
			idle.Reset(u.linger())
		case <-gone.Done():
			return u.session.endOfConn(context.Cause(gone))
		}
	}
}

// linger is how long nobody needs to be subscribed before the subscription ends:
// not at all where the peer waits for it to end.
func (u *upstream) linger() time.Duration {
	if u.session.IsEnding() {
		return 0
	}
	return max(u.session.Config.Linger, 0)
}

// request is the subscription as the peer is asked for it.
func (u *upstream) request(d moq.Demand, first *uint64) wire.Subscribe {
	return wire.Subscribe{
		ID:       u.id,
		Path:     u.track.Path().Parts(),
		Priority: fromPriority(d.Priority),
		Order:    fromOrder(d.Order),
		Expires:  fromAge(d.MaxAge),
		Min:      first,
	}
}

// first is the first group that the peer is asked for, if all subscribers have
// named one: they had the track of another node before.
func (u *upstream) first() *uint64 {
	first, ok := u.track.FirstWanted()
	if !ok {
		return nil
	}
	return &first
}

// subscribe opens the Subscribe stream and attends to it until the subscription
// is over. It returns what the track ends with, or errStartsLate.
func (u *upstream) subscribe(first *uint64) error {
	s := u.session
	ctx, cancel := context.WithTimeoutCause(s.Conn.Context(), answerTimeout, errNoAnswer)
	defer cancel()
	stream, err := s.Conn.OpenStream(ctx)
	if err != nil {
		return u.failed(err)
	}
	stream.SetPriority(base.ControlUrgency, false)
	demand, _ := u.track.Demand()
	told := u.request(demand, first)
	sent := time.Now()
	if _, err := stream.Write(told.Append(wire.StreamSubscribe.Append(nil))); err != nil {
		return u.failed(err)
	}
	a := &attendance{upstream: u, stream: stream, first: first, told: told, sent: sent, answered: make(chan struct{}), ended: make(chan error, 1)}
	if !s.Spawn(func() { a.ended <- a.read(base.NewReader(stream)) }) {
		return moq.ErrGoingAway
	}
	return a.attend(ctx)
}

// errNoAnswer is why a subscription ends that the publisher did not answer.
var errNoAnswer error = &moq.EndError{Reason: moq.Timeout, Detail: "publisher did not answer SUBSCRIBE"}

// failed returns what the track ends with if its stream could not be used.
func (u *upstream) failed(err error) error {
	if errors.Is(err, errNoAnswer) {
		return errNoAnswer
	}
	return u.session.endOfStream(err)
}

// attendance is an upstream subscription whose SUBSCRIBE has been sent.
type attendance struct {
	*upstream
	stream   transport.Stream
	first    *uint64       // group that the peer was asked for
	sent     time.Time     // when SUBSCRIBE was
	answered chan struct{} // closed by read when INFO has come
	ended    chan error    // what read returned

	// Owned by attend.
	told      wire.Subscribe // parameters that the peer knows
	toldAt    time.Time
	idleSince time.Time // when the last subscriber left; zero while there are some
	closingAt time.Time // since when only groups under way are expected; zero before
	finished  bool      // the peer has sent its FIN
}

// read reads INFO and GROUP_DROP until the publisher ends the stream. A nil
// error is a FIN.
func (a *attendance) read(r *base.Reader) error {
	info, err := base.Next(r, wire.ConsumeInfo)
	if err != nil {
		return a.readError(err)
	}
	a.session.Config.Metrics.SubscribeAnswered(time.Since(a.sent))
	if a.first != nil && *a.first > info.Latest && *a.first-info.Latest > 1 {
		return errStartsLate
	}
	a.learn(info)
	close(a.answered)
	for {
		drop, err := base.Next(r, wire.ConsumeGroupDrop)
		if err != nil {
			return a.readError(err)
		}
		if !a.session.AdmitControl() {
			return moq.ErrGoingAway
		}
		last := drop.First + min(drop.Extra, math.MaxUint64-drop.First)
		a.track.Drop(drop.First, last, moq.UpstreamReset)
	}
}

func (a *attendance) readError(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	e, ok := errors.AsType[*transport.StreamError](err)
	if ok && e.Remote && e.Code == uint32(wire.CodeCancel) && a.session.endsSoon() {
		return a.session.endOfConn(context.Cause(a.session.Conn.Context()))
	}
	return a.session.endOfStream(err)
}

// learn takes what INFO says of the track. Its expiry is left out: from a relay
// it is what we have asked for ourselves. So is a newest group of 0, which also
// stands for none.
func (a *attendance) learn(info wire.Info) {
	if info.Latest > 0 {
		a.track.SetLargest(moq.Location{Group: info.Latest})
	}
	a.track.SetInfo(moq.Info{Priority: toPriority(info.Priority), Order: toOrder(info.Order)})
}

// attend waits for the end of the subscription: because the peer ends it, has
// withdrawn the path, or does not answer, or because nobody has subscribed for
// the linger. Meanwhile it tells the peer when the demand changes.
func (a *attendance) attend(ctx context.Context) error {
	gone := a.session.Conn.Context()
	answered, withdrawn, deadline := a.answered, a.gone, ctx.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		changed, wait, over := a.look(time.Now(), answered == nil)
		if over != nil {
			a.unsubscribe()
			return over
		}
		timer.Reset(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-a.moved:
		case <-answered:
			answered, deadline = nil, nil
		case <-withdrawn:
			withdrawn = nil
			a.close(time.Now())
		case err := <-a.ended:
			if err != nil {
				refuse(a.stream, wire.CodeCancel)
				return err
			}
			a.close(time.Now())
			a.finished, answered, deadline = true, nil, nil
		case <-gone.Done():
			return a.session.endOfConn(context.Cause(gone))
		case <-deadline:
			if gone.Err() != nil {
				return a.session.endOfConn(context.Cause(gone))
			}
			a.unsubscribe()
			return errNoAnswer
		}
	}
}

// look does what is due now. It returns a channel that tells of the next change
// of the demand, how long to wait at most, and what the track ends with if it is
// over.
func (a *attendance) look(now time.Time, isAnswered bool) (changed <-chan struct{}, wait time.Duration, over error) {
	demand, changed := a.track.Demand()
	wait = time.Hour
	if !a.closingAt.IsZero() {
		settled, ok := a.settled(now)
		if ok {
			return nil, 0, moq.ErrEnded
		}
		wait = min(wait, settled)
	}
	if demand.Subscribers > 0 {
		a.idleSince = time.Time{}
		if isAnswered && a.session.marked && a.closingAt.IsZero() {
			wait = min(wait, a.tell(demand, now))
		}
		return changed, wait, nil
	}
	if a.idleSince.IsZero() {
		a.idleSince = now
	}
	left := a.linger() - now.Sub(a.idleSince)
	if left <= 0 && a.track.EndIfIdle() {
		return nil, 0, moq.ErrCancelled
	}
	return changed, min(wait, max(left, time.Millisecond)), nil
}

// close notes that no further group is to be expected.
func (a *attendance) close(now time.Time) {
	if a.closingAt.IsZero() {
		a.closingAt = now
	}
}

// settled tells whether all groups are in that were sent before the end of the
// subscription, or when to look again.
func (a *attendance) settled(now time.Time) (time.Duration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.receiving) > 0 {
		return time.Hour, false
	}
	quiet := a.closingAt
	if a.quietSince.After(quiet) {
		quiet = a.quietSince
	}
	left := quiet.Add(a.session.SettleTime()).Sub(now)
	return max(left, time.Millisecond), left <= 0
}

// tell sends a SUBSCRIBE_UPDATE if the demand differs from what the peer knows,
// or returns when to.
func (a *attendance) tell(demand moq.Demand, now time.Time) time.Duration {
	wanted := a.request(demand, nil)
	if wanted.Priority == a.told.Priority && wanted.Order == a.told.Order && wanted.Expires == a.told.Expires {
		return time.Hour
	}
	if left := a.toldAt.Add(updateInterval).Sub(now); left > 0 {
		return left
	}
	a.told, a.toldAt = wanted, now
	update := wire.SubscribeUpdate{Priority: wanted.Priority, Order: wanted.Order, Expires: wanted.Expires}
	_, _ = a.stream.Write(update.Append(nil)) // if that fails, read hears of it
	return time.Hour
}

// unsubscribe ends the stream from our side. moq-relay 0.6.8 notices a FIN only
// when a later group is refused, a reset at once.
func (a *attendance) unsubscribe() {
	if a.finished {
		_ = a.stream.Close() // a FIN for a FIN
		return
	}
	refuse(a.stream, wire.CodeCancel)
}
