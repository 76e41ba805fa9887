package transfork

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
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// Bytes that nearly every script contains.
const (
	sessionClientHex = "00 01 c0000000ff0bad02 00"
	sessionServerHex = "c0000000ff0bad02 00"
	interestHex      = "01 00"                                 // what a relay opens on every session
	activeClockHex   = "01 01 05 636c6f636b"                   // ANNOUNCE active, clock
	subscribeHex     = "02 00 01 05 636c6f636b 80 01 00 00 00" // SUBSCRIBE 0, clock, priority 0, descending
	infoHex          = "80 01 00 00"
)

// peer is the other end of a session, played byte by byte.
type peer struct {
	*world
	conn transport.Conn
}

// unhex reads bytes as the tables of the protocol write them.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// connect returns a peer that has done nothing yet.
func (w *world) connect() *peer {
	w.Helper()
	return &peer{w, w.dial(nil)}
}

// client returns a peer after the handshake, with the relay's interest taken and
// left unanswered.
func (w *world) client() *peer {
	w.Helper()
	p := w.connect()
	p.shake()
	p.accept(interestHex)
	return p
}

// shake does the handshake of moq-relay 0.6.8.
func (p *peer) shake() *stream {
	p.Helper()
	s := p.openStream(sessionClientHex)
	s.want(sessionServerHex)
	return s
}

// publisher returns a peer after the handshake that has announced clock.
func (w *world) publisher() *peer {
	w.Helper()
	p, _ := w.announcer()
	return p
}

// announcer is a publisher with the stream of its announcements.
func (w *world) announcer() (*peer, *stream) {
	w.Helper()
	p := w.connect()
	p.shake()
	announcements := p.accept(interestHex)
	announcements.write(activeClockHex)
	settle()
	return p, announcements
}

// stream is one stream of a peer: bidirectional, or one direction of it.
type stream struct {
	*world
	transport.SendStream
	transport.ReceiveStream
}

func (p *peer) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.Context(), 20*time.Second)
}

// openStream opens a bidirectional stream with these bytes.
func (p *peer) openStream(bytes string) *stream {
	p.Helper()
	ctx, cancel := p.ctx()
	defer cancel()
	str, err := p.conn.OpenStream(ctx)
	if err != nil {
		p.Fatalf("open a bidirectional stream: %v", err)
	}
	s := &stream{p.world, str, str}
	s.write(bytes)
	return s
}

// uni opens a unidirectional stream with these bytes.
func (p *peer) uni(bytes string) *stream {
	p.Helper()
	str, err := p.conn.OpenUniStream()
	if err != nil {
		p.Fatalf("open a unidirectional stream: %v", err)
	}
	s := &stream{world: p.world, SendStream: str}
	s.write(bytes)
	return s
}

// accept takes the next bidirectional stream, which has to begin with these bytes.
func (p *peer) accept(want string) *stream {
	p.Helper()
	ctx, cancel := p.ctx()
	defer cancel()
	str, err := p.conn.AcceptStream(ctx)
	if err != nil {
		p.Fatalf("accept a bidirectional stream (want %s): %v", want, err)
	}
	s := &stream{p.world, str, str}
	s.want(want)
	return s
}

// acceptUni takes the next unidirectional stream, which has to begin with these bytes.
func (p *peer) acceptUni(want string) *stream {
	p.Helper()
	s := p.nextUni()
	s.want(want)
	return s
}

func (p *peer) nextUni() *stream {
	p.Helper()
	ctx, cancel := p.ctx()
	defer cancel()
	str, err := p.conn.AcceptUniStream(ctx)
	if err != nil {
		p.Fatalf("accept a unidirectional stream: %v", err)
	}
	return &stream{world: p.world, ReceiveStream: str}
}

// wantNoUni holds that no unidirectional stream comes within the time.
func (p *peer) wantNoUni(d time.Duration) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), d)
	defer cancel()
	if str, err := p.conn.AcceptUniStream(ctx); err == nil {
		b := make([]byte, 64)
		n, _ := str.Read(b)
		p.Fatalf("a unidirectional stream came with % x, want none", b[:n])
	}
}

// wantNoStream holds that no bidirectional stream comes within the time.
func (p *peer) wantNoStream(d time.Duration) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), d)
	defer cancel()
	if str, err := p.conn.AcceptStream(ctx); err == nil {
		b := make([]byte, 64)
		n, _ := str.Read(b)
		p.Fatalf("a bidirectional stream came with % x, want none", b[:n])
	}
}

// wantAlive holds that the session still serves.
func (p *peer) wantAlive() {
	p.Helper()
	s := p.openStream("04 01 04 6e6f6e65") // INFO_REQUEST of none
	s.wantReset(wire.CodeNotFound)
}

// wantClosed waits for the end of the connection.
func (p *peer) wantClosed(code wire.Code) *transport.CloseError {
	p.Helper()
	select {
	case <-p.conn.Context().Done():
	case <-time.After(20 * time.Second):
		p.Fatalf("the connection lives, want it closed with %v", code)
	}
	e, ok := errors.AsType[*transport.CloseError](context.Cause(p.conn.Context()))
	if !ok || !e.Remote || e.Code != uint32(code) {
		p.Fatalf("the connection ended with %v, want it closed by the relay with %d", context.Cause(p.conn.Context()), code)
	}
	return e
}

func (s *stream) write(h string) {
	s.Helper()
	s.writeBytes(unhex(h))
}

func (s *stream) writeBytes(b []byte) {
	s.Helper()
	if _, err := s.Write(b); err != nil {
		s.Fatalf("write % x: %v", b, err)
	}
}

func (s *stream) fin() {
	s.Helper()
	if err := s.Close(); err != nil {
		s.Fatalf("finish the stream: %v", err)
	}
}

func (s *stream) reset(code wire.Code) { s.CancelWrite(uint32(code)) }
func (s *stream) stop(code wire.Code)  { s.CancelRead(uint32(code)) }

// want reads exactly these bytes.
func (s *stream) want(h string) {
	s.Helper()
	s.wantBytes(unhex(h))
}

func (s *stream) wantBytes(want []byte) {
	s.Helper()
	got := make([]byte, len(want))
	s.deadline(20 * time.Second)
	n, err := io.ReadFull(s, got)
	if err != nil || !bytes.Equal(got, want) {
		s.Fatalf("read\n% x, %v; want\n% x", got[:n], err, want)
	}
}

func (s *stream) deadline(d time.Duration) {
	_ = s.SetReadDeadline(time.Now().Add(d))
}

func (s *stream) wantEOF() {
	s.Helper()
	s.deadline(20 * time.Second)
	b := make([]byte, 64)
	if n, err := s.Read(b); n > 0 || !errors.Is(err, io.EOF) {
		s.Fatalf("read % x, %v; want the end of the stream", b[:n], err)
	}
}

// wantReset reads to the reset of the stream.
func (s *stream) wantReset(code wire.Code) {
	s.Helper()
	s.deadline(20 * time.Second)
	b := make([]byte, 64)
	n, err := s.Read(b)
	e, ok := errors.AsType[*transport.StreamError](err)
	if n > 0 || !ok || !e.Remote || e.Code != uint32(code) {
		s.Fatalf("read % x, %v; want a reset with %d", b[:n], err, code)
	}
}

// wantStop waits for STOP_SENDING.
func (s *stream) wantStop(code wire.Code) {
	s.Helper()
	select {
	case <-s.Stopped():
	case <-time.After(20 * time.Second):
		s.Fatalf("the stream was not stopped, want %d", code)
	}
	e, ok := errors.AsType[*transport.StreamError](s.StopCode())
	if !ok || !e.Remote || e.Code != uint32(code) {
		s.Fatalf("the stream was stopped with %v, want %d", s.StopCode(), code)
	}
}

// wantSilence holds that nothing is read for a time.
func (s *stream) wantSilence(d time.Duration) {
	s.Helper()
	s.deadline(d)
	b := make([]byte, 64)
	if n, err := s.Read(b); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		s.Fatalf("read % x, %v; want nothing", b[:n], err)
	}
}

// wantResetAfterData reads whatever there is to the reset of the stream.
func (s *stream) wantResetAfterData(code wire.Code) {
	s.Helper()
	s.deadline(20 * time.Second)
	n, err := io.Copy(io.Discard, s)
	e, ok := errors.AsType[*transport.StreamError](err)
	if !ok || !e.Remote || e.Code != uint32(code) {
		s.Fatalf("read %d bytes, %v; want a reset with %d", n, err, code)
	}
}
