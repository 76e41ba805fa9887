package transfork

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// upstream is a subscription at the peer, shared by all who ask for the path.
type upstream struct {
	*base.Upstream
	session *Session

	// Owned by run; changed while session.mu is held.
	id wire.SubscribeID
}

// Track subscribes at the peer, unless that is done already, and returns at once.
func (s *Session) Track(path moq.Path) (*moq.Track, error) {
	if !hasWireForm(path) {
		return nil, base.NoPath(path, "MoqTransfork")
	}
	s.mu.Lock()
	if u, ok := s.upstreams[path]; ok {
		s.mu.Unlock()
		return u.Track, nil
	}
	u := &upstream{
		Upstream: s.NewUpstream(path, moq.Info{Priority: moq.DefaultPriority}),
		session:  s,
		id:       s.nextID,
	}
	s.nextID++
	s.upstreams[path] = u
	s.receiving[u.id] = u // before the publisher learns of it: groups may come before INFO
	s.mu.Unlock()
	if !s.Spawn(u.run) {
		u.end(moq.ErrGoingAway) // somebody else may have got it
		return nil, moq.ErrGoingAway
	}
	return u.Track, nil
}

// Live returns the tracks that are subscribed at the peer or about to be.
func (s *Session) Live() []*moq.Track {
	s.mu.Lock()
	defer s.mu.Unlock()
	tracks := make([]*moq.Track, 0, len(s.upstreams))
	for _, u := range s.upstreams {
		tracks = append(tracks, u.Track)
	}
	return tracks
}

var _ origin.Lister = (*Session)(nil)

// unannounced notes that the peer has withdrawn a path. Whoever asks for it from
// now on gets a new subscription.
func (s *Session) unannounced(path moq.Path) {
	s.mu.Lock()
	u, ok := s.upstreams[path]
	delete(s.upstreams, path)
	s.mu.Unlock()
	if ok {
		u.Withdrawn()
	}
}

// run keeps the subscription for as long as it is wanted and the peer serves it.
func (u *upstream) run() {
	err := moq.ErrInternal // what a panic leaves behind
	defer func() { u.end(err) }()
	if err = u.AwaitDemand(); err == nil {
		u.session.Config.Metrics.Subscribed(metrics.Up, 1)
		defer u.session.Config.Metrics.Subscribed(metrics.Up, -1)
		demand, _ := u.Track.Demand()
		err = u.subscribe(base.First(demand))
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
	if s.upstreams[u.Track.Path()] == u {
		delete(s.upstreams, u.Track.Path())
	}
	delete(s.receiving, u.id)
	s.mu.Unlock()
	u.End(err)
}

// request is the subscription as the peer is asked for it.
func (u *upstream) request(d moq.Demand, first *uint64) wire.Subscribe {
	return wire.Subscribe{
		ID:       u.id,
		Path:     u.Track.Path().Parts(),
		Priority: fromPriority(d.Priority),
		Order:    fromOrder(d.Order),
		Expires:  fromAge(base.AskAge(d)),
		Min:      first,
	}
}

// subscribe opens the Subscribe stream and attends to it until the subscription
// is over. It returns what the track ends with, or errStartsLate.
func (u *upstream) subscribe(first *uint64) error {
	s := u.session
	ctx, cancel := context.WithTimeoutCause(s.Conn.Context(), base.AnswerTimeout, base.ErrNoAnswer)
	defer cancel()
	stream, err := s.Conn.OpenStream(ctx)
	if err != nil {
		return s.EndOfStream(err)
	}
	stream.SetPriority(base.ControlUrgency, false)
	demand, _ := u.Track.Demand()
	told := u.request(demand, first)
	sent := time.Now()
	if _, err := stream.Write(told.Append(wire.StreamSubscribe.Append(nil))); err != nil {
		return s.EndOfStream(err)
	}
	a := &attendance{upstream: u, stream: stream, first: first, told: told, sent: sent, answered: make(chan struct{}), ended: make(chan error, 1)}
	if !s.Spawn(func() { a.ended <- a.read(base.NewReader(stream)) }) {
		return moq.ErrGoingAway
	}
	return u.Attend(ctx, a, a.answered, a.ended)
}

// attendance is an upstream subscription whose SUBSCRIBE has been sent.
type attendance struct {
	*upstream
	stream   transport.Stream
	first    *uint64       // group that the peer was asked for
	sent     time.Time     // when SUBSCRIBE was
	answered chan struct{} // closed by read when INFO has come
	ended    chan error    // what read returned

	// Owned by Attend.
	told   wire.Subscribe // parameters that the peer knows
	toldAt time.Time
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
		a.Track.Drop(drop.First, last, moq.UpstreamReset)
	}
}

func (a *attendance) readError(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	e, ok := errors.AsType[*transport.StreamError](err)
	if ok && e.Remote && e.Code == uint32(wire.CodeCancel) && a.session.endsSoon() {
		return a.session.EndOfConn(context.Cause(a.session.Conn.Context()))
	}
	return a.session.EndOfStream(err)
}

// learn takes what INFO says of the track. Its expiry is left out: from a relay
// it is what we have asked for ourselves. So is a newest group of 0, which also
// stands for none.
func (a *attendance) learn(info wire.Info) {
	if info.Latest > 0 {
		a.Track.SetLargest(moq.Location{Group: info.Latest})
	}
	a.Track.SetInfo(moq.Info{Priority: toPriority(info.Priority), Order: toOrder(info.Order)})
}

// Tell sends a SUBSCRIBE_UPDATE if the demand differs from what the peer knows.
func (a *attendance) Tell(demand moq.Demand, now time.Time) (time.Duration, error) {
	wanted := a.request(demand, nil)
	if !a.session.marked || wanted.Priority == a.told.Priority && wanted.Order == a.told.Order && wanted.Expires == a.told.Expires {
		return time.Hour, nil
	}
	if left := a.toldAt.Add(base.UpdateInterval).Sub(now); left > 0 {
		return left, nil
	}
	a.told, a.toldAt = wanted, now
	update := wire.SubscribeUpdate{Priority: wanted.Priority, Order: wanted.Order, Expires: wanted.Expires}
	_, _ = a.stream.Write(update.Append(nil)) // if that fails, read hears of it
	return time.Hour, nil
}

// Complete does not know: nothing says which group is the last.
func (a *attendance) Complete() bool { return false }

// Unsubscribe ends the stream from our side. moq-relay 0.6.8 notices a FIN only
// when a later group is refused, a reset at once.
func (a *attendance) Unsubscribe(finished bool) {
	if finished {
		_ = a.stream.Close() // a FIN for a FIN
		return
	}
	refuse(a.stream, wire.CodeCancel)
}
