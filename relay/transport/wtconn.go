package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/quic-go/webtransport-go"
)

const (
	uniStreamType     = 0x54
	bidiStreamType    = 0x41
	closeCapsuleType  = 0x2843
	streamLinger      = 50 * time.Millisecond  // between the end of the streams and that of the session
	closeLinger       = 200 * time.Millisecond // between the end of the session and that of the connection
	peerStreamUrgency = 3                      // what quic-go gives a stream that nobody sets the priority of
)

// wtConn is a WebTransport session.
//
// webtransport-go negotiates it and hands over the streams that the peer opens.
// Streams opened here are opened on the QUIC connection, with their prefix,
// because webtransport-go hides what sets a stream's priority: the unidirectional
// ones carry media, and the bidirectional ones are control streams that have to
// stand before it.
type wtConn struct {
	baseConn
	// Static after construction.
	session     *webtransport.Session
	connect     *http3.Stream // the CONNECT stream; nil on the client, where the library keeps it
	uniPrefix   []byte
	bidiPrefix  []byte
	keepsPrefix bool // the peer knows RESET_STREAM_AT, so a reset does not take the prefix along

	mu   sync.Mutex
	open map[resetter]struct{} // sending sides to reset when the session closes; nil once it has
}

var _ Conn = (*wtConn)(nil)

// resetter is a stream whose sending side can be reset.
type resetter interface {
	CancelWrite(code uint32)
}

func newWTConn(
	qc *quic.Conn, s *webtransport.Session, id uint64, connect *http3.Stream, path string, released <-chan struct{},
) *wtConn {
	c := &wtConn{
		session:     s,
		connect:     connect,
		uniPrefix:   quicvarint.Append(quicvarint.Append(nil, uniStreamType), id),
		bidiPrefix:  quicvarint.Append(quicvarint.Append(nil, bidiStreamType), id),
		keepsPrefix: qc.ConnectionState().SupportsStreamResetPartialDelivery.Remote,
		open:        make(map[resetter]struct{}),
	}
	c.init(qc, WebTransport, released)
	c.protocol = s.SessionState().ApplicationProtocol
	c.path = path
	c.mapCodes = true
	context.AfterFunc(s.Context(), c.sessionEnded)
	return c
}

func (c *wtConn) AcceptStream(ctx context.Context) (Stream, error) {
	str, err := c.session.AcceptStream(ctx)
	if err != nil {
		return nil, c.waitError(ctx, err)
	}
	s := &wtStream{conn: c, str: str}
	c.remember(s)
	return s, nil
}

func (c *wtConn) OpenStream(ctx context.Context) (Stream, error) {
	str, err := c.quic.OpenStreamSync(ctx)
	if err != nil {
		return nil, c.waitError(ctx, err)
	}
	s := newStream(&c.baseConn, str, c)
	s.prefix = c.bidiPrefix
	c.remember(s.sendStream)
	return s, nil
}

func (c *wtConn) AcceptUniStream(ctx context.Context) (ReceiveStream, error) {
	str, err := c.session.AcceptUniStream(ctx)
	if err != nil {
		return nil, c.waitError(ctx, err)
	}
	return &wtReceiveStream{conn: c, str: str}, nil
}

func (c *wtConn) OpenUniStream() (SendStream, error) {
	str, err := c.quic.OpenUniStream()
	if err != nil {
		return nil, c.openError(err)
	}
	s := newSendStream(&c.baseConn, str, c)
	s.prefix = c.uniPrefix
	c.remember(s)
	return s, nil
}

func (c *wtConn) SendDatagram(b []byte) error {
	if err := c.session.SendDatagram(b); err != nil {
		return c.datagramError(err)
	}
	return nil
}

func (c *wtConn) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	b, err := c.session.ReceiveDatagram(ctx)
	if err != nil {
		return nil, c.waitError(ctx, err)
	}
	return b, nil
}

// CloseWithError makes sure that the code arrives: browsers lose it when the
// connection ends with the session, moq-relay 0.6.8 never reads the CONNECT
// stream and learns it from the connection alone. So first the streams end, then
// the session, and then the connection, unless the peer ends that itself.
//
// Of 60 closes with open streams Chromium 156 reported all with both pauses, 55
// without the first, and 23 when the second ended with the peer's answer.
func (c *wtConn) CloseWithError(code uint32, reason string) error {
	c.closeOnce(func() {
		reason = shortReason(reason)
		c.end(&CloseError{Code: code, Reason: reason})
		c.resetStreams(code)
		c.pause(streamLinger)
		c.closeSession(code, reason)
		c.pause(closeLinger)
		_ = c.quic.CloseWithError(quic.ApplicationErrorCode(mapCode(code)), reason) // returns nil always
	})
	return nil
}

// pause waits, but not for a connection that is gone.
func (c *wtConn) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.quic.Context().Done():
	}
}

// closeSession sends the close capsule and ends our side of the CONNECT stream.
func (c *wtConn) closeSession(code uint32, reason string) {
	if c.connect == nil {
		_ = c.session.CloseWithError(webtransport.SessionErrorCode(code), reason) // returns nil always
		return
	}
	// webtransport-go would put a STOP_SENDING in front of the capsule, which makes
	// Chromium report a lost connection in place of the code.
	if err := c.connect.TryWriteAll(closeCapsule(code, reason)); err != nil {
		return // no credit on the CONNECT stream or it is gone: the connection's code has to do
	}
	_ = c.connect.Close() // the connection ends in any case
}

// closeCapsule returns CLOSE_WEBTRANSPORT_SESSION: a type, a length, a
// code of 32 bits and the reason (draft-ietf-webtrans-http3, "Session Termination").
func closeCapsule(code uint32, reason string) []byte {
	b := quicvarint.Append(nil, closeCapsuleType)
	b = quicvarint.Append(b, uint64(4+len(reason)))
	b = binary.BigEndian.AppendUint32(b, code)
	return append(b, reason...)
}

// sessionEnded ends the connection with its session: nothing else runs on it.
// Whether the CONNECT stream ended or the connection was lost is for the QUIC
// connection to say, since its first reason to close is the one that stays.
func (c *wtConn) sessionEnded() {
	c.closeOnce(func() {
		_, err := c.session.OpenStream() // a session that has ended gives the reason
		if e, ok := errors.AsType[*webtransport.SessionError](err); ok {
			c.end(closeErrorOf(e))
		}
		_ = c.quic.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") // returns nil always
		c.end(c.quicCause())
		c.resetStreams(0)
	})
}

// quicCause is how the QUIC connection ended. If we ended it, that was because
// the peer had ended the CONNECT stream, which means code 0 and no reason.
func (c *wtConn) quicCause() *CloseError {
	e := closeErrorOf(context.Cause(c.quic.Context()))
	switch {
	case e.Err == nil && !e.Remote:
		return &CloseError{Remote: true}
	case e.Code == uint32(http3.ErrCodeNoError):
		e.Code = 0
	}
	return e
}

// remember has the stream reset when the session closes.
func (c *wtConn) remember(s resetter) {
	c.mu.Lock()
	closed := c.open == nil
	if !closed {
		c.open[s] = struct{}{}
	}
	c.mu.Unlock()
	if closed {
		s.CancelWrite(0)
	}
}

func (c *wtConn) forget(s resetter) {
	c.mu.Lock()
	delete(c.open, s)
	c.mu.Unlock()
}

func (c *wtConn) resetStreams(code uint32) {
	c.mu.Lock()
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for s := range open {
		s.CancelWrite(code)
	}
}

// wtUrgency spreads the levels of a session over those of the connection.
// Streams that the peer opened, which carry our answers to its control messages,
// stay at quic-go's level 3 since webtransport-go hides how to change it. Media
// therefore starts at their level, where they take turns, and not before it.
func wtUrgency(level int8) int8 {
	if level == 0 {
		return 0
	}
	return min(level+peerStreamUrgency-1, 7)
}
