package base

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/transport"
	"github.com/moqrelay/moqrelay/relay/wire"
)

const (
	// AnswerTimeout is how long a publisher may take to answer a request.
	AnswerTimeout = 10 * time.Second
	// cutWait bounds AwaitCut.
	cutWait = 500 * time.Millisecond
	// takenBackWait is how long a peer may take to end a subscription whose path it
	// has withdrawn.
	takenBackWait = time.Second
	// newestAge is the age that a peer is asked to keep to by those who want the
	// newest group alone.
	newestAge = time.Second
	// UpdateInterval is the least time between two changes of a subscription at
	// the peer.
	UpdateInterval = 100 * time.Millisecond
)

// ErrNoAnswer is why something ends that the publisher did not answer.
var ErrNoAnswer error = &moq.EndError{Reason: moq.Timeout, Detail: "publisher did not answer"}

// Upstream is a subscription at the peer, shared by all who ask for the path.
type Upstream struct {
	// Static after construction.
	// TakenBack is what the track ends with if the peer withdraws its path and does
	// not end the subscription. Nil: that is a clean end.
	TakenBack error
	Track     *moq.Track
	Refusal   error // why groups are stopped that are on their way when it is over
	base      *Base
	moved     chan struct{} // holds 1: receiving, quietSince or held has changed
	gone      chan struct{} // closed when the peer has withdrawn the path
	withdraw  sync.Once     // closes gone
	left      chan struct{} // closed when the track is to come another way
	leave     sync.Once     // closes left
	held      atomic.Bool   // see Hold

	mu         sync.Mutex
	over       bool
	receiving  map[transport.ReceiveStream]struct{}
	quietSince time.Time // when receiving became empty
}

// NewUpstream returns a subscription of a path that nobody has asked the peer
// for yet.
func (b *Base) NewUpstream(path moq.Path, info moq.Info) *Upstream {
	return b.Adopt(moq.NewTrack(moq.TrackConfig{
		Path:      path,
		Info:      info,
		Budget:    b.Config.Budget,
		Limits:    b.Config.TrackLimits,
		Retention: b.Config.Retention,
	}))
}

// Adopt returns a subscription that goes on with a track which another session
// has begun.
func (b *Base) Adopt(track *moq.Track) *Upstream {
	return &Upstream{
		Track:     track,
		Refusal:   moq.ErrNotFound,
		base:      b,
		moved:     make(chan struct{}, 1),
		gone:      make(chan struct{}),
		left:      make(chan struct{}),
		receiving: make(map[transport.ReceiveStream]struct{}),
	}
}

// Withdrawn notes that the peer has withdrawn the path.
func (u *Upstream) Withdrawn() { u.withdraw.Do(func() { close(u.gone) }) }

// Leave ends the subscription with [moq.ErrGoingAway], for the track to come another
// way.
func (u *Upstream) Leave() { u.leave.Do(func() { close(u.left) }) }

// HasLeft tells whether Leave was called.
func (u *Upstream) HasLeft() bool {
	select {
	case <-u.left:
		return true
	default:
		return false
	}
}

// End ends the track. Groups that come later are refused.
func (u *Upstream) End(err error) {
	u.Track.End(err)
	u.Release(err)
}

// Release lets go of the track, which does not end with the subscription. Groups
// that come later are refused.
func (u *Upstream) Release(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	if errors.Is(err, moq.ErrEnded) {
		return // what has begun may still be finished
	}
	for stream := range u.receiving {
		stream.CancelRead(u.base.Codes.Stream(u.Refusal))
	}
}

// AwaitCut waits until no group is being received any more, after the subscription
// has ended with its peer: each is whole by then, or knows that it was cut off.
func (u *Upstream) AwaitCut() {
	timer := time.NewTimer(cutWait)
	defer timer.Stop()
	for {
		u.mu.Lock()
		n := len(u.receiving)
		u.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-u.moved:
		case <-timer.C:
			return
		}
	}
}

// Begin notes that a group is being received, unless the subscription is over.
// Who begins calls Done.
func (u *Upstream) Begin(stream transport.ReceiveStream) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return false
	}
	u.receiving[stream] = struct{}{}
	return true
}

// Done notes that a group is not received any more.
func (u *Upstream) Done(stream transport.ReceiveStream) {
	u.mu.Lock()
	delete(u.receiving, stream)
	u.quietSince = time.Now()
	u.mu.Unlock()
	notify(u.moved)
}

// Look has Attend look at the demand again, and at what Complete says.
func (u *Upstream) Look() { notify(u.moved) }

// Hold says whether the peer is being asked about the track, so that somebody may
// wait for that who has not subscribed.
func (u *Upstream) Hold(held bool) {
	u.held.Store(held)
	notify(u.moved)
}

// AwaitDemand waits until the session is ready and somebody has subscribed. If
// nobody has for the linger, and the track is not held, it ends. The linger is the
// whole one on a session that is ending as well: the peer has nothing to wait for.
func (u *Upstream) AwaitDemand() error {
	gone := u.base.Conn.Context()
	select {
	case <-u.base.ready:
	case <-gone.Done():
		return u.base.EndOfConn(context.Cause(gone))
	}
	linger := max(u.base.Config.Linger, 0)
	idle := time.NewTimer(linger)
	defer idle.Stop()
	expired := false // while the track was held
	for {
		demand, changed := u.Track.Demand()
		if demand.Subscribers > 0 {
			return nil
		}
		select {
		case <-changed:
		case <-u.Track.Ended():
			return u.Track.Err()
		case <-idle.C:
			if expired = u.held.Load(); expired {
				continue // to Hold: a timer would fire again and again if the linger is short
			}
			if u.Track.EndIfIdle() {
				return moq.ErrCancelled
			}
			idle.Reset(linger)
		case <-u.moved:
			if expired && !u.held.Load() {
				expired = false
				idle.Reset(linger)
			}
		case <-gone.Done():
			return u.base.EndOfConn(context.Cause(gone))
		}
	}
}

// linger is how long nobody needs to be subscribed before the subscription ends:
// not at all where the peer waits for it to end.
func (u *Upstream) linger() time.Duration {
	if u.base.IsEnding() {
		return 0
	}
	return max(u.base.Config.Linger, 0)
}

// First is the first group that the peer is to be asked for, if all subscribers
// have named one: they had the track of another node before.
func First(d moq.Demand) *uint64 {
	if !d.Named {
		return nil
	}
	return &d.First
}

// AskAge is the age that the peer is asked to keep to. Where only the newest group
// is wanted, which is also how a link begins, that is enforced here: the peer
// would cut what is only on its way.
func AskAge(d moq.Demand) time.Duration {
	if d.MaxAge == moq.Newest {
		return newestAge
	}
	return d.MaxAge
}

// Asked is a subscription as the peer was asked for it. Its methods are called
// by Attend alone.
type Asked interface {
	// Tell tells the peer of the demand if that has changed, and returns when to
	// call it again at the latest. With an error the subscription ends.
	Tell(d moq.Demand, now time.Time) (time.Duration, error)
	// Complete tells whether all groups are known to have come that the peer has
	// said it would send.
	Complete() bool
	// Unsubscribe ends the stream from our side. The peer may have done so from
	// its own.
	Unsubscribe(finished bool)
}

// attendance is an upstream subscription that the peer was asked for.
type attendance struct {
	*Upstream
	asked     Asked
	idleSince time.Time // when the last subscriber left; zero while there are some
	closingAt time.Time // since when only groups under way are expected; zero before
	finished  bool      // the peer has sent its FIN
}

// Attend waits for the end of the subscription: because the peer ends it, has
// withdrawn the path, or does not answer, or because nobody has subscribed for
// the linger. Meanwhile it tells the peer when the demand changes. answered is
// closed when the peer has answered, which ctx bounds; ended receives how it
// ended the stream, nil for a FIN.
func (u *Upstream) Attend(ctx context.Context, asked Asked, answered <-chan struct{}, ended <-chan error) error {
	a := &attendance{Upstream: u, asked: asked}
	gone := a.base.Conn.Context()
	withdrawn, deadline := a.gone, ctx.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		changed, wait, over := a.look(time.Now(), answered == nil)
		if over != nil {
			asked.Unsubscribe(a.finished)
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
		case <-a.left:
			asked.Unsubscribe(false)
			return moq.ErrGoingAway
		case err := <-ended:
			if err != nil {
				asked.Unsubscribe(false)
				return err
			}
			a.close(time.Now())
			a.finished, answered, deadline = true, nil, nil
		case <-gone.Done():
			return a.base.EndOfConn(context.Cause(gone))
		case <-deadline:
			if gone.Err() != nil {
				return a.base.EndOfConn(context.Cause(gone))
			}
			asked.Unsubscribe(false)
			return ErrNoAnswer
		}
	}
}

// look does what is due now. It returns a channel that tells of the next change
// of the demand, how long to wait at most, and what the track ends with if it is
// over.
func (a *attendance) look(now time.Time, isAnswered bool) (changed <-chan struct{}, wait time.Duration, over error) {
	demand, changed := a.Track.Demand()
	wait = time.Hour
	if !a.closingAt.IsZero() {
		settled, ok := a.settled(now)
		if ok {
			return nil, 0, a.ending()
		}
		wait = min(wait, settled)
	}
	if demand.Subscribers > 0 {
		a.idleSince = time.Time{}
		if isAnswered && a.closingAt.IsZero() {
			var again time.Duration
			again, over = a.asked.Tell(demand, now)
			wait = min(wait, again)
		}
		return changed, wait, over
	}
	if a.idleSince.IsZero() {
		a.idleSince = now
	}
	left := a.linger() - now.Sub(a.idleSince)
	if left <= 0 && a.Track.EndIfIdle() {
		return nil, 0, moq.ErrCancelled
	}
	return changed, min(wait, max(left, time.Millisecond)), nil
}

// ending is what the track ends with when no further group is to be expected.
func (a *attendance) ending() error {
	if a.isTakenBack() {
		return a.TakenBack
	}
	return moq.ErrEnded
}

// isTakenBack tells whether the peer has withdrawn the path, has not said in any
// other way that the track has ended, and would have.
func (a *attendance) isTakenBack() bool {
	return a.TakenBack != nil && !a.finished && !a.asked.Complete()
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
	if a.asked.Complete() {
		return 0, true
	}
	quiet := a.closingAt
	if a.quietSince.After(quiet) {
		quiet = a.quietSince
	}
	patience := a.base.SettleTime()
	if a.isTakenBack() {
		patience = takenBackWait
	}
	left := quiet.Add(patience).Sub(now)
	return max(left, time.Millisecond), left <= 0
}

// EndOfStream returns why something ended whose stream could not be read on.
func (b *Base) EndOfStream(err error) error {
	if e, ok := errors.AsType[*transport.StreamError](err); ok {
		if !e.Remote {
			return moq.ErrCancelled // by ourselves: the connection is well
		}
		return b.Codes.Reason(e.Code)
	}
	if errors.Is(err, wire.ErrMalformed) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &moq.EndError{Reason: moq.Malformed, Detail: err.Error()}
	}
	if errors.Is(err, ErrNoAnswer) || errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrNoAnswer
	}
	return b.EndOfConn(err)
}

// EndOfConn returns why what a peer published ended with its connection. A
// publisher that is done closes it with the code for that: that is a clean end,
// unless one side is going away. Of a relay, which others publish to, it says
// nothing.
func (b *Base) EndOfConn(err error) error {
	b.broken.Store(true)
	e, ok := errors.AsType[*transport.CloseError](err)
	isPublisher := !b.IsClient && !b.IsNode()
	if ok && isPublisher && e.Remote && e.Err == nil && b.Codes.SessionEnd(e.Code) && !b.IsEnding() {
		return moq.ErrEnded
	}
	return &moq.EndError{Reason: moq.GoingAway, Detail: err.Error()}
}

// IsBroken tells whether something has ended with the connection, which may say so
// itself a moment later.
func (b *Base) IsBroken() bool { return b.broken.Load() || b.Conn.Context().Err() != nil }

// IsNode tells whether the other end is a node of the cluster, once the
// handshake is done.
func (b *Base) IsNode() bool { return b.IsReady() && b.kind.Peer == metrics.Node }

// EndOfGroup returns what a group is aborted with whose stream ended with err
// before the group did.
func (b *Base) EndOfGroup(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return moq.ErrTruncated
	}
	if e, ok := errors.AsType[*transport.StreamError](err); ok && e.Remote {
		if reason := b.Codes.Reason(e.Code); reason.App > 0 {
			return reason
		}
		return moq.ErrTruncated
	}
	if e, ok := errors.AsType[*moq.EndError](err); ok {
		return e
	}
	return moq.ErrTruncated
}

// NoPath is the error of a path that a protocol has no form for.
func NoPath(path moq.Path, protocol string) error {
	return fmt.Errorf("subscribe %q: no path of %s: %w", path, protocol, moq.ErrNotFound)
}
