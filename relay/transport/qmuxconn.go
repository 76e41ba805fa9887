package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/moqrelay/moqrelay/relay/qlog"
	"github.com/moqrelay/moqrelay/relay/wire/qmux"
)

const (
	// qmuxStreamWindow and qmuxConnWindow are what a peer may send ahead of what is
	// read. They do not grow.
	qmuxStreamWindow = 256 << 10
	qmuxConnWindow   = 1 << 20
	// qmuxUnlimited is the credit of a framing without any.
	qmuxUnlimited = math.MaxUint64
	// legacyStreams bounds the streams that we have open at once where the peer sets
	// no bound, so that there is back-pressure there as well.
	legacyStreams = 100
	// pingBurst and pingRate bound how often a peer may ask for an answer: that many
	// at once, and that many a second.
	pingBurst = 64
	pingRate  = 10
)

// qmuxLimits are what a peer may have us hold.
type qmuxLimits struct {
	streams                  [2]uint64 // by direction
	streamWindow, connWindow uint64
}

func newQmuxLimits(l Limits) qmuxLimits {
	l = l.withDefaults()
	q := qmuxLimits{[2]uint64{uint64(l.MaxStreams), uint64(l.MaxUniStreams)}, qmuxStreamWindow, qmuxConnWindow}
	if l.StreamWindow > 0 {
		q.streamWindow = l.StreamWindow
	}
	if l.ConnWindow > 0 {
		q.connWindow = l.ConnWindow
	}
	return q
}

// qmuxConn is a connection over a WebSocket: QMux, or the framing before it.
//
// One goroutine reads and one writes. The reader never waits for the writer, and
// waits for the application only in the framing that has no flow control. The
// writer takes what is most urgent into one record at a time and hands that to
// the socket before it makes the next one, so that a record is all that stands
// between a Write and the network.
type qmuxConn struct {
	// Static after construction.
	id       string
	ws       *websocket.Conn
	socket   *qmuxSocket
	version  qmux.Version
	client   bool
	protocol string
	path     string
	chain    []*x509.Certificate // of the peer, verified; nil for none
	since    time.Time
	limits   qmuxLimits
	timeouts timeouts
	ctx      context.Context //nolint:containedctx // it is the connection's lifetime, given out by Context
	end      context.CancelCauseFunc
	gone     context.Context //nolint:containedctx // the end of everything below, for calls of the library
	stop     context.CancelFunc
	done     chan struct{}    // closed when all goroutines have ended
	ready    chan struct{}    // closed when streams can be opened
	told     chan struct{}    // closed when the peer has been told of the end, or cannot be
	arrived  [2]chan struct{} // a token when a stream waits for Accept, by direction
	credit   chan struct{}    // a token when a bidirectional stream might be opened
	room     chan struct{}    // a token when a reader that waited may look again
	rewatch  chan struct{}    // a token when the timeouts have changed

	mu       sync.Mutex
	cause    *CloseError // how the connection ended, nil while it has not
	status   websocket.StatusCode
	writeErr error // of the socket
	peer     qmux.Parameters
	known    bool // peer has been received, or there is nothing to receive
	idle     time.Duration
	orders   uint64

	streams  map[uint64]*qmuxStream // those that one side still needs
	incoming [2][]*qmuxStream       // to be accepted

	// Streams by direction: ours, which we opened, may open and have open; the peer's, of
	// which we have seen ids below next except those skipped, may see and hold.
	opened, openLimit [2]uint64
	open              [2]uint64
	next, acceptLimit [2]uint64
	skipped           [2]map[uint64]struct{}
	held              [2]uint64

	sent, sendLimit               uint64 // stream data of the connection
	received, recvLimit, consumed uint64
	starved                       bool // streams left the queue for want of sendLimit
	queue                         qmuxQueue
	controls                      []*qmuxStream // with control frames to send
	owes                          qmuxOwed

	pings    pingLimiter
	lastPing uint64 // sequence, our last one
	pingSent time.Time
	peerPing uint64 // sequence, the peer's last one and one more
	rtt      time.Duration
	records  uint64
	lastSent time.Time
}

var _ Conn = (*qmuxConn)(nil)

// qmuxOwed are the control frames of the connection that are to be sent.
type qmuxOwed struct {
	parameters bool
	maxData    bool
	maxStreams [2]bool
	ping       bool
	responses  []uint64
	closing    []byte // the frame to end with, if any
	isClosing  bool
}

// qmuxSetup is what the two ways to get a WebSocket say about it.
type qmuxSetup struct {
	socket   *qmuxSocket
	ws       *websocket.Conn
	choice   choice
	client   bool
	path     string
	tls      *tls.ConnectionState
	since    time.Time
	limits   Limits
	timeouts timeouts
	rtt      time.Duration // a first estimate, or 0
}

// newQmuxConn starts a connection. It ends with CloseWithError, by the peer, or
// by the idle timeout.
func newQmuxConn(s qmuxSetup) *qmuxConn {
	c := &qmuxConn{
		id: newID(),
		ws: s.ws, socket: s.socket, version: s.choice.version, client: s.client,
		protocol: s.choice.token, path: s.path, since: s.since,
		limits: newQmuxLimits(s.limits), timeouts: s.timeouts, idle: s.timeouts.idle, rtt: s.rtt,
		done: make(chan struct{}), ready: make(chan struct{}), told: make(chan struct{}),
		arrived: [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)},
		credit:  make(chan struct{}, 1), room: make(chan struct{}, 1), rewatch: make(chan struct{}, 1),
		streams:  make(map[uint64]*qmuxStream),
		skipped:  [2]map[uint64]struct{}{make(map[uint64]struct{}), make(map[uint64]struct{})},
		lastSent: time.Now(),
	}
	if s.tls != nil && len(s.tls.VerifiedChains) > 0 {
		c.chain = s.tls.PeerCertificates
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	c.gone, c.stop = context.WithCancel(context.Background())
	c.ws.SetReadLimit(int64(c.version.MaxMessage()))
	c.recvLimit = c.limits.connWindow
	c.acceptLimit = c.limits.streams
	if c.version.HasCredit() {
		c.owes.parameters = true
	} else {
		c.sendLimit = qmuxUnlimited
		c.openLimit = [2]uint64{qmux.MaxStreamCount, qmux.MaxStreamCount}
		c.known = true
		close(c.ready)
	}
	c.socket.onPing = c.onPing
	c.socket.kick()
	go c.run() // ends with the connection; whoever closes it waits for done
	return c
}

func (c *qmuxConn) ID() string                     { return c.id }
func (c *qmuxConn) Qlog() *qlog.Trace              { return nil }
func (c *qmuxConn) Kind() Kind                     { return WebSocket }
func (c *qmuxConn) Protocol() string               { return c.protocol }
func (c *qmuxConn) Path() string                   { return c.path }
func (c *qmuxConn) RemoteAddr() net.Addr           { return c.socket.RemoteAddr() }
func (c *qmuxConn) LocalAddr() net.Addr            { return c.socket.LocalAddr() }
func (c *qmuxConn) Since() time.Time               { return c.since }
func (c *qmuxConn) PeerChain() []*x509.Certificate { return c.chain }
func (c *qmuxConn) Context() context.Context       { return c.ctx }

func (c *qmuxConn) PeerCertificate() *x509.Certificate {
	if len(c.chain) == 0 {
		return nil
	}
	return c.chain[0]
}

// Stats counts records where QUIC counts packets; what TCP sends again it does
// not tell.
func (c *qmuxConn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		SmoothedRTT:   c.rtt,
		PacketsSent:   c.records,
		BytesSent:     c.socket.sent.Load(),
		BytesReceived: c.socket.received.Load(),
	}
}

// TakesDatagrams is false: QMux as it is here does not offer them.
func (c *qmuxConn) TakesDatagrams() bool { return false }

// SendDatagram sends none.
func (c *qmuxConn) SendDatagram([]byte) error { return ErrNoDatagrams }

// ReceiveDatagram has none.
func (c *qmuxConn) ReceiveDatagram(context.Context) ([]byte, error) { return nil, ErrNoDatagrams }

// AcceptStream waits for the next bidirectional stream of the peer.
func (c *qmuxConn) AcceptStream(ctx context.Context) (Stream, error) {
	s, err := c.accept(ctx, bidi)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// AcceptUniStream waits for the next unidirectional stream of the peer.
func (c *qmuxConn) AcceptUniStream(ctx context.Context) (ReceiveStream, error) {
	s, err := c.accept(ctx, uni)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *qmuxConn) accept(ctx context.Context, dir int) (*qmuxStream, error) {
	for {
		if s, err := c.takeIncoming(dir); s != nil || err != nil {
			return s, err
		}
		select {
		case <-c.arrived[dir]:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-c.ctx.Done():
		}
	}
}

func (c *qmuxConn) takeIncoming(dir int) (*qmuxStream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return nil, c.cause
	}
	waiting := c.incoming[dir]
	if len(waiting) == 0 {
		return nil, nil //nolint:nilnil // there is none yet
	}
	s := waiting[0]
	waiting[0] = nil
	c.incoming[dir] = waiting[1:]
	if len(waiting) > 1 {
		notify(c.arrived[dir]) // for another one who waits
	}
	s.accepted = true
	c.forgetLocked(s)
	notify(c.room)
	return s, nil
}

// OpenStream opens a bidirectional stream and waits for the credit to do so.
func (c *qmuxConn) OpenStream(ctx context.Context) (Stream, error) {
	for {
		s, err := c.openStream(bidi)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, ErrNoCredit) {
			return nil, err
		}
		select {
		case <-c.credit:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-c.ctx.Done():
		}
	}
}

// OpenUniStream opens a unidirectional stream, or has no credit for it.
func (c *qmuxConn) OpenUniStream() (SendStream, error) {
	s, err := c.openStream(uni)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *qmuxConn) openStream(dir int) (*qmuxStream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cause != nil:
		return nil, c.cause
	case c.opened[dir] >= c.openLimit[dir], !c.version.HasCredit() && c.open[dir] >= legacyStreams:
		return nil, ErrNoCredit
	}
	id := c.opened[dir]<<2 | uint64(dir)<<1
	if !c.client {
		id |= 1
	}
	c.opened[dir]++
	c.open[dir]++
	if dir == bidi && c.opened[dir] < c.openLimit[dir] {
		notify(c.credit) // for another one who waits
	}
	return c.newStreamLocked(id, true), nil
}

func (c *qmuxConn) nextOrderLocked() uint64 {
	c.orders++
	return c.orders
}

// CloseWithError sends APPLICATION_CLOSE and then the close of the WebSocket.
func (c *qmuxConn) CloseWithError(code uint32, reason string) error {
	reason = shortReason(reason)
	frame := qmux.Frame{Type: qmux.ApplicationClose, Code: uint64(code), Reason: reason}
	c.fail(&CloseError{Code: code, Reason: reason}, websocket.StatusNormalClosure, frame.Append(nil, c.version))
	<-c.done
	return nil
}

// fail ends the connection, unless that has happened. A status is what the
// WebSocket ends with, 0 for a peer that is gone; frame is sent before it. It
// does not wait.
func (c *qmuxConn) fail(cause *CloseError, status websocket.StatusCode, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(cause, status, frame)
}

func (c *qmuxConn) failLocked(cause *CloseError, status websocket.StatusCode, frame []byte) {
	if c.cause != nil {
		return
	}
	c.cause, c.status = cause, status
	c.owes = qmuxOwed{closing: frame, isClosing: true}
	c.queue, c.controls, c.incoming = nil, nil, [2][]*qmuxStream{}
	for _, s := range c.streams {
		s.send.index = -1
		if s.send.err == nil {
			s.send.err = cause
		}
		s.stopLocked(cause)
		if s.recv.err == nil && !s.recv.done {
			s.recv.err = cause
		}
		s.recv.buf, s.recv.off = nil, 0
		s.recv.deadline.stop()
		notify(s.writable)
		notify(s.readable)
	}
	c.streams = make(map[uint64]*qmuxStream)
	c.end(cause)
	notify(c.room)
	c.socket.kick()
}

// run is the connection from its first byte to its last.
func (c *qmuxConn) run() {
	defer close(c.done)
	var running sync.WaitGroup
	running.Go(c.read)
	running.Go(c.write)
	c.watch(&running)
	c.hangUp()
	running.Wait()
}

// watch keeps a quiet connection alive and ends one whose peer is silent.
func (c *qmuxConn) watch(running *sync.WaitGroup) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.rewatch:
		case <-timer.C:
		}
		now := time.Now()
		c.mu.Lock()
		next, isSilent := c.silentAtLocked(now)
		if due := c.pingDueLocked(next); !isSilent && !now.Before(due) {
			c.pingLocked(now, running)
			next = earlier(next, c.pingDueLocked(next))
		} else {
			next = earlier(next, due)
		}
		idle := c.idle
		c.mu.Unlock()
		if isSilent {
			c.fail(&CloseError{Err: fmt.Errorf("%w: nothing heard for %v", ErrTimeout, idle)}, 0, nil)
			return
		}
		timer.Reset(time.Until(next))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// silentAtLocked says when the peer will have been silent for too long, and
// whether it has. One that we do not listen to is not silent.
func (c *qmuxConn) silentAtLocked(now time.Time) (time.Time, bool) {
	if c.isFullLocked() {
		return now.Add(c.idle), false
	}
	at := c.socket.heardOf().Add(c.idle)
	return at, !now.Before(at)
}

// pingDueLocked says when to ask the peer for a sign of life: when either side
// has been quiet for a while. It is never later than never.
func (c *qmuxConn) pingDueLocked(never time.Time) time.Time {
	if c.timeouts.keepAlive < 0 || !c.known {
		return never.Add(1)
	}
	quiet := earlier(c.socket.heardOf(), c.lastSent)
	if quiet.Before(c.pingSent) {
		quiet = c.pingSent
	}
	return quiet.Add(min(c.timeouts.keepAlive, c.idle/2))
}

// pingLocked asks the peer for a sign of life, with a QX_PING or, where there is
// none, a ping of the WebSocket.
func (c *qmuxConn) pingLocked(now time.Time, running *sync.WaitGroup) {
	c.pingSent = now
	if c.version.HasPings() {
		c.owes.ping = true
		c.socket.kick()
		return
	}
	running.Go(func() {
		ctx, cancel := context.WithTimeout(c.gone, c.timeouts.idle)
		defer cancel()
		if c.ws.Ping(ctx) == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.measuredLocked(time.Since(now))
		}
	})
}

// measuredLocked smooths a round trip as TCP does (RFC 6298, section 2).
func (c *qmuxConn) measuredLocked(rtt time.Duration) {
	if c.rtt == 0 {
		c.rtt = rtt
		return
	}
	c.rtt += (rtt - c.rtt) / 8
}

// hangUp tells the peer of the end, gives it a moment to answer, and ends
// everything else.
func (c *qmuxConn) hangUp() {
	defer c.stop()
	c.mu.Lock()
	status := c.status
	c.mu.Unlock()
	if status != 0 {
		late := time.AfterFunc(closeLinger, func() { _ = c.socket.Close() })
		<-c.told
		_ = c.ws.Close(status, "") // the connection ends in any case
		late.Stop()
	}
	_ = c.ws.CloseNow()
	_ = c.socket.Close()
}

// pingLimiter is a bucket of tokens, one for each ping that is answered.
type pingLimiter struct {
	tokens float64
	filled time.Time
}

func (l *pingLimiter) allow(now time.Time) bool {
	if l.filled.IsZero() {
		l.tokens = pingBurst
	} else {
		l.tokens = min(pingBurst, l.tokens+now.Sub(l.filled).Seconds()*pingRate)
	}
	l.filled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}
