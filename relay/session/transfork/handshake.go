package transfork

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

const (
	// maxMark bounds the mark of a peer.
	maxMark = 256
	// closeWait is how long after its streams a WebTransport session may end.
	closeWait = 500 * time.Millisecond
)

// handshake exchanges SESSION_CLIENT and SESSION_SERVER, and returns the
// Session stream.
func (s *Session) handshake() (*base.Reader, error) {
	deadline := s.Conn.Since().Add(s.Config.HandshakeTimeout)
	ctx, cancel := context.WithDeadlineCause(s.Conn.Context(), deadline, base.ErrHandshakeTimeout)
	defer cancel()
	shake := s.handshakeServer
	if s.IsClient {
		shake = s.handshakeClient
	}
	r, err := shake(ctx, deadline)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, base.ErrHandshakeTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &base.Violation{Fault: base.Protocol, Text: "Session stream ended in the handshake"}
	case err != nil:
		return nil, err
	}
	return r, nil
}

// handshakeServer answers the client, whose first bidirectional stream is the
// Session stream.
func (s *Session) handshakeServer(ctx context.Context, deadline time.Time) (*base.Reader, error) {
	stream, err := s.Conn.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := base.SetDeadline(stream, deadline); err != nil {
		return nil, err
	}
	r := base.NewReader(stream)
	typ, err := base.Next(r, wire.ConsumeStreamType)
	if err != nil {
		return nil, err
	}
	if typ != wire.StreamSession {
		return nil, &base.Violation{Fault: base.Protocol, Text: fmt.Sprintf("first stream has type %d, want Session", typ)}
	}
	hello, err := base.Next(r, wire.ConsumeSessionClient)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(hello.Versions, wire.Version02) {
		refuse(stream, wire.CodeVersion)
		return nil, &base.Violation{Fault: base.Version, Text: fmt.Sprintf("no common version, this is %#x", uint64(wire.Version02))}
	}
	if err := s.takeMark(hello.Extensions); err != nil {
		return nil, err
	}
	answer := wire.SessionServer{Version: wire.Version02}
	if s.marked { // others see exactly the bytes of moq-relay 0.6.8
		answer.Extensions = s.extensions()
	}
	stream.SetPriority(base.ControlUrgency, false)
	if _, err := stream.Write(answer.Append(nil)); err != nil {
		return nil, err
	}
	return r, base.SetDeadline(stream, time.Time{})
}

// handshakeClient opens the Session stream. No other bidirectional stream may
// be opened before the answer: over WebTransport the server may see them in
// another order.
func (s *Session) handshakeClient(ctx context.Context, deadline time.Time) (*base.Reader, error) {
	stream, err := s.Conn.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := base.SetDeadline(stream, deadline); err != nil {
		return nil, err
	}
	hello := wire.SessionClient{Versions: []wire.Version{wire.Version02}, Extensions: s.extensions()}
	stream.SetPriority(base.ControlUrgency, false)
	if _, err := stream.Write(hello.Append(wire.StreamSession.Append(nil))); err != nil {
		return nil, err
	}
	r := base.NewReader(stream)
	answer, err := base.Next(r, wire.ConsumeSessionServer)
	if err != nil {
		return nil, err
	}
	if answer.Version != wire.Version02 {
		return nil, &base.Violation{Fault: base.Version, Text: fmt.Sprintf("server chose version %#x, offered was %#x", uint64(answer.Version), uint64(wire.Version02))}
	}
	if err := s.takeMark(answer.Extensions); err != nil {
		return nil, err
	}
	return r, base.SetDeadline(stream, time.Time{})
}

func (s *Session) extensions() wire.Extensions {
	if s.Config.Node == "" {
		return nil
	}
	return wire.Extensions{{ID: wire.ExtensionNode, Value: []byte(s.Config.Node)}}
}

// takeMark learns from the peer's extensions whether it is one of ours.
func (s *Session) takeMark(x wire.Extensions) error {
	mark, ok := x.Value(wire.ExtensionNode)
	if !ok {
		return nil
	}
	if len(mark) > maxMark || !utf8.Valid(mark) {
		return &base.Violation{Fault: base.Protocol, Text: "node name in the handshake is no name"}
	}
	s.mark, s.marked = string(mark), true
	return nil
}

// isPeer tells whether the other end is a node of the cluster that says so.
func (s *Session) isPeer() bool { return s.isNode && (s.marked || s.IsClient) }

// watchSessionStream reads the Session stream after the handshake. Its end is
// the end of the session.
func (s *Session) watchSessionStream(r *base.Reader) {
	for {
		// SESSION_UPDATE, which moq-relay 0.6.8 takes for something else and dies of.
		_, err := base.Next(r, wire.ConsumeSessionUpdate)
		switch {
		case err == nil:
			if !s.AdmitControl() {
				return
			}
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			s.endByPeer(wire.CodeCancel, "cancelled")
			return
		default:
			if e, ok := errors.AsType[*transport.StreamError](err); ok && e.Remote && !s.endsSoon() {
				s.endByPeer(wire.CodeTransport, "Session stream was reset")
			}
			return // the connection has ended, and AcceptRequests sees to that
		}
	}
}

// endsSoon reports whether the connection ends together with its streams. Over
// WebTransport a close resets the streams first, and says why a moment later.
func (s *Session) endsSoon() bool {
	if s.Conn.Kind() != transport.WebTransport {
		return false
	}
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-s.Conn.Context().Done():
		return true
	case <-timer.C:
		return false
	}
}

// endByPeer ends the session because the peer ended the Session stream.
func (s *Session) endByPeer(code wire.Code, reason string) {
	s.End(&transport.CloseError{Code: uint32(code), Reason: reason, Remote: true}, uint32(code), reason)
}

// refuse ends both directions of a stream.
func refuse(stream transport.Stream, code wire.Code) {
	stream.CancelWrite(uint32(code))
	stream.CancelRead(uint32(code))
}
