// Package server is where connections come in: it accepts them on UDP and TCP,
// bounds their number, runs their sessions, stops them gracefully and answers
// over HTTP what people and machines ask about the relay. It stands above
// session; who a peer is and what it may do is decided in package cluster.
//
// What always holds: a slow or broken connection holds up nobody else; whatever
// a session does ends that session at most; probes depend on nothing but this
// process; and what is private is served on the private listener alone.
package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// Application codes that end a session here.
const (
	codeCancel   = 0
	codeInternal = 4
)

// Config is what a server needs. Public and Private may be nil.
type Config struct {
	// Endpoint accepts connections.
	Endpoint *transport.Endpoint
	// Public and Private are TCP listeners; the server closes them.
	Public, Private net.Listener
	// TLS is for TLS clients on Public.
	TLS *tls.Config
	// MaxSessions bounds the sessions.
	MaxSessions int
	// DrainTimeout bounds the graceful stop.
	DrainTimeout time.Duration
	// Serve runs the session of a connection until it ends, and calls begun
	// before.
	Serve func(ctx context.Context, conn transport.Conn, log *slog.Logger, begun func(session.Session)) error
	// Withdraw takes this node's presence back, first thing in a stop.
	Withdraw func()
	// Links are the sessions with other nodes that this one dialled.
	Links func() []session.Session
	// Moved tells whether all that clients publish here is to be had at another
	// node as well.
	Moved func() bool
	// Fingerprint returns the SHA-256 of the leaf served to clients that ask
	// for host.
	Fingerprint func(host string) string
	// PeerName returns the name of the node that gave this mark, "" for a client.
	PeerName func(mark string) string
	// Table has what is announced, and Visible says what of it anyone may see and
	// fetch over HTTP.
	Table   *origin.Table
	Visible func(origin.Announcement) bool
	// Node and Broadcasts answer the private paths of those names.
	Node       func() NodeInfo
	Broadcasts func() []BroadcastInfo
	Metrics    *metrics.Relay
	Log        *slog.Logger
}

// Server accepts connections and runs their sessions.
type Server struct {
	Config
	started  time.Time
	sessions registry
	draining atomic.Pointer[time.Time] // when the graceful stop began
	drain    chan struct{}             // closed by Drain
	asking   chan struct{}             // holds one token for each that ask answers
	once     sync.Once
}

// New returns a server that Run starts.
func New(c Config) *Server {
	return &Server{
		Config:   c,
		started:  time.Now(),
		sessions: registry{open: make(map[string]*entry)},
		drain:    make(chan struct{}),
		asking:   make(chan struct{}, maxAsking),
	}
}

// Run serves until ctx is done, then stops gracefully: it withdraws what is
// announced, gives sessions DrainTimeout to finish, closes them and returns. A
// second context, hard, cuts that short. After Drain it does the same, but stays
// for probes and questions until ctx is done: whoever supervises the process
// would only start it again.
func (s *Server) Run(ctx, hard context.Context) error {
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(hard, cancel)
	defer stop()

	group, live := errgroup.WithContext(live)
	if s.Public != nil {
		listener := split(patient(s.Public, s.Log), s.TLS)
		group.Go(func() error {
			defer s.awaitAsked()
			defer func() { _ = listener.Close() }()
			return serveHTTP(live, listener, s.publicHandler(), publicTimeout, listener.track)
		})
	}
	if s.Private != nil {
		group.Go(func() error { return serveHTTP(live, patient(s.Private, s.Log), s.privateHandler(), 0, nil) })
	}
	group.Go(func() error { return s.accept(live) })
	group.Go(func() error {
		defer cancel()
		select {
		case <-ctx.Done():
		case <-s.drain:
		case <-live.Done():
			return nil
		}
		if hard.Err() == nil { // else live is about to end, and nobody is to be told
			s.stopGracefully(live)
		}
		select {
		case <-ctx.Done():
		case <-live.Done():
		}
		return nil
	})
	return group.Wait()
}

// Drain begins the graceful stop. Run goes on until its context is done.
func (s *Server) Drain() { s.once.Do(func() { close(s.drain) }) }

// accept runs a session for every connection until ctx is done, and returns
// when all of them have ended.
func (s *Server) accept(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := s.Endpoint.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if reason, text := s.refusal(); reason != "" {
			s.Metrics.SessionRefused(reason)
			wg.Go(func() { _ = conn.CloseWithError(codeInternal, text) })
			continue
		}
		wg.Go(func() { s.serve(ctx, conn) })
	}
}

// serve runs one session, and writes the line about it when it has ended.
func (s *Server) serve(ctx context.Context, conn transport.Conn) {
	e := s.sessions.add(conn)
	defer s.sessions.remove(e)
	conn.Qlog().Keep()
	log := s.Log.With("session", e.id)
	log.Debug("session accepted", "peer", conn.RemoteAddr().String(), "transport", conn.Kind().String(), "protocol", conn.Protocol())
	err := s.Serve(ctx, conn, log, func(sess session.Session) { s.begin(e, sess) })
	log.Debug("session ended", "peer", conn.RemoteAddr().String(), "duration", time.Since(e.since).Round(time.Millisecond), "reason", err)
}
