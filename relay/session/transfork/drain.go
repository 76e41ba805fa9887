package transfork

import (
	"context"
	"errors"
)

// errDraining is why things end while the session is being drained.
var errDraining = errors.New("session is draining")

// Drain is the nearest that MoqTransfork has to a GOAWAY: the peer is told that
// nothing is announced here any more, and each of its subscriptions gets the
// groups that are under way to their end and then a reset. It returns when that
// is done.
func (s *Session) Drain(ctx context.Context) {
	s.mu.Lock()
	s.draining = true
	drainers := s.drainers
	s.drainers = make(map[*func()]struct{})
	s.mu.Unlock()
	for f := range drainers {
		(*f)()
	}
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

// onDrain has f called, once, when the session is drained, which may be at
// once. The function that it returns takes that back.
func (s *Session) onDrain(f func()) (remove func()) {
	s.mu.Lock()
	draining := s.draining
	if !draining {
		s.drainers[&f] = struct{}{}
	}
	s.mu.Unlock()
	if draining {
		f()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.drainers, &f)
	}
}
