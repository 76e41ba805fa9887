package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// clientSessionID is the id of a session that we dial: that of the first stream
// we open, and the CONNECT is the first.
const clientSessionID = 0

// dialer dials from one socket.
type dialer struct {
	quic     *quic.Transport
	config   *quic.Config
	budget   *receiveBudget
	released <-chan struct{} // closed when the socket is; nil if it stays
}

// Dial connects to addr, "host:port" or a URL, from the endpoint's socket, or over
// TCP for a WebSocket. All addresses of the host are tried, each with a small head
// start over the next.
//
// The error is ErrUnreachable, ErrCertificate, ErrALPN or a [*StatusError] where
// it is one of these.
func (e *Endpoint) Dial(ctx context.Context, addr string, c DialConfig) (Conn, error) {
	conn, err := e.dial(ctx, addr, c)
	if err != nil {
		select {
		case <-e.closing:
			err = ErrClosed
		default:
		}
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	if !e.keep(conn) {
		_ = conn.CloseWithError(0, "") // returns nil always
		return nil, fmt.Errorf("dial %s: %w", addr, ErrClosed)
	}
	return conn, nil
}

func (e *Endpoint) dial(ctx context.Context, addr string, c DialConfig) (Conn, error) {
	t := newTimeouts(c.IdleTimeout, c.KeepAlive, c.HandshakeTimeout)
	if c.WebSocket {
		return dialOverTCP(ctx, addr, c, t)
	}
	d := &dialer{quic: e.quic, config: dialConfig(e.quicConfig(c.Limits, t), t), budget: e.budget}
	return d.dial(ctx, addr, c, t.handshake)
}

// dialOverTCP is dialWebSocket without its type, which would make no nil of none.
func dialOverTCP(ctx context.Context, addr string, c DialConfig, t timeouts) (Conn, error) {
	conn, err := dialWebSocket(ctx, addr, c, t, webSocketOffer(c.WebSocketProtocols))
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// Dial connects to addr as [Endpoint.Dial] does, from a socket of its own that
// ends with the connection.
func Dial(ctx context.Context, addr string, c DialConfig) (Conn, error) {
	t := newTimeouts(c.IdleTimeout, c.KeepAlive, c.HandshakeTimeout)
	if c.WebSocket {
		conn, err := dialOverTCP(ctx, addr, c, t)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", addr, err)
		}
		return conn, nil
	}
	pc, own := c.PacketConn, false
	if pc == nil {
		udp, err := net.ListenUDP("udp", nil)
		if err != nil {
			return nil, fmt.Errorf("dial %s: open a socket: %w", addr, err)
		}
		pc, own = udp, true
	}
	released := make(chan struct{})
	d := &dialer{
		quic:     &quic.Transport{Conn: pc, ConnectionIDLength: connIDLength},
		config:   dialConfig(c.Limits.quicConfig(t), t),
		released: released,
	}
	release := func() {
		_ = d.quic.Close() // the connection is gone, so nothing can be lost
		if own {
			_ = pc.Close()
		}
		close(released)
	}
	conn, err := d.dial(ctx, addr, c, t.handshake)
	if err != nil {
		release()
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	context.AfterFunc(quicConnOf(conn).Context(), release)
	return conn, nil
}

// dialConfig leaves it to the dial's own timeout to give up on a silent peer.
func dialConfig(c *quic.Config, t timeouts) *quic.Config {
	c.HandshakeIdleTimeout = 2 * t.handshake
	return c
}

func quicConnOf(c Conn) *quic.Conn {
	if c, ok := c.(*wtConn); ok {
		return c.quic
	}
	return c.(*rawConn).quic
}

// dial does all of it within the timeout.
func (d *dialer) dial(ctx context.Context, addr string, c DialConfig, timeout time.Duration) (Conn, error) {
	noAnswer := fmt.Errorf("%w: no answer within %v", ErrUnreachable, timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, noAnswer)
	defer cancel()
	to, err := parseTarget(addr)
	if err != nil {
		return nil, err
	}
	alpns := []string{http3.NextProtoH3}
	if c.WebTransport && (to.url == nil || to.url.Scheme != "https") {
		return nil, errors.New("WebTransport needs a URL such as https://host:port/path")
	}
	if !c.WebTransport {
		alpns = alpns[:0]
		for _, p := range c.Protocols {
			alpns = append(alpns, p.ALPN)
		}
	}
	if len(alpns) == 0 {
		return nil, errors.New("no protocol to offer is given")
	}
	addrs, err := to.resolve(ctx, c.Resolve)
	if err != nil {
		return nil, err
	}
	tlsConf := tlsConfig(c.TLS, alpns)
	if tlsConf.ServerName == "" {
		tlsConf.ServerName = to.serverName()
	}
	qc, err := d.dialFirst(ctx, addrs, tlsConf)
	if err != nil {
		return nil, err
	}
	d.budget.add(qc)
	if c.WebTransport {
		return d.openSession(ctx, qc, to, c)
	}
	alpn := qc.ConnectionState().TLS.NegotiatedProtocol
	for _, p := range c.Protocols {
		if p.ALPN == alpn {
			return newRawConn(qc, p, d.released), nil
		}
	}
	panic("BUG: TLS negotiated " + alpn + ", which was not offered")
}

// dialFirst returns the first connection to one of the addresses.
func (d *dialer) dialFirst(ctx context.Context, addrs []netip.AddrPort, tlsConf *tls.Config) (*quic.Conn, error) {
	dial := func(ctx context.Context, addr netip.AddrPort) (*quic.Conn, error) {
		return d.quic.Dial(ctx, net.UDPAddrFromAddrPort(addr), tlsConf, d.config)
	}
	return firstOf(ctx, addrs, dial, func(qc *quic.Conn) {
		_ = qc.CloseWithError(0, "") // returns nil always
	})
}

// dialError adds what kind of error it is.
func dialError(err error) error {
	if errors.Is(err, ErrUnreachable) || errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return fmt.Errorf("%w: no answer: %w", ErrUnreachable, err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if kind := kindOfError(err); kind != nil {
		return fmt.Errorf("%w: %w", kind, err)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}

// moreTelling picks the error to show of two addresses of one host: what a peer
// answered says more than that another did not.
func moreTelling(a, b error) error {
	if a == nil || errors.Is(a, ErrUnreachable) && !errors.Is(b, ErrUnreachable) {
		return b
	}
	return a
}

// openSession asks for a WebTransport session on a connection.
func (d *dialer) openSession(ctx context.Context, qc *quic.Conn, to target, c DialConfig) (Conn, error) {
	// The library does not listen to ctx while it waits for the answer.
	stop := context.AfterFunc(ctx, func() {
		_ = qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeRequestCanceled), "") // returns nil always
	})
	defer stop()
	client := &webtransport.Transport{ApplicationProtocols: c.WebTransportProtocols}
	defer client.Close()
	s, err := connect(ctx, client, qc, to, c.Header)
	if err != nil {
		_ = qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") // returns nil always
		if ctx.Err() != nil {
			return nil, dialError(context.Cause(ctx))
		}
		return nil, err
	}
	return newWTConn(qc, s, clientSessionID, nil, to.url.RequestURI(), d.released), nil
}

func connect(
	ctx context.Context, client *webtransport.Transport, qc *quic.Conn, to target, header http.Header,
) (*webtransport.Session, error) {
	cc, err := client.NewClientConn(qc)
	if err != nil {
		return nil, err
	}
	rsp, s, err := cc.Dial(ctx, to.url.String(), header)
	if err == nil {
		return s, nil
	}
	if rsp != nil {
		return nil, &StatusError{Status: rsp.StatusCode}
	}
	if _, ok := errors.AsType[*webtransport.RequirementsNotMetError](err); ok {
		return nil, fmt.Errorf("%w: %w", ErrALPN, err)
	}
	return nil, dialError(err)
}
