package sessiontest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/moqrelay/moqrelay/relay/transport"
)

// patience is how long a peer waits for what has to come.
const patience = 20 * time.Second

// Unhex reads bytes as the references of the protocols write them.
func Unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// Peer is the other end of a session, played byte by byte, whose protocol has
// error codes of type C.
type Peer[C ~uint32] struct {
	Conn  transport.Conn
	world *World
}

// NewPeer returns a peer that has done nothing yet.
func NewPeer[C ~uint32](w *World, conn transport.Conn) *Peer[C] { return &Peer[C]{conn, w} }

// Stream is one stream of a peer: bidirectional, or one direction of it.
type Stream[C ~uint32] struct {
	transport.SendStream
	transport.ReceiveStream
	world *World
}

func (p *Peer[C]) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.world.Context(), patience)
}

// OpenStream opens a bidirectional stream with these bytes.
func (p *Peer[C]) OpenStream(bytes string) *Stream[C] {
	p.world.Helper()
	ctx, cancel := p.ctx()
	defer cancel()
	str, err := p.Conn.OpenStream(ctx)
	if err != nil {
		p.world.Fatalf("open a bidirectional stream: %v", err)
	}
	s := &Stream[C]{str, str, p.world}
	s.Send(bytes)
	return s
}

// Uni opens a unidirectional stream with these bytes.
func (p *Peer[C]) Uni(bytes string) *Stream[C] {
	p.world.Helper()
	str, err := p.Conn.OpenUniStream()
	if err != nil {
		p.world.Fatalf("open a unidirectional stream: %v", err)
	}
	s := &Stream[C]{SendStream: str, world: p.world}
	s.Send(bytes)
	return s
}

// Accept takes the next bidirectional stream, which has to begin with these bytes.
func (p *Peer[C]) Accept(want string) *Stream[C] {
	p.world.Helper()
	ctx, cancel := p.ctx()
	defer cancel()
	str, err := p.Conn.AcceptStream(ctx)
	if err != nil {
		p.world.Fatalf("accept a bidirectional stream (want %s): %v", want, err)
	}
	s := &Stream[C]{str, str, p.world}
	s.Want(want)
	return s
}

// AcceptUni takes the next unidirectional stream, which has to begin with these bytes.
func (p *Peer[C]) AcceptUni(want string) *Stream[C] {
	p.world.Helper()
	s := p.NextUni()
	s.Want(want)
	return s
}

// NextUni takes the next unidirectional stream.
func (p *Peer[C]) NextUni() *Stream[C] {
	p.world.Helper()
	ctx, cancel := p.ctx()
	defer cancel()
	str, err := p.Conn.AcceptUniStream(ctx)
	if err != nil {
		p.world.Fatalf("accept a unidirectional stream: %v", err)
	}
	return &Stream[C]{ReceiveStream: str, world: p.world}
}

// WantNoUni holds that no unidirectional stream comes within the time.
func (p *Peer[C]) WantNoUni(d time.Duration) {
	p.world.Helper()
	ctx, cancel := context.WithTimeout(p.world.Context(), d)
	defer cancel()
	if str, err := p.Conn.AcceptUniStream(ctx); err == nil {
		b := make([]byte, 64)
		n, _ := str.Read(b)
		p.world.Fatalf("a unidirectional stream came with % x, want none", b[:n])
	}
}

// WantNoStream holds that no bidirectional stream comes within the time.
func (p *Peer[C]) WantNoStream(d time.Duration) {
	p.world.Helper()
	ctx, cancel := context.WithTimeout(p.world.Context(), d)
	defer cancel()
	if str, err := p.Conn.AcceptStream(ctx); err == nil {
		b := make([]byte, 64)
		n, _ := str.Read(b)
		p.world.Fatalf("a bidirectional stream came with % x, want none", b[:n])
	}
}

// Leave closes the connection with 0.
func (p *Peer[C]) Leave() { _ = p.Conn.CloseWithError(0, "") }

// WantClosed waits for the end of the connection.
func (p *Peer[C]) WantClosed(code C) *transport.CloseError {
	p.world.Helper()
	select {
	case <-p.Conn.Context().Done():
	case <-time.After(patience):
		p.world.Fatalf("the connection lives, want it closed with %d", uint32(code))
	}
	e, ok := errors.AsType[*transport.CloseError](context.Cause(p.Conn.Context()))
	if !ok || !e.Remote || e.Code != uint32(code) {
		p.world.Fatalf("the connection ended with %v, want it closed by the relay with %d", context.Cause(p.Conn.Context()), uint32(code))
	}
	return e
}

// Send writes bytes.
func (s *Stream[C]) Send(h string) {
	s.world.Helper()
	s.SendBytes(Unhex(h))
}

// SendBytes is Send without hex.
func (s *Stream[C]) SendBytes(b []byte) {
	s.world.Helper()
	if _, err := s.Write(b); err != nil {
		s.world.Fatalf("write % x: %v", b, err)
	}
}

// Fin finishes the sending side.
func (s *Stream[C]) Fin() {
	s.world.Helper()
	if err := s.Close(); err != nil {
		s.world.Fatalf("finish the stream: %v", err)
	}
}

// Reset resets the sending side.
func (s *Stream[C]) Reset(code C) { s.CancelWrite(uint32(code)) }

// Stop stops the receiving side.
func (s *Stream[C]) Stop(code C) { s.CancelRead(uint32(code)) }

// Deadline bounds what is read from now on.
func (s *Stream[C]) Deadline(d time.Duration) {
	_ = s.SetReadDeadline(time.Now().Add(d))
}

// Want reads exactly these bytes.
func (s *Stream[C]) Want(h string) {
	s.world.Helper()
	s.WantBytes(Unhex(h))
}

// WantBytes is Want without hex.
func (s *Stream[C]) WantBytes(want []byte) {
	s.world.Helper()
	got := make([]byte, len(want))
	s.Deadline(patience)
	n, err := io.ReadFull(s, got)
	if err != nil || !bytes.Equal(got, want) {
		s.world.Fatalf("read\n% x, %v; want\n% x", got[:n], err, want)
	}
}

// WantEOF reads the end of the stream.
func (s *Stream[C]) WantEOF() {
	s.world.Helper()
	s.Deadline(patience)
	b := make([]byte, 64)
	if n, err := s.Read(b); n > 0 || !errors.Is(err, io.EOF) {
		s.world.Fatalf("read % x, %v; want the end of the stream", b[:n], err)
	}
}

// WantReset reads the reset of the stream, and nothing before it.
func (s *Stream[C]) WantReset(code C) {
	s.world.Helper()
	s.Deadline(patience)
	b := make([]byte, 64)
	n, err := s.Read(b)
	if n > 0 || !isRemote(err, uint32(code)) {
		s.world.Fatalf("read % x, %v; want a reset with %d", b[:n], err, uint32(code))
	}
}

// WantResetAfterData reads whatever there is to the reset of the stream.
func (s *Stream[C]) WantResetAfterData(code C) {
	s.world.Helper()
	s.Deadline(patience)
	if n, err := io.Copy(io.Discard, s); !isRemote(err, uint32(code)) {
		s.world.Fatalf("read %d bytes, %v; want a reset with %d", n, err, uint32(code))
	}
}

// WantStop waits for STOP_SENDING.
func (s *Stream[C]) WantStop(code C) {
	s.world.Helper()
	select {
	case <-s.Stopped():
	case <-time.After(patience):
		s.world.Fatalf("the stream was not stopped, want %d", uint32(code))
	}
	if err := s.StopCode(); !isRemote(err, uint32(code)) {
		s.world.Fatalf("the stream was stopped with %v, want %d", err, uint32(code))
	}
}

// isRemote tells whether a stream was reset or stopped by the other end.
func isRemote(err error, code uint32) bool {
	e, ok := errors.AsType[*transport.StreamError](err)
	return ok && e.Remote && e.Code == code
}

// WantSilence holds that nothing is read for a time.
func (s *Stream[C]) WantSilence(d time.Duration) {
	s.world.Helper()
	s.Deadline(d)
	b := make([]byte, 64)
	if n, err := s.Read(b); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		s.world.Fatalf("read % x, %v; want nothing", b[:n], err)
	}
}
