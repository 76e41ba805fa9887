package moqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	common "github.com/moqrelay/moqrelay/relay/wire"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// creditPoll is how often a stream is tried again to open for which there is no
// credit.
const creditPoll = 10 * time.Millisecond

// handshake settles the version, if the token has not, and exchanges SETUP where
// the version has it. It returns the mark of the peer.
func (s *Session) handshake() (mark string, err error) {
	deadline := s.Conn.Since().Add(s.Config.HandshakeTimeout)
	ctx, cancel := context.WithDeadlineCause(s.Conn.Context(), deadline, base.ErrHandshakeTimeout)
	defer cancel()
	if err := s.setRoot(s.Conn.Path()); err != nil {
		return "", err
	}
	if s.version == 0 {
		err = s.handshakeInBand(ctx, deadline)
	} else {
		err = s.handshakeToken(ctx)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", base.ErrHandshakeTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "", &base.Violation{Fault: base.Protocol, Text: "the stream of CLIENT_SETUP ended"}
	case err != nil:
		return "", err
	}
	return s.setupNow().Node, nil
}

// setRoot takes the path of a request, with its query, as what the paths of a
// client are below.
func (s *Session) setRoot(path string) error {
	if s.IsClient || path == "" {
		return nil
	}
	root, ok := parseRoot(path)
	if !ok {
		return &base.Violation{Fault: base.Protocol, Text: fmt.Sprintf("path %q of the request is none", path)}
	}
	s.root = root
	return nil
}

// parseRoot reads the path of a request. Its parts stay escaped, as others have
// them: decoded, "a%2Fb" would be two parts. What a browser would have resolved
// before it asked is no path.
func parseRoot(path string) (moq.Path, bool) {
	if strings.HasPrefix(path, "?") {
		path = "/" + path // of a URL that has a query and no path
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || path[0] != '/' {
		return moq.Path{}, false
	}
	root := moq.ParsePath(u.EscapedPath())
	for part := range root.All() {
		if !isPlain(strings.ReplaceAll(strings.ToLower(part), "%2e", ".")) {
			return moq.Path{}, false
		}
	}
	return root, true
}

// handshakeToken goes on in the version of the token. A server needs what the
// client says in SETUP: on raw QUIC that is where its path is. A client goes on
// without, unless it has to know which node it has reached.
func (s *Session) handshakeToken(ctx context.Context) error {
	s.Spawn(func() { s.AcceptUni(s.receiveUni) })
	if !s.version.HasSetup() {
		return nil
	}
	if err := s.sendSetup(ctx); err != nil {
		return err
	}
	if s.IsClient && s.Config.Class != origin.Peer && !s.Config.KnowPeer {
		return nil
	}
	select {
	case <-s.told:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sendSetup tells the peer of us, on a stream of its own.
func (s *Session) sendSetup(ctx context.Context) error {
	stream, err := s.openUni(ctx)
	if err != nil {
		return err
	}
	stream.SetPriority(base.ControlUrgency, false)
	setup := wire.Setup{Probe: wire.ProbeReport, Hop: uint64(s.Config.Hop), Node: s.Config.Node}
	if s.IsClient && s.Conn.Kind() == transport.QUIC && s.Config.RequestPath != "" {
		setup.Path, setup.HasPath = s.Config.RequestPath, true // elsewhere the request has told it
	}
	if _, err := stream.Write(setup.Append(wire.StreamSetup.Append(nil))); err != nil {
		return err
	}
	return stream.Close()
}

// openUni opens a stream as soon as there is credit for one.
func (s *Session) openUni(ctx context.Context) (transport.SendStream, error) {
	ticker := time.NewTicker(creditPoll)
	defer ticker.Stop()
	for {
		stream, err := s.Conn.OpenUniStream()
		if !errors.Is(err, transport.ErrNoCredit) {
			return stream, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// takeSetup learns what the peer says of itself. Violations end the session.
func (s *Session) takeSetup(stream transport.ReceiveStream, r *base.Reader) {
	if !s.hasSetup.CompareAndSwap(false, true) {
		s.Fail(&base.Violation{Fault: base.Protocol, Text: "a second SETUP"})
		return
	}
	setup, err := base.Next(r, wire.ConsumeSetup)
	switch {
	case err != nil:
		s.Fail(&base.Violation{Fault: base.Protocol, Text: fmt.Sprintf("SETUP: %v", err)})
		return
	case s.IsClient && (setup.HasPath || setup.HasRole):
		s.Fail(&base.Violation{Fault: base.Protocol, Text: "SETUP of a server with a path or a role"})
		return
	case setup.HasPath && s.Conn.Kind() != transport.QUIC:
		s.Fail(&base.Violation{Fault: base.Protocol, Text: "SETUP with a path, which the request had already"})
		return
	}
	if err := s.setRoot(setup.Path); err != nil {
		s.Fail(err)
		return
	}
	s.setup.Store(&setup)
	close(s.told)
	_ = s.AwaitLeave(r) // the FIN, which gives the credit for the stream back
	stream.CancelRead(s.Codes.Stream(moq.ErrCancelled))
}

// handshakeInBand settles on lite-02 or lite-01 by the first stream of the
// client, which stays open as the Session stream.
func (s *Session) handshakeInBand(ctx context.Context, deadline time.Time) error {
	shake := s.acceptInBand
	if s.IsClient {
		shake = s.offerInBand
	}
	stream, err := shake(ctx, deadline)
	if err != nil {
		return err
	}
	s.Spawn(func() { s.AcceptUni(s.receiveUni) })
	return base.SetDeadline(stream, time.Time{})
}

func (s *Session) acceptInBand(ctx context.Context, deadline time.Time) (transport.Stream, error) {
	stream, err := s.Conn.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := base.SetDeadline(stream, deadline); err != nil {
		return nil, err
	}
	s.control = base.NewReader(stream)
	typ, err := base.Next(s.control, wire.ConsumeStreamType)
	if err != nil {
		return nil, err
	}
	if typ != wire.StreamClientSetup {
		return nil, &base.Violation{Fault: base.Protocol, Text: fmt.Sprintf("first stream has type %d, want CLIENT_SETUP", typ)}
	}
	hello, err := base.Next(s.control, wire.ConsumeClientSetup)
	if err != nil {
		return nil, err
	}
	for _, code := range hello.Versions {
		v, ok := wire.ParseCode(code)
		if !ok {
			continue
		}
		s.version = v
		stream.SetPriority(base.ControlUrgency, false)
		answer := wire.ServerSetup{Version: code, VarintLength: hello.VarintLength}
		_, err := stream.Write(answer.Append(wire.StreamServerSetup.Append(nil)))
		return stream, err
	}
	return nil, &base.Violation{Fault: base.Version, Text: fmt.Sprintf("no common version among %#x", hello.Versions)}
}

func (s *Session) offerInBand(ctx context.Context, deadline time.Time) (transport.Stream, error) {
	stream, err := s.Conn.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := base.SetDeadline(stream, deadline); err != nil {
		return nil, err
	}
	stream.SetPriority(base.ControlUrgency, false)
	hello := wire.ClientSetup{Versions: []uint64{wire.Version02.Code(), wire.Version01.Code()}}
	if _, err := stream.Write(hello.Append(wire.StreamClientSetup.Append(nil))); err != nil {
		return nil, err
	}
	s.control = base.NewReader(stream)
	typ, err := base.Next(s.control, wire.ConsumeStreamType)
	if err != nil {
		return nil, err
	}
	if typ != wire.StreamServerSetup {
		return nil, &base.Violation{Fault: base.Protocol, Text: fmt.Sprintf("answer has type %d, want SERVER_SETUP", typ)}
	}
	answer, err := base.Next(s.control, wire.ConsumeServerSetup)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(hello.Versions, answer.Version) {
		return nil, &base.Violation{Fault: base.Version, Text: fmt.Sprintf("server chose version %#x, offered were %#x", answer.Version, hello.Versions)}
	}
	s.version, _ = wire.ParseCode(answer.Version)
	return stream, nil
}

// watchSessionStream reads the Session stream of lite-01 and lite-02 after the
// handshake. Its end is the end of the session.
func (s *Session) watchSessionStream() {
	for {
		_, err := base.Next(s.control, wire.ConsumeSessionInfo)
		_, isReset := errors.AsType[*transport.StreamError](err)
		switch {
		case err == nil && s.AdmitControl():
			continue
		case errors.Is(err, common.ErrMalformed):
			s.Fail(err)
		case isReset, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			s.End(&transport.CloseError{Reason: "the Session stream ended", Remote: true}, s.Codes.Session(nil), "")
		default:
			s.AwaitEnd() // the connection knows why
		}
		return
	}
}
