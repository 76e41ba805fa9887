package transport

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNoCredit means that the peer does not allow another stream for now. It is
	// back-pressure: skip to what is newest, never queue.
	ErrNoCredit = errors.New("no stream credit")
	// ErrNoDatagrams means that a connection has no datagrams, or none of that size.
	ErrNoDatagrams = errors.New("no datagrams of that size")
	// ErrUnreachable means that no peer answered: unknown host, no route, no answer
	// in time, or the connection was refused.
	ErrUnreachable = errors.New("peer cannot be reached")
	// ErrCertificate means that one side did not trust the other's certificate.
	ErrCertificate = errors.New("certificate not trusted")
	// ErrALPN means that the peer speaks none of the protocols that were offered.
	ErrALPN = errors.New("no common protocol")
	// ErrTimeout means that a connection ended because the peer was silent for too
	// long or did not finish its handshake in time.
	ErrTimeout = errors.New("peer timed out")
	// ErrClosed is returned by an [Endpoint] that was closed.
	ErrClosed = errors.New("endpoint closed")
)

// CloseError says how a connection ended. It is the cause of [Conn]'s Context
// and the error of its methods from then on.
type CloseError struct {
	// Code is the application's code, unmapped; 0 if the connection ended without one.
	Code uint32
	// Reason is the text that went with the code.
	Reason string
	// Remote says that the peer ended the connection.
	Remote bool
	// Err is what ended the connection if that was neither side's application:
	// [ErrTimeout], ErrCertificate, or an error of the transport.
	Err error
}

// Error names the side, the code and the reason.
func (e *CloseError) Error() string {
	side := "closed"
	if e.Remote {
		side = "closed by the peer"
	}
	switch {
	case e.Err != nil:
		return "connection lost: " + e.Err.Error()
	case e.Reason == "":
		return fmt.Sprintf("connection %s with code %d", side, e.Code)
	default:
		return fmt.Sprintf("connection %s with code %d: %s", side, e.Code, e.Reason)
	}
}

// Unwrap returns Err.
func (e *CloseError) Unwrap() error { return e.Err }

// StreamError is the error of a stream that was reset by its sender or stopped
// by its receiver.
type StreamError struct {
	// Code is the application's code.
	Code uint32
	// Raw is the code as it was on the wire.
	Raw uint64
	// Mapped says that Raw was in the range of WebTransport, so that Code is its
	// inverse. Otherwise Code is Raw, clipped: QUIC libraries send a raw 0 on their own.
	Mapped bool
	// Remote says that the peer ended the stream.
	Remote bool
}

// Error names the side and the code.
func (e *StreamError) Error() string {
	if e.Remote {
		return fmt.Sprintf("stream ended by the peer with code %d", e.Code)
	}
	return fmt.Sprintf("stream ended with code %d", e.Code)
}

// StatusError is a request for a WebTransport session or a WebSocket that the
// server answered with something other than success.
type StatusError struct {
	// Status is the HTTP status.
	Status int
}

// Error names the status.
func (e *StatusError) Error() string {
	return fmt.Sprintf("server answered the request for a session with status %d", e.Status)
}
