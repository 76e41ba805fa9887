package base

import (
	"context"
	"errors"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
	"github.com/moqrelay/moqrelay/relay/wire"
)

var (
	// ErrClosed is why a session has ended that was closed here.
	ErrClosed = errors.New("session closed")
	// ErrHandshakeTimeout is why a session ends whose handshake took too long.
	ErrHandshakeTimeout = errors.New("session handshake timed out")
)

// Fault is the kind of a [Violation].
type Fault uint8

// The faults of a peer.
const (
	Protocol  Fault = iota // it broke the protocol
	Limit                  // it went over a limit
	Version                // it speaks no version that we do
	Forbidden              // it may not do that
)

// Violation ends a session because of what the peer did.
type Violation struct {
	Fault Fault
	Text  string
}

// Error says what the peer did.
func (e *Violation) Error() string { return e.Text }

// Excess is the violation of a limit.
func Excess(text string) error { return &Violation{Limit, text} }

// Fail ends the session because of err, which is not the connection's own end.
func (b *Base) Fail(err error) {
	if p, ok := errors.AsType[*session.PanicError](err); ok {
		b.Config.Metrics.Panicked()
		b.Log.Error("session panicked", "error", p, "stack", string(p.Stack))
		b.End(err, b.Codes.Session(err), "internal error")
		return
	}
	b.End(err, b.Codes.Session(err), err.Error())
}

// End closes the connection, unless that has happened already.
func (b *Base) End(cause error, code uint32, reason string) {
	b.mu.Lock()
	if b.cause == nil && b.Conn.Context().Err() == nil {
		b.cause = cause
	}
	b.mu.Unlock()
	_ = b.Conn.CloseWithError(code, reason) // the first close counts, and nobody is left to tell
}

// Close ends the session with a code.
func (b *Base) Close(code uint32, reason string) { b.End(ErrClosed, code, reason) }

// why returns what ended the session.
func (b *Base) why() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause != nil {
		return b.cause
	}
	return context.Cause(b.Conn.Context())
}

// count counts the end of the session, or of what did not become one.
func (b *Base) count(err error) {
	if b.IsReady() {
		b.Config.Metrics.SessionClosed(b.kind, b.closeReason(err))
		return
	}
	b.Config.Metrics.SessionRefused(refuseReason(err))
}

func (b *Base) closeReason(err error) metrics.CloseReason {
	if _, ok := errors.AsType[*session.PanicError](err); ok {
		return metrics.ClosedPanic
	}
	if e, ok := errors.AsType[*Violation](err); ok && e.Fault == Limit {
		return metrics.ClosedLimit
	} else if ok || errors.Is(err, wire.ErrMalformed) {
		return metrics.ClosedProtocol
	}
	if errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled) {
		return metrics.ClosedHere
	}
	if e, ok := errors.AsType[*transport.CloseError](err); ok {
		switch {
		case errors.Is(e.Err, transport.ErrTimeout):
			return metrics.ClosedTimeout
		case e.Err == nil && !e.Remote:
			return metrics.ClosedHere
		case e.Err == nil && b.Codes.SessionEnd(e.Code):
			return metrics.ClosedByPeer
		case e.Err == nil:
			return metrics.ClosedPeerError
		}
	}
	return metrics.ClosedLost
}

func refuseReason(err error) metrics.RefuseReason {
	e, ok := errors.AsType[*Violation](err)
	switch {
	case errors.Is(err, ErrHandshakeTimeout):
		return metrics.RefusedTimeout
	case ok && e.Fault == Version:
		return metrics.RefusedVersion
	case ok, errors.Is(err, wire.ErrMalformed):
		return metrics.RefusedHandshake
	default:
		return metrics.RefusedLost
	}
}

// sample counts the state of the connection. A timer calls it, and Run at the
// end.
func (b *Base) sample() {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := b.Conn.Stats()
	b.connection.Sample(st.SmoothedRTT, st.PacketsSent, st.PacketsLost)
	if !b.ended {
		b.sampler.Reset(SampleInterval)
	}
}
