package transport

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"

	"github.com/moqrelay/moqrelay/relay/qlog"
)

// maxReason bounds the text sent with a close code, so that CONNECTION_CLOSE
// fits a packet.
const maxReason = 512

// baseConn is what both kinds of connection have in common.
type baseConn struct {
	// Static after construction.
	quic     *quic.Conn
	id       string
	qlog     *qlog.Trace // nil if nothing is written
	kind     Kind
	protocol string
	path     string
	chain    []*x509.Certificate // of the peer, verified; nil for none
	since    time.Time
	mapCodes bool            // stream codes go out mapped
	released <-chan struct{} // closed when the connection's own socket is; nil if it has none
	ctx      context.Context //nolint:containedctx // it is the connection's lifetime, given out by Context
	end      context.CancelCauseFunc

	closing atomic.Bool   // whoever ends the connection first does it
	closed  chan struct{} // closed when that is done
}

func (c *baseConn) init(qc *quic.Conn, kind Kind, released <-chan struct{}) {
	c.quic, c.kind, c.released = qc, kind, released
	c.qlog = traceOf(qc)
	if c.id = c.qlog.ID(); c.id == "" {
		c.id = newID()
	}
	c.since = time.Now()
	if a, ok := qc.Context().Value(attemptKey{}).(*attempt); ok {
		c.since = a.began
	}
	c.closed = make(chan struct{})
	// The streams' contexts descend from the connection's own; this one ends earlier,
	// with a cause that says who closed with which code.
	c.ctx, c.end = context.WithCancelCause(context.WithoutCancel(qc.Context()))
	if state := qc.ConnectionState().TLS; len(state.VerifiedChains) > 0 {
		c.chain = state.PeerCertificates
	}
}

func (c *baseConn) Kind() Kind                     { return c.kind }
func (c *baseConn) ID() string                     { return c.id }
func (c *baseConn) Qlog() *qlog.Trace              { return c.qlog }
func (c *baseConn) Protocol() string               { return c.protocol }
func (c *baseConn) Path() string                   { return c.path }
func (c *baseConn) RemoteAddr() net.Addr           { return c.quic.RemoteAddr() }
func (c *baseConn) LocalAddr() net.Addr            { return c.quic.LocalAddr() }
func (c *baseConn) Since() time.Time               { return c.since }
func (c *baseConn) PeerChain() []*x509.Certificate { return c.chain }
func (c *baseConn) Context() context.Context       { return c.ctx }

func (c *baseConn) PeerCertificate() *x509.Certificate {
	if len(c.chain) == 0 {
		return nil
	}
	return c.chain[0]
}

// Stats copies the counters of the QUIC connection.
func (c *baseConn) Stats() Stats {
	s := c.quic.ConnectionStats()
	return Stats{
		SmoothedRTT:   s.SmoothedRTT,
		PacketsSent:   s.PacketsSent,
		PacketsLost:   s.PacketsLost,
		BytesSent:     s.BytesSent,
		BytesReceived: s.BytesReceived,
	}
}

// newID returns a new name of a connection.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// waitError is the error of a stream that could not be opened or accepted while
// ctx allowed to wait for it.
func (c *baseConn) waitError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.openError(err)
}

// openError is the error of a stream that could not be opened at once.
func (c *baseConn) openError(err error) error {
	if _, ok := errors.AsType[*quic.StreamLimitReachedError](err); ok {
		return ErrNoCredit
	}
	return c.lost(err)
}

// datagramError is the error of a datagram that could not be sent.
func (c *baseConn) datagramError(err error) error {
	if _, ok := errors.AsType[*quic.DatagramTooLargeError](err); ok {
		return ErrNoDatagrams
	}
	return c.lost(err)
}

// TakesDatagrams is asked when the peer's parameters are known.
func (c *baseConn) TakesDatagrams() bool { return c.quic.ConnectionState().SupportsDatagrams.Remote }

// lost is the error of a connection that ended with err: what Context says, or
// the same from err if that is a moment ahead.
func (c *baseConn) lost(err error) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return closeErrorOf(err)
}

// closeOnce runs the first of the functions it is given, and returns when that
// and the closing of the connection's own socket are done.
func (c *baseConn) closeOnce(f func()) {
	if c.closing.CompareAndSwap(false, true) {
		f()
		close(c.closed)
	}
	<-c.closed
	if c.released != nil {
		<-c.released
	}
}

// closeErrorOf says how a connection ended whose QUIC connection or WebTransport
// session reports err.
func closeErrorOf(err error) *CloseError {
	if e, ok := errors.AsType[*CloseError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*webtransport.SessionError](err); ok {
		return &CloseError{Code: uint32(e.ErrorCode), Reason: e.Message, Remote: e.Remote}
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		code, _ := anyCode(uint64(e.ErrorCode))
		return &CloseError{Code: code, Reason: e.ErrorMessage, Remote: e.Remote}
	}
	e := &CloseError{Err: err}
	if te, ok := errors.AsType[*quic.TransportError](err); ok {
		e.Remote = te.Remote
	}
	if kind := kindOfError(err); kind != nil {
		e.Err = fmt.Errorf("%w: %w", kind, err)
	}
	return e
}

// kindOfError returns which of ErrTimeout, ErrCertificate, ErrALPN and
// ErrUnreachable an error of QUIC is, or nil.
func kindOfError(err error) error {
	if isTimeout(err) {
		return ErrTimeout
	}
	if _, ok := errors.AsType[*quic.VersionNegotiationError](err); ok {
		return ErrALPN
	}
	e, ok := errors.AsType[*quic.TransportError](err)
	switch {
	case !ok:
		return nil
	case e.ErrorCode == quic.ConnectionRefused:
		return ErrUnreachable
	case e.ErrorCode.IsCryptoError():
		return kindOfAlert(uint8(e.ErrorCode - 0x100))
	}
	return nil
}

func isTimeout(err error) bool {
	if _, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return true
	}
	_, ok := errors.AsType[*quic.HandshakeTimeoutError](err)
	return ok
}

// kindOfAlert sorts the TLS alerts of RFC 8446, section 6.2. QUIC carries them
// as CRYPTO_ERROR, 0x0100 and the alert.
func kindOfAlert(alert uint8) error {
	switch alert {
	case 42, 43, 44, 45, 46, // bad, unsupported, revoked, expired, unknown certificate
		48,  // unknown_ca
		49,  // access_denied
		116: // certificate_required
		return ErrCertificate
	case 120: // no_application_protocol
		return ErrALPN
	}
	return nil
}

// shortReason cuts a reason to what fits, between characters.
func shortReason(s string) string {
	if len(s) <= maxReason {
		return s
	}
	n := maxReason
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
