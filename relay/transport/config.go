package transport

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/moqrelay/moqrelay/relay/qlog"
)

// Defaults of the zero configuration.
const (
	// DefaultIdleTimeout ends a connection without a sign of life. Browsers use 30 s as well.
	DefaultIdleTimeout = 30 * time.Second
	// DefaultKeepAlive is the time after which a silent connection is kept alive.
	DefaultKeepAlive = 10 * time.Second
	// DefaultHandshakeTimeout bounds the time from the first packet to the answered CONNECT.
	DefaultHandshakeTimeout = 10 * time.Second
	// DefaultMaxStreams is how many streams of each direction a peer may have open.
	DefaultMaxStreams = 1024
	// DefaultRetryAbove and DefaultRefuseAbove are the limits on half-open connections.
	DefaultRetryAbove  = 256
	DefaultRefuseAbove = 4096
	// DefaultMaxHeaderBytes bounds the header of an HTTP/3 request.
	DefaultMaxHeaderBytes = 16 << 10

	initialStreamWindow = 512 << 10
	initialConnWindow   = 768 << 10
)

// Limits bound what one peer, or all of them, can make an endpoint hold. Zero
// values are the defaults.
type Limits struct {
	// MaxStreams and MaxUniStreams are how many bidirectional and unidirectional
	// streams the peer may have open at once. Default 1024 each.
	MaxStreams, MaxUniStreams int64
	// StreamWindow and ConnWindow are the largest receive windows, in bytes, of one
	// stream (default 6 MB) and one connection (default 15 MB). Windows start at
	// 512 KiB and 768 KiB, or below if these are smaller, and grow with use. Over
	// WebSocket they stay what they are, by default 256 KiB and 1 MiB.
	StreamWindow, ConnWindow uint64
	// ReceiveBudget bounds the sum of what all connections' windows have grown, in
	// bytes. Over it, windows keep their size. Default: no bound.
	ReceiveBudget uint64
	// RetryAbove is the number of half-open connections above which a client has to
	// prove its address with a Retry. Default 256.
	RetryAbove int
	// RefuseAbove is the number of half-open connections above which further ones are
	// refused. Default 4096.
	RefuseAbove int
	// MaxHeaderBytes bounds the header of an HTTP/3 request. Default 16 KiB.
	MaxHeaderBytes int
}

// ServerConfig says what an [Endpoint] accepts.
type ServerConfig struct {
	// Protocols are the ALPNs of raw QUIC, most wanted first. h3 stands before them.
	Protocols []Protocol
	// WebTransport says whether HTTP/3 connections are accepted.
	WebTransport bool
	// WebTransportProtocols are the sub-protocols that a WebTransport client may
	// choose from. The client's order decides; a client that names none has none.
	WebTransportProtocols []string
	// WebSocketProtocols are the applications' tokens, such as "moq-lite-05", that
	// are accepted over WebSocket, most wanted first. The server's order decides. With
	// none, WebSockets are refused.
	WebSocketProtocols []string
	// AllowedOrigins are the origins, such as "https://example.com", whose pages may
	// open sessions over WebTransport and WebSocket. Empty, or "*" among them: any.
	// Nothing that a browser adds on its own authenticates anyone here.
	AllowedOrigins []string
	// TLS gives the certificates, by GetCertificate or GetConfigForClient. The ALPNs
	// and TLS 1.3 are set by the endpoint.
	TLS *tls.Config
	// HTTPHandler answers HTTP/3 requests other than WebTransport. Nil: 404. A
	// connection without a session ends after HandshakeTimeout all the same.
	HTTPHandler http.Handler
	// Limits bound what peers can make the endpoint hold.
	Limits Limits
	// IdleTimeout, KeepAlive and HandshakeTimeout are 30 s, 10 s and 10 s if zero. A
	// negative KeepAlive sends none.
	IdleTimeout, KeepAlive, HandshakeTimeout time.Duration
	// StatelessResetKey, if set, lets a restarted endpoint end connections of its
	// former life. It must be this endpoint's alone.
	StatelessResetKey *[32]byte
	// RetryKey protects Retry tokens. Endpoints behind one address share it. Nil: a random one.
	RetryKey *[32]byte
	// Qlog writes down what happens on connections, also on those that are dialed from
	// the endpoint. Over WebSocket there is no QUIC, and nothing is written. Nil:
	// nothing at all.
	Qlog *qlog.Directory
	// Log gets refused and failed handshakes at Debug. Nil: nothing is logged.
	Log *slog.Logger
}

// DialConfig says how to reach a peer.
type DialConfig struct {
	// TLS verifies the peer. The ALPNs, TLS 1.3 and, if empty, the server name are
	// set by the dial.
	TLS *tls.Config
	// Protocols are the ALPNs of raw QUIC that are offered. Unused with WebTransport.
	Protocols []Protocol
	// WebTransport dials HTTP/3 and opens a WebTransport session; the address is
	// then an https URL.
	WebTransport bool
	// WebTransportProtocols are the sub-protocols that are offered, most wanted first.
	WebTransportProtocols []string
	// WebSocket dials TCP and asks for a WebSocket; the address is then an http or
	// https URL.
	WebSocket bool
	// WebSocketProtocols are the applications' tokens that are offered, most wanted first.
	WebSocketProtocols []string
	// DialTCP opens the connection below a WebSocket, to an address of the URL's host.
	// Nil: the system's.
	DialTCP func(ctx context.Context, network, address string) (net.Conn, error)
	// Header is added to the WebTransport or WebSocket request.
	Header http.Header
	// Limits bound what the peer can make us hold; those on half-open connections
	// and headers do not apply.
	Limits Limits
	// IdleTimeout, KeepAlive and HandshakeTimeout are 30 s, 10 s and 10 s if zero. A
	// negative KeepAlive sends none. HandshakeTimeout bounds the whole dial.
	IdleTimeout, KeepAlive, HandshakeTimeout time.Duration
	// Resolve finds the addresses of a host, best first. Nil: the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// PacketConn is the socket that [Dial] uses; it is not closed. Nil: a new one,
	// closed with the connection. An Endpoint always uses its own.
	PacketConn net.PacketConn
}

// EndpointStats are counters of one endpoint.
type EndpointStats struct {
	// HalfOpen is the number of connections that have not finished their handshake,
	// which for WebTransport includes the CONNECT, and over WebSocket is the exchange
	// of transport parameters.
	HalfOpen int
	// Retried and Refused count connection attempts that were answered with a Retry
	// and that were turned away, both for the number of half-open ones.
	Retried, Refused uint64
	// Accepted counts connections that became ready, Failed those that did not.
	Accepted, Failed uint64
}

// timeouts of a connection, with defaults filled in.
type timeouts struct {
	idle, keepAlive, handshake time.Duration
}

func newTimeouts(idle, keepAlive, handshake time.Duration) timeouts {
	t := timeouts{idle, keepAlive, handshake}
	if t.idle <= 0 {
		t.idle = DefaultIdleTimeout
	}
	if t.keepAlive == 0 {
		t.keepAlive = DefaultKeepAlive
	}
	if t.handshake <= 0 {
		t.handshake = DefaultHandshakeTimeout
	}
	return t
}

// withDefaults returns the limits with zero values filled in.
func (l Limits) withDefaults() Limits {
	if l.MaxStreams <= 0 {
		l.MaxStreams = DefaultMaxStreams
	}
	if l.MaxUniStreams <= 0 {
		l.MaxUniStreams = DefaultMaxStreams
	}
	if l.RetryAbove <= 0 {
		l.RetryAbove = DefaultRetryAbove
	}
	if l.RefuseAbove <= 0 {
		l.RefuseAbove = DefaultRefuseAbove
	}
	if l.MaxHeaderBytes <= 0 {
		l.MaxHeaderBytes = DefaultMaxHeaderBytes
	}
	return l
}

// quicConfig returns the parameters of a connection. 0-RTT stays off: its data
// can be replayed.
func (l Limits) quicConfig(t timeouts) *quic.Config {
	l = l.withDefaults()
	c := &quic.Config{
		// A handshake is given up after twice this time, or once this time without a packet.
		HandshakeIdleTimeout:       t.handshake / 2,
		MaxIdleTimeout:             t.idle,
		KeepAlivePeriod:            max(t.keepAlive, 0),
		MaxIncomingStreams:         l.MaxStreams,
		MaxIncomingUniStreams:      l.MaxUniStreams,
		MaxStreamReceiveWindow:     l.StreamWindow,
		MaxConnectionReceiveWindow: l.ConnWindow,
		// Both are needed by webtransport-go, also on a connection that turns out to be raw QUIC.
		EnableDatagrams:                  true,
		EnableStreamResetPartialDelivery: true,
	}
	if l.StreamWindow > 0 {
		c.InitialStreamReceiveWindow = min(l.StreamWindow, initialStreamWindow)
	}
	if l.ConnWindow > 0 {
		c.InitialConnectionReceiveWindow = min(l.ConnWindow, initialConnWindow)
	}
	return c
}

// tlsConfig returns c for the given ALPNs and TLS 1.3, which QUIC requires.
func tlsConfig(c *tls.Config, alpns []string) *tls.Config {
	if c == nil {
		c = new(tls.Config)
	}
	c = c.Clone()
	c.NextProtos = alpns
	c.MinVersion = tls.VersionTLS13
	if choose := c.GetConfigForClient; choose != nil {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if err != nil || chosen == nil {
				return nil, err
			}
			return tlsConfig(chosen, alpns), nil
		}
	}
	return c
}
