package transfork

import (
	"context"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// Session speaks MoqTransfork on one connection.
type Session struct {
	*base.Base

	// Written before the handshake is done, not later.
	mark   string
	marked bool          // the peer is one of ours and has none of the old defects
	isNode bool          // it belongs to the cluster
	pace   *session.Pace // of a node's control messages; nil: it is a client

	mu        sync.Mutex
	upstreams map[moq.Path]*upstream
	receiving map[wire.SubscribeID]*upstream
	nextID    wire.SubscribeID
}

var _ session.Session = (*Session)(nil)

// Server returns the session of a connection that was accepted.
func Server(conn transport.Conn, c session.Config) session.Session { return newSession(conn, c, false) }

// Client returns the session of a connection that was dialled.
func Client(conn transport.Conn, c session.Config) session.Session { return newSession(conn, c, true) }

func newSession(conn transport.Conn, c session.Config, isClient bool) *Session {
	return &Session{
		Base:      base.New(conn, c, isClient, codes{}),
		upstreams: make(map[moq.Path]*upstream),
		receiving: make(map[wire.SubscribeID]*upstream),
	}
}

// Run does the handshake and serves the peer until the session ends.
func (s *Session) Run(ctx context.Context) error { return s.Base.Run(ctx, s.serve) }

// serve blocks for as long as the connection lives.
func (s *Session) serve() {
	began := time.Now()
	first, err := s.handshake()
	if err != nil {
		s.Fail(err)
		return
	}
	peer, mark := metrics.Client, s.mark
	s.isNode = s.Config.Know(mark)
	if s.isNode {
		s.pace = session.NewPace(s.Config.Limits)
	}
	if s.isPeer() {
		peer = metrics.Node
	}
	if !s.isNode && !s.IsClient {
		mark = "" // anybody can give one
	}
	s.Opened(metrics.Transfork, peer, mark, time.Since(began))
	s.Spawn(func() { s.watchSessionStream(first) })
	if s.Config.In != nil {
		s.Spawn(s.askAnnouncements)
	}
	s.Spawn(func() { s.AcceptUni(s.receiveGroup) })
	s.AcceptRequests(s.serveRequest)
}

// AdmitControl waits until a control message may be read, and reports whether the
// session is still there then. A node is slowed down and never cut off.
func (s *Session) AdmitControl() bool {
	if s.IsReady() && s.pace != nil {
		return s.pace.Wait(s.Conn.Context())
	}
	return s.Base.AdmitControl()
}

// GoAway ends the Announce streams that the peer has opened, and the asking
// direction of our own at a client: a publisher learns by it that it should
// announce elsewhere. What it has announced here stands until its session ends.
//
// MoqTransfork has no GOAWAY. The nearest to one is the end of the Announce
// streams: who ends the answering direction has nothing to offer any more, and
// who ends the asking direction takes nothing any more. moq-relay 0.6.8 does
// neither while its session lives, and bears both.
func (s *Session) GoAway() { s.Base.GoAway() }

// peerLeaves notes that the peer has ended an Announce stream. A client only
// withdraws what it published.
func (s *Session) peerLeaves() { s.PeerLeaves(s.IsClient || s.isPeer()) }
