package transfork

import (
	"context"
	"errors"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// protocolError ends a session because the peer broke the protocol.
type protocolError struct {
	code wire.Code
	text string
}

func (e *protocolError) Error() string { return e.text }

// overLimit ends a session because the peer went over a limit.
func overLimit(text string) error { return &protocolError{wire.CodeBounds, text} }

// count counts the end of the session, or of what did not become one.
func (s *Session) count(err error) {
	if s.isReady() {
		s.config.Metrics.SessionClosed(s.kind, closeReason(err))
		return
	}
	s.config.Metrics.SessionRefused(refuseReason(err))
}

func closeReason(err error) metrics.CloseReason {
	if _, ok := errors.AsType[*session.PanicError](err); ok {
		return metrics.ClosedPanic
	}
	if e, ok := errors.AsType[*protocolError](err); ok && e.code == wire.CodeBounds {
		return metrics.ClosedLimit
	} else if ok || errors.Is(err, wire.ErrMalformed) {
		return metrics.ClosedProtocol
	}
	if errors.Is(err, errClosed) || errors.Is(err, context.Canceled) {
		return metrics.ClosedHere
	}
	if e, ok := errors.AsType[*transport.CloseError](err); ok {
		switch {
		case errors.Is(e.Err, transport.ErrTimeout):
			return metrics.ClosedTimeout
		case e.Err == nil && !e.Remote:
			return metrics.ClosedHere
		case e.Err == nil && e.Code == uint32(wire.CodeCancel):
			return metrics.ClosedByPeer
		case e.Err == nil:
			return metrics.ClosedPeerError
		}
	}
	return metrics.ClosedLost
}

func refuseReason(err error) metrics.RefuseReason {
	e, ok := errors.AsType[*protocolError](err)
	switch {
	case errors.Is(err, errHandshakeTimeout):
		return metrics.RefusedTimeout
	case ok && e.code == wire.CodeVersion:
		return metrics.RefusedVersion
	case ok, errors.Is(err, wire.ErrMalformed):
		return metrics.RefusedHandshake
	default:
		return metrics.RefusedLost
	}
}

// sample counts the state of the connection. A timer calls it, and Run at the
// end.
func (s *Session) sample() {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.conn.Stats()
	s.connection.Sample(st.SmoothedRTT, st.PacketsSent, st.PacketsLost)
	if !s.ended {
		s.sampler.Reset(sampleInterval)
	}
}
