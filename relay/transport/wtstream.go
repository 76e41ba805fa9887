package transport

import (
	"time"

	"github.com/quic-go/webtransport-go"
)

// wtReceiveStream is a unidirectional stream that the peer opened in a session.
type wtReceiveStream struct {
	conn *wtConn
	str  *webtransport.ReceiveStream
}

var _ ReceiveStream = (*wtReceiveStream)(nil)

func (s *wtReceiveStream) Read(p []byte) (int, error) {
	n, err := s.str.Read(p)
	return n, s.conn.streamError(err)
}

func (s *wtReceiveStream) CancelRead(code uint32) {
	s.str.CancelRead(webtransport.StreamErrorCode(code))
}

func (s *wtReceiveStream) SetReadDeadline(t time.Time) error { return s.str.SetReadDeadline(t) }

// wtStream is a bidirectional stream that the peer opened in a session.
type wtStream struct {
	conn *wtConn
	str  *webtransport.Stream
}

var _ Stream = (*wtStream)(nil)

func (s *wtStream) Read(p []byte) (int, error) {
	n, err := s.str.Read(p)
	return n, s.conn.streamError(err)
}

func (s *wtStream) Write(p []byte) (int, error) {
	n, err := s.str.Write(p)
	return n, s.conn.streamError(err)
}

func (s *wtStream) Close() error {
	s.conn.forget(s)
	return s.conn.streamError(s.str.Close())
}

func (s *wtStream) CancelWrite(code uint32) {
	s.conn.forget(s)
	s.str.CancelWrite(webtransport.StreamErrorCode(code))
}

func (s *wtStream) CancelRead(code uint32) {
	s.str.CancelRead(webtransport.StreamErrorCode(code))
}

// SetPriority does nothing; see wtUrgency.
func (s *wtStream) SetPriority(uint8, bool) {}

func (s *wtStream) SetReadDeadline(t time.Time) error  { return s.str.SetReadDeadline(t) }
func (s *wtStream) SetWriteDeadline(t time.Time) error { return s.str.SetWriteDeadline(t) }
func (s *wtStream) Stopped() <-chan struct{}           { return s.str.Context().Done() }
func (s *wtStream) StopCode() error                    { return s.conn.stopCode(s.str.Context()) }
