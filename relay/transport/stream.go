package transport

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"
)

// maxFirstWrite is how much of the first Write travels with the stream's prefix
// in one go: with it a whole packet, and QUIC takes that much without waiting.
const maxFirstWrite = 1024

// firstWrites holds buffers for prefix and first bytes; QUIC copies them at once.
var firstWrites = sync.Pool{New: func() any { return new([maxFirstWrite + 16]byte) }}

// quicSender is the sending side of quic.SendStream and quic.Stream.
type quicSender interface {
	io.WriteCloser
	CancelWrite(quic.StreamErrorCode)
	Context() context.Context
	SetPriority(urgency int8, incremental bool)
	SetReliableBoundary()
	SetWriteDeadline(time.Time) error
}

// quicReceiver is the receiving side of quic.ReceiveStream and quic.Stream.
type quicReceiver interface {
	io.Reader
	CancelRead(quic.StreamErrorCode)
	SetReadDeadline(time.Time) error
}

// sendStream is the sending side of a stream that lives on the QUIC connection
// itself, on WebTransport behind a prefix.
type sendStream struct {
	// Static after construction.
	conn    *baseConn
	str     quicSender
	session *wtConn // resets the stream when it closes; nil on raw QUIC
	prefix  []byte

	started atomic.Bool // the prefix is written; once true it stays so
	mu      sync.Mutex  // held while writing the prefix
}

var _ SendStream = (*sendStream)(nil)

func newSendStream(c *baseConn, str quicSender, session *wtConn) *sendStream {
	s := &sendStream{conn: c, str: str, session: session}
	if session == nil {
		s.started.Store(true)
	}
	return s
}

func (s *sendStream) Write(p []byte) (int, error) {
	first, _, err := s.start(p)
	if err != nil {
		return 0, s.conn.streamError(err)
	}
	if first > 0 && first == len(p) {
		return first, nil
	}
	n, err := s.str.Write(p[first:])
	return first + n, s.conn.streamError(err)
}

// start writes the prefix, if that is still to be done, and with it as many
// bytes of p as fit a packet. Where the peer knows how, they survive a reset.
// It never blocks. It reports how much of p it wrote and whether it was the first.
func (s *sendStream) start(p []byte) (n int, first bool, err error) {
	if s.started.Load() {
		return 0, false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started.Load() {
		return 0, false, nil
	}
	buf := firstWrites.Get().(*[maxFirstWrite + 16]byte)
	defer firstWrites.Put(buf)
	b := append(buf[:0], s.prefix...)
	b = append(b, p[:min(len(p), maxFirstWrite)]...)
	if _, err := s.str.Write(b); err != nil {
		return 0, false, err
	}
	s.started.Store(true)
	s.str.SetReliableBoundary()
	return len(b) - len(s.prefix), true, nil
}

// startEmpty writes the prefix of a stream that ends before its first Write,
// whatever deadline that Write had.
func (s *sendStream) startEmpty() (first bool, err error) {
	if s.started.Load() {
		return false, nil
	}
	if err := s.str.SetWriteDeadline(time.Time{}); err != nil {
		return false, err
	}
	_, first, err = s.start(nil)
	return first, err
}

func (s *sendStream) Close() error {
	s.forget()
	if _, err := s.startEmpty(); err != nil {
		return s.conn.streamError(err)
	}
	if err := s.str.Close(); err != nil {
		return s.conn.streamError(context.Cause(s.str.Context()))
	}
	return nil
}

// CancelWrite never resets a stream before its prefix: moq-relay 0.6.8 ends the
// whole session then. A peer that cannot be made to receive the prefix of a
// reset stream gets an empty stream instead.
func (s *sendStream) CancelWrite(code uint32) {
	s.forget()
	if first, err := s.startEmpty(); err == nil && first && !s.session.keepsPrefix {
		_ = s.str.Close() // nobody waits for the error of an unused stream
		return
	}
	s.str.CancelWrite(quic.StreamErrorCode(wireCode(code, s.conn.mapCodes)))
}

func (s *sendStream) SetPriority(urgency uint8, incremental bool) {
	level := int8(min(urgency, 7))
	if s.session != nil {
		level = wtUrgency(level)
	}
	s.str.SetPriority(level, incremental)
}

func (s *sendStream) SetWriteDeadline(t time.Time) error { return s.str.SetWriteDeadline(t) }
func (s *sendStream) Stopped() <-chan struct{}           { return s.str.Context().Done() }
func (s *sendStream) StopCode() error                    { return s.conn.stopCode(s.str.Context()) }

func (s *sendStream) forget() {
	if s.session != nil {
		s.session.forget(s)
	}
}

// receiveStream is the receiving side of a stream of raw QUIC.
type receiveStream struct {
	conn *baseConn
	str  quicReceiver
}

var _ ReceiveStream = (*receiveStream)(nil)

func (s *receiveStream) Read(p []byte) (int, error) {
	n, err := s.str.Read(p)
	return n, s.conn.streamError(err)
}

func (s *receiveStream) CancelRead(code uint32) {
	s.str.CancelRead(quic.StreamErrorCode(wireCode(code, s.conn.mapCodes)))
}

func (s *receiveStream) SetReadDeadline(t time.Time) error { return s.str.SetReadDeadline(t) }

// stream is a bidirectional stream that lives on the QUIC connection itself.
type stream struct {
	*sendStream
	receiveStream
}

var _ Stream = (*stream)(nil)

func newStream(c *baseConn, str *quic.Stream, session *wtConn) *stream {
	return &stream{newSendStream(c, str, session), receiveStream{conn: c, str: str}}
}

// streamError turns an error of a stream of either library into ours. What a
// stream says of itself because we closed the connection gives way to that.
func (c *baseConn) streamError(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, quic.ErrStreamClosed) {
		return err
	}
	if e, ok := errors.AsType[*webtransport.StreamError](err); ok && (e.Remote || c.ctx.Err() == nil) {
		code := uint32(e.ErrorCode)
		return &StreamError{Code: code, Raw: mapCode(code), Mapped: true, Remote: e.Remote}
	}
	if e, ok := errors.AsType[*quic.StreamError](err); ok && (e.Remote || c.ctx.Err() == nil) {
		code, mapped := anyCode(uint64(e.ErrorCode))
		return &StreamError{Code: code, Raw: uint64(e.ErrorCode), Mapped: mapped, Remote: e.Remote}
	}
	return c.lost(err)
}

// stopCode says why the sending side whose context is ctx has ended, if that was
// not our own doing.
func (c *baseConn) stopCode(ctx context.Context) error {
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(cause, quic.ErrStreamClosed) {
		return nil
	}
	err := c.streamError(cause)
	if e, ok := errors.AsType[*StreamError](err); ok && !e.Remote {
		return nil
	}
	return err
}
