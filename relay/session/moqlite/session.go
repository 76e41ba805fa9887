package moqlite

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// Session speaks moq-lite on one connection.
type Session struct {
	*base.Base

	// Written before the handshake is done, not later.
	version wire.Version
	root    moq.Path      // what the peer's paths are below
	pace    *session.Pace // of a node's control messages; nil: it is a client
	control *base.Reader  // the Session stream of lite-01 and lite-02

	hasSetup  atomic.Bool                // SETUP has begun to come
	setup     atomic.Pointer[wire.Setup] // what the peer has said, nil before
	told      chan struct{}              // closed when setup is there
	toldPaths atomic.Int64               // that the peer knows, by all Announce streams
	silent    atomic.Uint64              // bytes received when nothing came any more; see Doubt

	// Written before requests are served, not later.
	mailbox *moq.Mailbox // datagrams for the peer; nil: it takes none

	mu         sync.Mutex
	upstreams  map[moq.Path]*upstream
	receiving  map[uint64]*upstream // by subscribe id
	fetches    map[fetchKey]*fetch
	infos      map[moq.Path]moq.Info   // what the peer has said of its tracks
	publishers map[moq.Path]origin.Hop // of what the peer announces, where they are known
	nextID     uint64
}

var _ session.Session = (*Session)(nil)

// Speaks tells whether a connection with a token is one of moq-lite: an ALPN, or
// a subprotocol of WebTransport or WebSocket. One without any begins in lite-02
// or lite-01.
func Speaks(token string) bool {
	_, ok := wire.ParseToken(token)
	return ok || token == wire.TokenInBand
}

// KnowsHops tells whether announcements in the version of a token carry hops by
// their numbers.
func KnowsHops(token string) bool {
	v, ok := wire.ParseToken(token)
	return ok && v >= wire.Version04
}

// InBand is the token of lite-01 and lite-02.
const InBand = wire.TokenInBand

// Tokens are all that Speaks takes, the most wanted first.
func Tokens() []string {
	var all []string
	for v := wire.Version06; v >= wire.Version03; v-- {
		all = append(all, v.Token())
	}
	return append(all, wire.TokenInBand)
}

// Server returns the session of a connection that was accepted.
func Server(conn transport.Conn, c session.Config) session.Session { return newSession(conn, c, false) }

// Client returns the session of a connection that was dialled.
func Client(conn transport.Conn, c session.Config) session.Session { return newSession(conn, c, true) }

func newSession(conn transport.Conn, c session.Config, isClient bool) *Session {
	s := &Session{
		told:       make(chan struct{}),
		upstreams:  make(map[moq.Path]*upstream),
		receiving:  make(map[uint64]*upstream),
		fetches:    make(map[fetchKey]*fetch),
		infos:      make(map[moq.Path]moq.Info),
		publishers: make(map[moq.Path]origin.Hop),
	}
	s.version, _ = wire.ParseToken(conn.Protocol()) // zero: to be settled in the handshake
	s.Base = base.New(conn, c, isClient, codes{s.version})
	return s
}

// Run does the handshake and serves the peer until the session ends.
func (s *Session) Run(ctx context.Context) error { return s.Base.Run(ctx, s.serve) }

// serve blocks for as long as the connection lives.
func (s *Session) serve() {
	began := time.Now()
	mark, err := s.handshake()
	if err != nil {
		s.Fail(err)
		return
	}
	peer, mark := s.identify(mark)
	s.Opened(metrics.Protocol(s.version.String()), peer, mark, time.Since(began))
	if s.control != nil {
		s.Spawn(s.watchSessionStream)
	}
	if s.Config.In != nil {
		s.Spawn(s.askAnnouncements)
	}
	if s.version.HasDatagrams() && s.Conn.TakesDatagrams() {
		s.mailbox = moq.NewMailbox()
		s.Spawn(s.receiveDatagrams)
		s.Spawn(s.sendDatagrams)
	}
	defer s.OnLeave(s.sendGoaway)()
	s.AcceptRequests(s.serveRequest)
}

// identify settles what the peer is by its mark, and what that mark is worth:
// anybody can give one.
func (s *Session) identify(mark string) (metrics.Peer, string) {
	if !s.Config.Know(mark) {
		if s.IsClient {
			return metrics.Client, mark
		}
		return metrics.Client, ""
	}
	s.pace = session.NewPace(s.Config.Limits)
	if mark == "" && !s.IsClient {
		return metrics.Client, "" // it speaks as one
	}
	return metrics.Node, mark
}

// AdmitControl waits until a control message may be read, and reports whether the
// session is still there then. A node is slowed down and never cut off.
func (s *Session) AdmitControl() bool {
	if s.IsReady() && s.pace != nil {
		return s.pace.Wait(s.Conn.Context())
	}
	return s.Base.AdmitControl()
}

// setupNow returns what the peer has said in SETUP, which may be nothing yet.
func (s *Session) setupNow() wire.Setup {
	if setup := s.setup.Load(); setup != nil {
		return *setup
	}
	return wire.Setup{}
}

// peerHop is the hop of the peer, 0 if it has none.
func (s *Session) peerHop() origin.Hop { return origin.Hop(s.setupNow().Hop) }
