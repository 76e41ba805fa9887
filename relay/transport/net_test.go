package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"
)

// testCert is valid in the fake time of a bubble, which starts in 2000, and now.
var testCert, testRoots = func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "relay"},
		NotBefore:    time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		DNSNames:     []string{"relay.example", "localhost"},
		IPAddresses:  []net.IP{net.IPv4(1, 0, 0, 1), net.ParseIP("fd00::1"), net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}()

var (
	plain  = Protocol{ALPN: "moq-lite-05"}
	mapped = Protocol{ALPN: "moqf-02", MapStreamCodes: true}

	serverAddr = &net.UDPAddr{IP: net.IPv4(1, 0, 0, 1).To4(), Port: 443}
)

const latency = 10 * time.Millisecond // one way

// testNet is a simulated network with one endpoint under test.
type testNet struct {
	*testing.T
	sim      *simnet.Simnet
	endpoint *Endpoint
	tcp      *tcpNet
	clients  int
	mu       sync.Mutex
	closers  []func()
}

// bubble runs f with an endpoint in fake time.
func bubble(t *testing.T, c ServerConfig, f func(*testNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &testNet{T: t, sim: &simnet.Simnet{Router: &simnet.PerfectRouter{}}}
		pc := n.socket(serverAddr, nil)
		if c.TLS == nil {
			c.TLS = &tls.Config{Certificates: []tls.Certificate{testCert}}
		}
		if c.Protocols == nil {
			c.Protocols = []Protocol{plain, mapped}
		}
		c.WebTransport = true
		c.WebTransportProtocols = []string{"moq-lite-05", "moq-lite-06"}
		if c.WebSocketProtocols == nil {
			c.WebSocketProtocols = []string{"moq-lite-06", "moq-lite-05", "moql"}
		}
		if c.Log == nil {
			c.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		var err error
		if n.endpoint, err = Listen(pc, c); err != nil {
			t.Fatal(err)
		}
		n.serveTCP(c.TLS)
		f(n)
		if err := n.endpoint.Close(); err != nil {
			t.Errorf("closing the endpoint: %v", err)
		}
		for _, c := range n.closers {
			c()
		}
		n.tcp.stop()
		_ = n.sim.Close()
	})
}

// socket returns a socket at addr; drop says which packets it never gets.
func (n *testNet) socket(addr *net.UDPAddr, drop func() bool) net.PacketConn {
	n.Helper()
	link := simnet.NodeBiDiLinkSettings{Latency: latency}
	if drop != nil {
		link.LatencyFunc = func(simnet.Packet) time.Duration {
			if drop() {
				return 1e6 * time.Hour
			}
			return latency
		}
	}
	before := n.sim
	s := &simnet.Simnet{Router: before.Router}
	pc := s.NewEndpoint(addr, link)
	if err := s.Start(); err != nil {
		n.Fatal(err)
	}
	n.cleanup(func() { _ = pc.Close(); _ = s.Close() })
	return pc
}

func (n *testNet) cleanup(f func()) {
	n.mu.Lock()
	n.closers = append(n.closers, f)
	n.mu.Unlock()
}

// clientSocket returns a socket at an address of its own.
func (n *testNet) clientSocket(drop func() bool) net.PacketConn {
	n.Helper()
	n.clients++
	return n.socket(&net.UDPAddr{IP: net.IPv4(1, 0, 1, byte(n.clients)).To4(), Port: 4000}, drop)
}

func (n *testNet) ctx() context.Context { return n.Context() }

// way is one way to be connected.
type way struct {
	name string
	dial DialConfig
	addr string
	kind Kind
}

var ways = []way{
	{"raw QUIC", DialConfig{Protocols: []Protocol{plain}}, "1.0.0.1:443", QUIC},
	{"raw QUIC with mapped stream codes", DialConfig{Protocols: []Protocol{mapped}}, "moqf://1.0.0.1", QUIC},
	{"WebTransport", DialConfig{WebTransport: true}, "https://1.0.0.1/a%2Fb?c=d", WebTransport},
	{"WebSocket", DialConfig{WebSocket: true, WebSocketProtocols: []string{"moq-lite-05"}}, "https://1.0.0.1/a%2Fb?c=d", WebSocket},
}

// eachWay runs f with both ends of a connection of each kind.
func eachWay(t *testing.T, c ServerConfig, f func(n *testNet, client, server Conn)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			bubble(t, c, func(n *testNet) {
				client, server := n.connect(w)
				f(n, client, server)
				_ = client.CloseWithError(0, "")
			})
		})
	}
}

func (n *testNet) connect(w way) (client, server Conn) {
	n.Helper()
	client, err := n.dial(w)
	if err != nil {
		n.Fatal(err)
	}
	server, err = n.endpoint.Accept(n.ctx())
	if err != nil {
		n.Fatal(err)
	}
	return client, server
}

func (n *testNet) dial(w way) (Conn, error) {
	n.Helper()
	c := w.dial
	if c.TLS == nil {
		c.TLS = &tls.Config{RootCAs: testRoots}
	}
	if c.PacketConn == nil {
		c.PacketConn = n.clientSocket(nil)
	}
	if c.DialTCP == nil {
		c.DialTCP = n.dialTCP(nil)
	}
	return Dial(n.ctx(), w.addr, c)
}

// quicClient is a QUIC connection below any of our code.
func (n *testNet) quicClient(conf *quic.Config, alpn string) *quic.Conn {
	n.Helper()
	tr := &quic.Transport{Conn: n.clientSocket(nil)}
	qc, err := tr.Dial(n.ctx(), serverAddr, &tls.Config{RootCAs: testRoots, NextProtos: []string{alpn}}, conf)
	if err != nil {
		n.Fatal(err)
	}
	n.cleanup(func() { _ = qc.CloseWithError(0, ""); _ = tr.Close() })
	return qc
}

func wantRead(t testing.TB, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

func wantEOF(t testing.TB, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d, %v; want the end of the stream", n, err)
	}
}

func wantClosed(t testing.TB, c Conn, want CloseError) {
	t.Helper()
	<-c.Context().Done()
	got, ok := errors.AsType[*CloseError](context.Cause(c.Context()))
	if !ok || *got != want {
		t.Errorf("ended with %#v, want %#v", context.Cause(c.Context()), want)
	}
}
