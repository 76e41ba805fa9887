package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseTarget(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		host, name string
		port       uint16
	}{
		"relay.example:4443":             {"relay.example", "relay.example", 4443},
		"Relay.Example.:4443":            {"Relay.Example.", "relay.example", 4443},
		"[::1]:4443":                     {"::1", "::1", 4443},
		"[fe80::1%eth0]:4443":            {"fe80::1%eth0", "fe80::1", 4443},
		"https://relay.example/path?q":   {"relay.example", "relay.example", 443},
		"https://[2001:db8::1]/path":     {"2001:db8::1", "2001:db8::1", 443},
		"https://[2001:db8::1]:8443/":    {"2001:db8::1", "2001:db8::1", 8443},
		"moqf://10.0.0.1":                {"10.0.0.1", "10.0.0.1", 443},
		"relay.example":                  {},
		"relay.example:":                 {},
		"relay.example:0":                {},
		"relay.example:65536":            {},
		"2001:db8::1":                    {},
		"https://":                       {},
		":4443":                          {},
		"https://relay.example:x/":       {},
		"https://relay.example:4443\x7f": {},
	}
	for addr, c := range cases {
		t.Run(addr, func(t *testing.T) {
			got, err := parseTarget(addr)
			if c.host == "" {
				if err == nil || !strings.Contains(err.Error(), "relay") && !strings.Contains(err.Error(), "address") {
					t.Errorf("%+v, %v; want an error that names the address", got, err)
				}
				return
			}
			if err != nil || got.host != c.host || got.port != c.port || got.serverName() != c.name {
				t.Errorf("%+v named %q, %v; want %+v", got, got.serverName(), err, c)
			}
		})
	}
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	quick := 3 * time.Second
	cases := map[string]struct {
		reason string
		addr   string
		config DialConfig
		want   error
		within time.Duration
	}{
		"unknown host": {
			"the resolver has no such name",
			"nowhere.example:443",
			DialConfig{Protocols: []Protocol{plain}, Resolve: func(context.Context, string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "no such host", Name: "nowhere.example", IsNotFound: true}
			}},
			ErrUnreachable, 0,
		},
		"no addresses": {
			"the resolver found nothing",
			"nowhere.example:443",
			DialConfig{Protocols: []Protocol{plain}, Resolve: addrs()},
			ErrUnreachable, 0,
		},
		"no answer": {
			"nobody is at that address",
			"1.0.0.99:443",
			DialConfig{Protocols: []Protocol{plain}, HandshakeTimeout: quick},
			ErrUnreachable, quick,
		},
		"no answer from WebTransport": {
			"nobody is at that address",
			"https://1.0.0.99/",
			DialConfig{WebTransport: true, HandshakeTimeout: quick},
			ErrUnreachable, quick,
		},
		"unknown authority": {
			"the server's certificate is self-signed",
			"1.0.0.1:443",
			DialConfig{Protocols: []Protocol{plain}, TLS: &tls.Config{}},
			ErrCertificate, quick,
		},
		"unknown authority of WebTransport": {
			"the server's certificate is self-signed",
			"https://1.0.0.1",
			DialConfig{WebTransport: true, TLS: &tls.Config{}},
			ErrCertificate, quick,
		},
		"wrong name": {
			"the server's certificate has other names",
			"other.example:443",
			DialConfig{Protocols: []Protocol{plain}, Resolve: addrs("1.0.0.1")},
			ErrCertificate, quick,
		},
		"no common protocol": {
			"the server does not speak it",
			"1.0.0.1:443",
			DialConfig{Protocols: []Protocol{{ALPN: "moqf-03"}}},
			ErrALPN, quick,
		},
		"certificate beats silence": {
			"of two addresses, one answered; its answer is what helps",
			"other.example:443",
			DialConfig{Protocols: []Protocol{plain}, Resolve: addrs("1.0.0.99", "1.0.0.1"), HandshakeTimeout: quick},
			ErrCertificate, quick,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(c.reason)
			bubble(t, ServerConfig{}, func(n *testNet) {
				start := time.Now()
				_, err := n.dial(way{dial: c.config, addr: c.addr})
				if !errors.Is(err, c.want) {
					t.Errorf("dial: %v, want %v", err, c.want)
				}
				if err != nil && !strings.Contains(err.Error(), c.addr) {
					t.Errorf("error %q does not name the address", err)
				}
				for _, other := range []error{ErrUnreachable, ErrCertificate, ErrALPN} {
					if other != c.want && errors.Is(err, other) {
						t.Errorf("error %q is also %q", err, other)
					}
				}
				if took := time.Since(start); took > c.within {
					t.Errorf("took %v, want at most %v", took, c.within)
				}
				t.Log(err)
			})
		})
	}
}

func addrs(list ...string) func(context.Context, string) ([]netip.Addr, error) {
	return func(context.Context, string) ([]netip.Addr, error) {
		var ips []netip.Addr
		for _, s := range list {
			ips = append(ips, netip.MustParseAddr(s))
		}
		return ips, nil
	}
}

func TestDialMisuse(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		addr   string
		config DialConfig
		want   string
	}{
		"WebTransport without a URL":    {"1.0.0.1:443", DialConfig{WebTransport: true}, "https://host:port/path"},
		"WebTransport of another kind":  {"moqf://1.0.0.1", DialConfig{WebTransport: true}, "https://host:port/path"},
		"nothing to offer":              {"1.0.0.1:443", DialConfig{}, "no protocol"},
		"an address without its port":   {"1.0.0.1", DialConfig{Protocols: []Protocol{plain}}, "host:port"},
		"an IPv6 literal without marks": {"fd00::1", DialConfig{Protocols: []Protocol{plain}}, "[ipv6]:port"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, ServerConfig{}, func(n *testNet) {
				if _, err := n.dial(way{dial: c.config, addr: c.addr}); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("dial: %v, want an error that says %q", err, c.want)
				}
			})
		})
	}
}

func TestDialCancelled(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{}, func(n *testNet) {
		ctx, cancel := context.WithCancel(n.ctx())
		time.AfterFunc(time.Second, cancel)
		c := DialConfig{Protocols: []Protocol{plain}, PacketConn: n.clientSocket(nil)}
		if _, err := Dial(ctx, "1.0.0.99:443", c); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
			t.Errorf("dial: %v, want context.Canceled alone", err)
		}
	})
}

func TestDialTriesAllAddresses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		addrs  []string
		within time.Duration
	}{
		"first":       {"no other is tried", []string{"1.0.0.1", "1.0.0.99"}, 10 * latency},
		"second":      {"after a moment for the first", []string{"1.0.0.99", "1.0.0.1"}, attemptDelay + 10*latency},
		"third":       {"after a moment for each", []string{"1.0.0.98", "1.0.0.99", "1.0.0.1"}, 2*attemptDelay + 10*latency},
		"IPv4 mapped": {"as some resolvers return them", []string{"::ffff:1.0.0.1"}, 10 * latency},
	}
	for name, c := range cases {
		for _, w := range ways {
			t.Run(name+"/"+w.name, func(t *testing.T) {
				t.Log(c.reason)
				bubble(t, ServerConfig{}, func(n *testNet) {
					w.addr = strings.Replace(w.addr, "1.0.0.1", "relay.example", 1)
					w.dial.Resolve = addrs(c.addrs...)
					start := time.Now()
					client, server := n.connect(w)
					if took := time.Since(start); took > c.within {
						t.Errorf("took %v, want at most %v", took, c.within)
					}
					_ = server.CloseWithError(0, "")
					wantClosed(t, client, CloseError{Remote: true})
				})
			})
		}
	}
}

// A client whose certificate is asked for and not trusted learns so, if only
// after its own handshake is done.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	server := ServerConfig{TLS: &tls.Config{
		Certificates: []tls.Certificate{testCert}, ClientCAs: testRoots, ClientAuth: tls.VerifyClientCertIfGiven,
	}}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			bubble(t, server, func(n *testNet) {
				w.dial.TLS = &tls.Config{RootCAs: testRoots, Certificates: []tls.Certificate{testCert}}
				client, server := n.connect(w)
				if got := server.PeerCertificate(); got == nil || !got.Equal(testCert.Leaf) {
					t.Errorf("peer certificate %v, want the client's", got)
				}
				_ = client.CloseWithError(0, "")
			})
		})
	}
	required := ServerConfig{TLS: &tls.Config{
		Certificates: []tls.Certificate{testCert}, ClientCAs: testRoots, ClientAuth: tls.RequireAndVerifyClientCert,
	}}
	t.Run("missing", func(t *testing.T) {
		bubble(t, required, func(n *testNet) {
			client, err := n.dial(ways[0])
			if err == nil {
				<-client.Context().Done()
				err = context.Cause(client.Context())
			}
			if !errors.Is(err, ErrCertificate) {
				t.Errorf("ended with %v, want ErrCertificate", err)
			}
		})
	})
}

func TestEndpointDials(t *testing.T) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			bubble(t, ServerConfig{}, func(n *testNet) {
				addr := &net.UDPAddr{IP: net.IPv4(1, 0, 0, 2).To4(), Port: 443}
				other, err := Listen(n.socket(addr, nil), ServerConfig{
					Protocols: []Protocol{plain}, TLS: &tls.Config{Certificates: []tls.Certificate{testCert}},
				})
				if err != nil {
					t.Fatal(err)
				}
				w.dial.TLS = &tls.Config{RootCAs: testRoots}
				w.dial.DialTCP = n.dialTCP(nil)
				client, err := other.Dial(n.ctx(), w.addr, w.dial)
				if err != nil {
					t.Fatal(err)
				}
				server, err := n.endpoint.Accept(n.ctx())
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(addr.String(), server.RemoteAddr().String()); d != "" && w.kind != WebSocket {
					t.Errorf("the endpoint dialed from another socket: %s", d)
				}
				if err := other.Close(); err != nil {
					t.Error(err)
				}
				wantClosed(t, client, CloseError{})
				wantClosed(t, server, CloseError{Remote: true})
				if _, err := other.Dial(n.ctx(), w.addr, w.dial); !errors.Is(err, ErrClosed) {
					t.Errorf("dial after close: %v", err)
				}
				if _, err := other.Accept(n.ctx()); !errors.Is(err, ErrClosed) {
					t.Errorf("accept after close: %v", err)
				}
			})
		})
	}
}

// Connections that nobody accepts end with the endpoint, and Accept with its ctx.
func TestEndpointClose(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{}, func(n *testNet) {
		ctx, cancel := context.WithTimeout(n.ctx(), time.Second)
		defer cancel()
		if _, err := n.endpoint.Accept(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("accept: %v", err)
		}
		var clients []Conn
		for _, w := range ways {
			c, err := n.dial(w)
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
		}
		start := time.Now()
		if err := n.endpoint.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > streamLinger+closeLinger {
			t.Errorf("close took %v", took)
		}
		for _, c := range clients {
			wantClosed(t, c, CloseError{Remote: true})
			_ = c.CloseWithError(0, "") // waits for its socket
		}
	})
}

func TestListenNothing(t *testing.T) {
	t.Parallel()
	if _, err := Listen(nil, ServerConfig{}); err == nil {
		t.Error("an endpoint that accepts nothing was made")
	}
}

func TestWebTransportRefused(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{}, func(n *testNet) {
		w := ways[2]
		w.dial.Header = http.Header{"X-Large": {strings.Repeat("x", DefaultMaxHeaderBytes)}}
		_, err := n.dial(w)
		if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("dial: %v, want status 431", err)
		}
	})
}

// Real sockets: IPv4, IPv6 and a name that is both.
func TestLoopback(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "::1", "localhost"} {
		for _, w := range ways {
			t.Run(host+"/"+w.name, func(t *testing.T) {
				t.Parallel()
				ip := host
				if host == "localhost" {
					ip = "127.0.0.1"
				}
				pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
				if err != nil {
					t.Skipf("no socket at %s: %v", ip, err)
				}
				defer pc.Close()
				e, err := Listen(pc, ServerConfig{
					Protocols: []Protocol{plain, mapped}, WebTransport: true, WebSocketProtocols: []string{plain.ALPN},
					TLS: &tls.Config{Certificates: []tls.Certificate{testCert}},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				_, port, _ := net.SplitHostPort(e.Addr().String())
				if w.kind == WebSocket {
					port = serveLoopback(t, e, ip)
				}
				addr := net.JoinHostPort(host, port)
				if w.kind != QUIC {
					addr = "https://" + addr + "/path"
				}
				w.dial.TLS = &tls.Config{RootCAs: testRoots}
				client, err := Dial(t.Context(), addr, w.dial)
				if err != nil {
					t.Fatal(err)
				}
				server, err := e.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				s, err := client.OpenStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				_, _ = s.Write([]byte("hello"))
				r, err := server.AcceptStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				wantRead(t, r, "hello")
				_ = server.CloseWithError(7, "enough")
				wantClosed(t, client, CloseError{Code: 7, Reason: "enough", Remote: true})
				_ = client.CloseWithError(0, "")
			})
		}
	}
}

// serveLoopback has an HTTP server hand WebSockets to e, and returns its port.
func serveLoopback(t *testing.T, e *Endpoint, ip string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Skipf("no socket at %s: %v", ip, err)
	}
	server := &http.Server{Handler: http.HandlerFunc(e.ServeWebSocket), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{testCert}}))
	}()
	t.Cleanup(func() { _ = server.Close(); <-done })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
