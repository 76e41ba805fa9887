package transfork

import (
	"context"
	"errors"

	"github.com/moqrelay/moqrelay/relay/metrics"
)

// errDraining is why things end while the session is being drained.
var errDraining = errors.New("session is draining")

// MoqTransfork has no GOAWAY. The nearest to one is the end of the Announce
// streams: who ends the answering direction has nothing to offer any more, and
// who ends the asking direction takes nothing any more. moq-relay 0.6.8 does
// neither while its session lives, and bears both.

// A stage is one step of a session's end: what has to hear of it is called once,
// when it begins. Guarded by Session.mu.
type stage struct {
	begun bool
	hooks map[*func()]struct{}
}

// begin begins a stage, and reports whether that had not happened already.
func (s *Session) begin(st *stage) bool {
	s.mu.Lock()
	isFirst := !st.begun
	st.begun = true
	hooks := st.hooks
	st.hooks = nil
	s.mu.Unlock()
	for f := range hooks {
		(*f)()
	}
	return isFirst
}

// on has f called, once, when the stage begins, which may be at once. The
// function that it returns takes that back.
func (s *Session) on(st *stage, f func()) (remove func()) {
	s.mu.Lock()
	begun := st.begun
	if !begun {
		if st.hooks == nil {
			st.hooks = make(map[*func()]struct{})
		}
		st.hooks[&f] = struct{}{}
	}
	s.mu.Unlock()
	if begun {
		f()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(st.hooks, &f)
	}
}

func (s *Session) hasBegun(st *stage) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return st.begun
}

// GoAway ends the Announce streams that the peer has opened, and the asking
// direction of our own at a client: a publisher learns by it that it should
// announce elsewhere. What it has announced here stands until its session ends.
func (s *Session) GoAway() {
	if s.begin(&s.leaving) {
		s.config.Metrics.WentAway(metrics.Sent)
	}
}

// GoingAway is closed when the peer has ended an Announce stream.
func (s *Session) GoingAway() <-chan struct{} { return s.goingAway }

// peerLeaves notes that the peer has ended an Announce stream.
func (s *Session) peerLeaves() {
	s.goOnce.Do(func() {
		close(s.goingAway)
		if s.isClient || s.isPeer() { // a client only withdraws what it published
			s.config.Metrics.WentAway(metrics.Received)
		}
	})
}

// isEnding tells whether one of the two sides has said that it goes away, so
// that the end of the connection says nothing of what was published on it.
func (s *Session) isEnding() bool {
	select {
	case <-s.goingAway:
		return true
	default:
		return s.hasBegun(&s.leaving)
	}
}

// Drain tells the peer to go away, and gives each of its subscriptions the
// groups that are under way to their end and then a reset. It returns when that
// is done.
func (s *Session) Drain(ctx context.Context) {
	s.GoAway()
	s.begin(&s.draining)
	for len(s.servingNow()) > 0 {
		select {
		case <-s.fewer:
		case <-s.conn.Context().Done():
			return
		case <-ctx.Done():
			return
		}
	}
}
