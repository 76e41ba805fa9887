package transfork

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

const (
	// requestTimeout is how long a stream may take to say what it is for.
	requestTimeout = 10 * time.Second
	// tickInterval is how often what cannot wait for the next group is looked
	// after while there are subscriptions.
	tickInterval = 250 * time.Millisecond
	// sampleInterval is how often the state of the connection is counted.
	sampleInterval = 10 * time.Second
)

// errClosed is why a session has ended that was closed here.
var errClosed = errors.New("session closed")

// Session speaks MoqTransfork on one connection.
type Session struct {
	// Static after construction.
	conn     transport.Conn
	config   session.Config
	isClient bool // dialled the connection
	log      *slog.Logger
	control  *limiter
	ready    chan struct{} // closed when the handshake is done

	goingAway chan struct{} // closed when the peer has said so
	goOnce    sync.Once     // closes goingAway

	// Written before ready is closed, not later.
	mark    string
	marked  bool // the peer is one of ours and has none of the old defects
	kind    metrics.SessionKind
	traffic *metrics.Traffic

	published atomic.Int64 // paths that the peer announces
	interests atomic.Int64

	wg sync.WaitGroup // all goroutines but Run's own; see spawn

	mu         sync.Mutex
	ended      bool  // no goroutine starts any more
	cause      error // why the session ended, if that was decided here
	upstreams  map[moq.Path]*upstream
	receiving  map[wire.SubscribeID]*upstream
	nextID     wire.SubscribeID
	serving    map[wire.SubscribeID]*downstream
	requests   int // open subscriptions, fetches and requests for info of the peer
	ranks      ranks
	ticker     *time.Timer   // calls tick while there are subscriptions
	fewer      chan struct{} // holds 1: serving has shrunk
	sampler    *time.Timer   // calls sample
	leaving    stage         // the peer is told to go away
	draining   stage         // nothing new is served
	connection *metrics.Connection
}

var _ session.Session = (*Session)(nil)

// Server returns the session of a connection that was accepted.
func Server(conn transport.Conn, c session.Config) session.Session { return newSession(conn, c, false) }

// Client returns the session of a connection that was dialled.
func Client(conn transport.Conn, c session.Config) session.Session { return newSession(conn, c, true) }

func newSession(conn transport.Conn, c session.Config, isClient bool) *Session {
	c = c.WithDefaults()
	return &Session{
		conn:      conn,
		config:    c,
		isClient:  isClient,
		log:       c.Log,
		control:   newLimiter(c.Limits, time.Now()),
		ready:     make(chan struct{}),
		goingAway: make(chan struct{}),
		upstreams: make(map[moq.Path]*upstream),
		receiving: make(map[wire.SubscribeID]*upstream),
		serving:   make(map[wire.SubscribeID]*downstream),
		fewer:     make(chan struct{}, 1),
	}
}

// Run does the handshake and serves the peer until the session ends.
func (s *Session) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		s.end(context.Canceled, wire.CodeCancel, "")
	})
	err := session.Guard(func() { s.serve() })
	if err != nil {
		s.fail(err)
	}
	if !stop() {
		<-stopped
	}
	s.end(errClosed, wire.CodeCancel, "") // unless it has ended already
	s.stopTimers()
	s.wg.Wait()

	err = s.why()
	s.count(err)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// serve blocks for as long as the connection lives.
func (s *Session) serve() {
	began := time.Now()
	first, err := s.handshake()
	if err != nil {
		s.fail(err)
		return
	}
	s.opened(time.Since(began))
	s.spawn(func() { s.watchSessionStream(first) })
	if s.config.In != nil {
		s.spawn(s.askAnnouncements)
	}
	s.spawn(s.acceptGroups)
	s.acceptRequests()
}

// opened notes that the handshake is done.
func (s *Session) opened(took time.Duration) {
	peer := metrics.Client
	if s.isPeer() {
		peer = metrics.Node
	}
	s.kind = metrics.SessionKind{Protocol: metrics.Transfork, Transport: s.conn.Kind().String(), Peer: peer}
	s.traffic = s.config.Metrics.Traffic(peer)
	s.config.Handshaken(s.mark)
	s.config.Metrics.SessionOpened(s.kind, took)
	s.mu.Lock()
	s.connection = s.traffic.Connection()
	s.sampler = time.AfterFunc(sampleInterval, s.sample)
	s.mu.Unlock()
	close(s.ready)
}

// stopTimers has no further goroutine start.
func (s *Session) stopTimers() {
	s.mu.Lock()
	s.ended = true
	if s.ticker != nil {
		s.ticker.Stop()
	}
	sampler := s.sampler
	s.mu.Unlock()
	if sampler != nil {
		sampler.Stop()
		s.sample()
	}
}

// spawn runs f in a goroutine that Run waits for, and reports whether it did:
// there are none after the end.
func (s *Session) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.wg.Go(func() {
		if err := session.Guard(f); err != nil {
			s.fail(err)
		}
	})
	return true
}

// fail ends the session because of err, which is not the connection's own end.
func (s *Session) fail(err error) {
	if p, ok := errors.AsType[*session.PanicError](err); ok {
		s.config.Metrics.Panicked()
		s.log.Error("session panicked", "error", p, "stack", string(p.Stack))
		s.end(err, wire.CodeTransport, "internal error")
		return
	}
	code := codeOf(err)
	if e, ok := errors.AsType[*protocolError](err); ok {
		code = e.code
	}
	s.end(err, code, err.Error())
}

// end closes the connection, unless that has happened already.
func (s *Session) end(cause error, code wire.Code, reason string) {
	s.mu.Lock()
	if s.cause == nil && s.conn.Context().Err() == nil {
		s.cause = cause
	}
	s.mu.Unlock()
	_ = s.conn.CloseWithError(uint32(code), reason) // the first close counts, and nobody is left to tell
}

// why returns what ended the session.
func (s *Session) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return s.cause
	}
	return context.Cause(s.conn.Context())
}

// Close ends the session with a code.
func (s *Session) Close(code uint32, reason string) {
	s.end(errClosed, wire.Code(code), reason)
}

// Node returns the peer's mark.
func (s *Session) Node() string {
	if !s.isReady() {
		return ""
	}
	return s.mark
}

// Ready is closed when the handshake is done.
func (s *Session) Ready() <-chan struct{} { return s.ready }

func (s *Session) isReady() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// Stats counts what goes on.
func (s *Session) Stats() session.Stats {
	st := session.Stats{Publishes: int(s.published.Load())}
	for _, d := range s.servingNow() {
		bytes, _ := d.sub.Queued()
		st.QueuedBytes += bytes
		st.Subscriptions++
	}
	return st
}

// admitControl waits until a control message may be read, and reports whether
// the session is still there then.
func (s *Session) admitControl() bool {
	wait, ok := s.control.take(time.Now())
	switch {
	case !ok:
		s.fail(overLimit("control messages arrive too fast"))
		return false
	case wait <= 0:
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.conn.Context().Done():
		return false
	}
}

// settleTime is how long after the end of a stream the last streams that were
// sent before it may still be on their way.
func (s *Session) settleTime() time.Duration {
	return 2*s.conn.Stats().SmoothedRTT + 25*time.Millisecond
}
