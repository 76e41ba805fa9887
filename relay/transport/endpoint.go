package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// connIDLength keeps connection ids from being guessed, 4 bytes as quic-go has
// by default would not.
const connIDLength = 8

// Endpoint accepts and dials connections on one socket.
type Endpoint struct {
	// Static after construction.
	config   ServerConfig
	timeouts timeouts
	log      *slog.Logger
	quic     *quic.Transport
	listener *quic.Listener
	wt       *webtransport.Server // nil without WebTransport
	gate     *gate
	budget   *receiveBudget
	ready    chan Conn // unbuffered: a connection waits for its Accept in its own goroutine
	closing  chan struct{}
	failed   chan struct{} // closed when the socket cannot be read any more
	err      error         // why it cannot; written before failed is closed
	running  sync.WaitGroup

	closeOnce sync.Once
	mu        sync.Mutex
	conns     map[Conn]struct{} // nil once closed
}

// Listen starts to accept connections on pc. The endpoint reads from pc until
// Close; closing pc after that is up to the caller.
func Listen(pc net.PacketConn, c ServerConfig) (*Endpoint, error) {
	if len(c.Protocols) == 0 && !c.WebTransport {
		return nil, errors.New("listen: neither WebTransport nor a protocol to accept is given")
	}
	c.Limits = c.Limits.withDefaults()
	e := &Endpoint{
		config:   c,
		timeouts: newTimeouts(c.IdleTimeout, c.KeepAlive, c.HandshakeTimeout),
		log:      c.Log,
		budget:   newReceiveBudget(c.Limits.ReceiveBudget),
		ready:    make(chan Conn),
		closing:  make(chan struct{}),
		failed:   make(chan struct{}),
		conns:    make(map[Conn]struct{}),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.gate = &gate{
		retryAbove:  int64(c.Limits.RetryAbove),
		refuseAbove: int64(c.Limits.RefuseAbove),
		timeout:     e.timeouts.handshake,
	}
	e.quic = &quic.Transport{
		Conn:                pc,
		ConnectionIDLength:  connIDLength,
		StatelessResetKey:   (*quic.StatelessResetKey)(c.StatelessResetKey),
		TokenGeneratorKey:   (*quic.TokenGeneratorKey)(c.RetryKey),
		VerifySourceAddress: e.gate.needsRetry,
		ConnContext:         e.gate.admit,
	}
	if c.WebTransport {
		e.wt = e.newWebTransportServer()
	}
	var err error
	e.listener, err = e.quic.Listen(tlsConfig(c.TLS, e.alpns()), e.quicConfig(c.Limits, e.timeouts))
	if err != nil {
		return nil, errors.Join(err, e.quic.Close())
	}
	e.running.Go(e.acceptLoop)
	return e, nil
}

func (e *Endpoint) alpns() []string {
	var names []string
	if e.config.WebTransport {
		names = append(names, http3.NextProtoH3)
	}
	for _, p := range e.config.Protocols {
		names = append(names, p.ALPN)
	}
	return names
}

func (e *Endpoint) quicConfig(l Limits, t timeouts) *quic.Config {
	c := l.quicConfig(t)
	if e.budget != nil {
		c.AllowConnectionWindowIncrease = e.budget.grow
	}
	if e.config.Qlog != nil {
		c.Tracer = tracer(e.config.Qlog)
	}
	return c
}

// Addr is the address of the socket.
func (e *Endpoint) Addr() net.Addr { return e.quic.Conn.LocalAddr() }

// Stats are the endpoint's counters.
func (e *Endpoint) Stats() EndpointStats { return e.gate.stats() }

// Accept waits for the next connection that is ready for streams. Its error, unless
// ctx is done, is for good.
func (e *Endpoint) Accept(ctx context.Context) (Conn, error) {
	select {
	case c := <-e.ready:
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-e.closing:
		return nil, ErrClosed
	case <-e.failed:
		if e.isClosing() {
			return nil, ErrClosed
		}
		return nil, e.err
	}
}

func (e *Endpoint) isClosing() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// acceptLoop hands every connection to a goroutine of its own at once: quic-go
// refuses those that are not taken. An error of the socket that does not pass ends
// quic-go's transport, and all connections with it.
func (e *Endpoint) acceptLoop() {
	for {
		qc, err := e.listener.Accept(context.Background()) // ends with the listener
		if err != nil {
			e.err = fmt.Errorf("accept QUIC connections: %w", err)
			close(e.failed)
			return
		}
		e.running.Go(func() { e.serve(qc) })
	}
}

// serve brings one connection, whose QUIC handshake is done, to an Accept.
func (e *Endpoint) serve(qc *quic.Conn) {
	e.budget.add(qc)
	a := attemptOf(qc.Context())
	alpn := qc.ConnectionState().TLS.NegotiatedProtocol
	if alpn == http3.NextProtoH3 {
		e.serveHTTP3(qc, a)
		return
	}
	for _, p := range e.config.Protocols {
		if p.ALPN == alpn {
			e.deliver(newRawConn(qc, p, nil), a)
			return
		}
	}
	panic("BUG: TLS negotiated " + alpn + ", which was not offered")
}

// deliver hands out a connection that became ready.
func (e *Endpoint) deliver(c Conn, a *attempt) {
	if !a.succeed() {
		return // ran out of time a moment ago
	}
	if !e.keep(c) {
		_ = c.CloseWithError(0, "") // returns nil always
		return
	}
	e.handOut(c)
}

// handOut waits until the connection is accepted or gone.
func (e *Endpoint) handOut(c Conn) {
	select {
	case e.ready <- c:
	case <-c.Context().Done():
	case <-e.closing:
	}
}

// keep remembers the connection for Close. It returns false if that has begun.
func (e *Endpoint) keep(c Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns == nil {
		return false
	}
	e.conns[c] = struct{}{}
	context.AfterFunc(c.Context(), func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.conns, c)
	})
	return true
}

// begin has Close wait for running.Done. It returns false if Close has begun.
func (e *Endpoint) begin() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns == nil {
		return false
	}
	e.running.Add(1)
	return true
}

// Close ends all connections with code 0, those that were dialed too, and stops
// using the socket. It returns when everything the endpoint started has ended,
// which takes as long as the slowest CloseWithError.
func (e *Endpoint) Close() error {
	var err error
	e.closeOnce.Do(func() {
		close(e.closing)
		err = e.listener.Close()
		e.closeConns()
		if e.wt != nil {
			err = errors.Join(err, e.wt.Close())
		}
		err = errors.Join(err, e.quic.Close())
	})
	e.running.Wait()
	return err
}

func (e *Endpoint) closeConns() {
	e.mu.Lock()
	conns := e.conns
	e.conns = nil
	e.mu.Unlock()
	var closing sync.WaitGroup
	for c := range conns {
		closing.Go(func() { _ = c.CloseWithError(0, "") }) // returns nil always
	}
	closing.Wait()
}
