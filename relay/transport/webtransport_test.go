package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// h3Client is an HTTP/3 client that leaves the WebTransport to its test: it is
// what browsers and moq-relay 0.6.8 are, clients of draft 02 without RESET_STREAM_AT.
type h3Client struct {
	n    *testNet
	quic *quic.Conn
	http *http3.ClientConn
}

func (n *testNet) h3Client() *h3Client {
	n.Helper()
	qc := n.quicClient(&quic.Config{EnableDatagrams: true, KeepAlivePeriod: time.Second}, http3.NextProtoH3)
	tr := &http3.Transport{EnableDatagrams: true, AdditionalSettings: map[uint64]uint64{0x2b603742: 1, 0xffd277: 1}}
	return &h3Client{n, qc, tr.NewClientConn(qc)}
}

// connect sends a CONNECT and returns its stream and answer.
func (c *h3Client) connect(protocol string, header http.Header) (*http3.RequestStream, *http.Response) {
	c.n.Helper()
	str, err := c.http.OpenRequestStream(c.n.ctx())
	if err != nil {
		c.n.Fatal(err)
	}
	err = str.SendRequestHeader(&http.Request{
		Method: http.MethodConnect, Proto: protocol, Host: "relay.example", Header: header,
		URL: &url.URL{Scheme: "https", Host: "relay.example", Path: "/", RawQuery: "jwt=x"},
	})
	if err != nil {
		c.n.Fatal(err)
	}
	rsp, err := str.ReadResponse()
	if err != nil {
		c.n.Fatal(err)
	}
	return str, rsp
}

func TestClientsOfDraft02(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason, protocol string
		header           http.Header
		want             string
	}{
		"browser": {
			"Chromium sends the draft's header and an origin of its page",
			"webtransport",
			http.Header{"Sec-Webtransport-Http3-Draft02": {"1"}, "Origin": {"https://elsewhere.example"}},
			"draft02",
		},
		"moq-relay 0.6.8": {"sends five pseudo-headers and nothing else", "webtransport", nil, ""},
		"draft 16":        {"renamed the protocol", "webtransport-h3", nil, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(c.reason)
			bubble(t, ServerConfig{}, func(n *testNet) {
				client := n.h3Client()
				str, rsp := client.connect(c.protocol, c.header)
				if rsp.StatusCode != http.StatusOK || rsp.Header.Get(draftHeader) != c.want {
					t.Fatalf("answered %d %v", rsp.StatusCode, rsp.Header)
				}
				server, err := n.endpoint.Accept(n.ctx())
				if err != nil {
					t.Fatal(err)
				}
				if server.Path() != "/?jwt=x" {
					t.Errorf("path %q", server.Path())
				}
				uni, err := server.OpenUniStream()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := uni.Write([]byte("group")); err != nil {
					t.Fatal(err)
				}
				// The HTTP/3 client takes the first streams; ask the connection for ours by its prefix.
				_ = server.CloseWithError(10, "bye")
				b, _ := io.ReadAll(str)
				if want := string(closeCapsule(10, "bye")); string(b) != want {
					t.Errorf("CONNECT stream carried %q, want the close capsule %q", b, want)
				}
				<-client.quic.Context().Done()
				e, ok := errors.AsType[*quic.ApplicationError](context.Cause(client.quic.Context()))
				if !ok || uint64(e.ErrorCode) != mapCode(10) || e.ErrorMessage != "bye" {
					t.Errorf("connection ended with %v, want the mapped code 10", context.Cause(client.quic.Context()))
				}
			})
		})
	}
}

// Everything that ends a session ends its Conn (moq-relay 0.6.8 noticed none but
// the last).
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		end  func(*h3Client, *http3.RequestStream)
		want CloseError
	}{
		"FIN of the CONNECT stream": {
			func(_ *h3Client, s *http3.RequestStream) { _ = s.Close() },
			CloseError{Remote: true},
		},
		"reset of the CONNECT stream": {
			func(_ *h3Client, s *http3.RequestStream) {
				s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
			},
			CloseError{Remote: true},
		},
		"close capsule": {
			func(_ *h3Client, s *http3.RequestStream) {
				_, _ = s.Write(closeCapsule(77, "tab closed"))
				_ = s.Close()
			},
			CloseError{Code: 77, Reason: "tab closed", Remote: true},
		},
		"close capsule alone": {
			func(_ *h3Client, s *http3.RequestStream) { _, _ = s.Write(closeCapsule(77, "")) },
			CloseError{Code: 77, Remote: true},
		},
		"connection closed with a mapped code": {
			func(c *h3Client, _ *http3.RequestStream) {
				_ = c.quic.CloseWithError(quic.ApplicationErrorCode(mapCode(5)), "decode error")
			},
			CloseError{Code: 5, Reason: "decode error", Remote: true},
		},
		"connection closed with H3_NO_ERROR": {
			func(c *h3Client, _ *http3.RequestStream) { _ = c.quic.CloseWithError(0x100, "") },
			CloseError{Remote: true},
		},
		"connection handle dropped": {
			func(c *h3Client, _ *http3.RequestStream) { _ = c.quic.CloseWithError(0, "") },
			CloseError{Remote: true},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, ServerConfig{}, func(n *testNet) {
				client := n.h3Client()
				str, _ := client.connect("webtransport", nil)
				server, err := n.endpoint.Accept(n.ctx())
				if err != nil {
					t.Fatal(err)
				}
				open, err := server.OpenUniStream()
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				c.end(client, str)
				wantClosed(t, server, c.want)
				if took := time.Since(start); took > 2*latency {
					t.Errorf("noticed after %v", took)
				}
				if _, err := open.Write(make([]byte, 1<<20)); err == nil {
					t.Error("an open stream can still be written")
				}
				<-client.quic.Context().Done() // nothing is left of it
			})
		})
	}
}

// Streams that die before their prefix is complete cost themselves alone
// (moq-relay 0.6.8 ended the session).
func TestStreamsWithoutPrefix(t *testing.T) {
	t.Parallel()
	cases := map[string]func(t *testing.T, qc *quic.Conn){
		"uni, reset before any byte": func(t *testing.T, qc *quic.Conn) { mustUni(t, qc, nil).CancelWrite(0) },
		"uni, reset in the type":     func(t *testing.T, qc *quic.Conn) { mustUni(t, qc, []byte{0x40}).CancelWrite(0) },
		"uni, ended in the type":     func(t *testing.T, qc *quic.Conn) { _ = mustUni(t, qc, []byte{0x40}).Close() },
		"uni, reset in the id":       func(t *testing.T, qc *quic.Conn) { mustUni(t, qc, []byte{0x40, 0x54}).CancelWrite(0) },
		"uni, ended in the id":       func(t *testing.T, qc *quic.Conn) { _ = mustUni(t, qc, []byte{0x40, 0x54}).Close() },
		"uni of an unknown type":     func(t *testing.T, qc *quic.Conn) { _ = mustUni(t, qc, []byte{0x21}).Close() },
		"uni that stays at one byte": func(t *testing.T, qc *quic.Conn) { mustUni(t, qc, []byte{0x40}) },
		"bidi, reset in the type":    func(t *testing.T, qc *quic.Conn) { mustBidi(t, qc, []byte{0x40}).CancelWrite(0) },
		"bidi, ended in the type":    func(t *testing.T, qc *quic.Conn) { _ = mustBidi(t, qc, []byte{0x40}).Close() },
		"bidi, reset in the id":      func(t *testing.T, qc *quic.Conn) { mustBidi(t, qc, []byte{0x40, 0x41}).CancelWrite(0) },
		"bidi, ended in the id":      func(t *testing.T, qc *quic.Conn) { _ = mustBidi(t, qc, []byte{0x40, 0x41}).Close() },
	}
	for name, breakStream := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, ServerConfig{}, func(n *testNet) {
				client := n.h3Client()
				client.connect("webtransport", nil)
				server, err := n.endpoint.Accept(n.ctx())
				if err != nil {
					t.Fatal(err)
				}
				breakStream(t, client.quic)
				time.Sleep(time.Second)
				_, _ = mustUni(t, client.quic, []byte{0x40, 0x54, 0}).Write([]byte("group"))
				got, err := server.AcceptUniStream(n.ctx())
				if err != nil {
					t.Fatalf("the session ended: %v", err)
				}
				wantRead(t, got, "group")
			})
		})
	}
}

func mustUni(t *testing.T, qc *quic.Conn, b []byte) *quic.SendStream {
	t.Helper()
	s, err := qc.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(b); err != nil {
		t.Fatal(err)
	}
	time.Sleep(latency) // it arrives
	return s
}

func mustBidi(t *testing.T, qc *quic.Conn, b []byte) *quic.Stream {
	t.Helper()
	s, err := qc.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(b); err != nil {
		t.Fatal(err)
	}
	time.Sleep(latency)
	return s
}

// A peer without RESET_STREAM_AT never sees a reset in place of a prefix.
func TestResetBeforeFirstWrite(t *testing.T) {
	t.Parallel()
	for _, keeps := range []bool{false, true} {
		bubble(t, ServerConfig{}, func(n *testNet) {
			qc := n.quicClient(&quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: keeps}, http3.NextProtoH3)
			tr := &http3.Transport{EnableDatagrams: true, AdditionalSettings: map[uint64]uint64{0x2b603742: 1}}
			raw := &h3Client{n: n, quic: qc}
			hc := tr.NewRawClientConn(qc)
			first, err := qc.AcceptUniStream(n.ctx()) // the server's control stream
			if err != nil {
				t.Fatal(err)
			}
			go hc.HandleUnidirectionalStream(first)
			str, err := hc.OpenRequestStream(n.ctx())
			if err != nil {
				t.Fatal(err)
			}
			_ = str.SendRequestHeader(&http.Request{
				Method: http.MethodConnect, Proto: "webtransport", Host: "relay.example",
				URL: &url.URL{Scheme: "https", Host: "relay.example", Path: "/"},
			})
			if _, err := str.ReadResponse(); err != nil {
				t.Fatal(err)
			}
			server, err := n.endpoint.Accept(n.ctx())
			if err != nil {
				t.Fatal(err)
			}
			s, err := server.OpenUniStream()
			if err != nil {
				t.Fatal(err)
			}
			s.CancelWrite(13)
			got, err := raw.quic.AcceptUniStream(n.ctx())
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(got)
			if want := string(quicvarint.Append(quicvarint.Append(nil, 0x54), 0)); string(b) != want {
				t.Errorf("keeps prefixes %v: stream carried %q, want the prefix %q", keeps, b, want)
			}
			if keeps {
				wantStreamError(t, "end of the stream", server.(*wtConn).streamError(err),
					&StreamError{Code: 13, Raw: mapCode(13), Mapped: true, Remote: true})
			} else if err != nil {
				t.Errorf("end of the stream: %v, want none", err)
			}
		})
	}
}

// Every step up to the answered CONNECT is within one timeout, and nobody waits
// for those who are slow.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	cases := map[string]func(n *testNet){
		"no first stream": func(n *testNet) {
			n.quicClient(&quic.Config{EnableDatagrams: true, KeepAlivePeriod: time.Second}, http3.NextProtoH3)
		},
		"no CONNECT": func(n *testNet) { n.h3Client() },
		"half a CONNECT": func(n *testNet) {
			c := n.h3Client()
			mustBidi(n.T, c.quic, []byte{0x01, 0x40})
		},
		"a CONNECT of one byte per second": func(n *testNet) {
			c := n.h3Client()
			s := mustBidi(n.T, c.quic, []byte{0x01, 0x40, 0xff})
			for range 8 {
				_, _ = s.Write([]byte{0})
				time.Sleep(time.Second)
			}
		},
		"a CONNECT without SETTINGS": func(n *testNet) {
			qc := n.quicClient(&quic.Config{EnableDatagrams: true, KeepAlivePeriod: time.Second}, http3.NextProtoH3)
			mustBidi(n.T, qc, []byte{0x01, 0x40, 0xff})
		},
		"requests but no session": func(n *testNet) {
			c := n.h3Client()
			for range 8 {
				rsp, err := c.http.RoundTrip(mustRequest(n, http.MethodGet, "/"))
				if err != nil || rsp.StatusCode != http.StatusNotFound {
					n.Errorf("answered %v, %v", rsp, err)
				}
				time.Sleep(time.Second)
			}
		},
		"a client whose answers never arrive": func(n *testNet) {
			pc := n.clientSocket(func() bool { return true })
			tr := &quic.Transport{Conn: pc}
			ctx, cancel := context.WithTimeout(n.ctx(), time.Second)
			defer cancel()
			_, _ = tr.Dial(ctx, serverAddr, ways[0].dial.tls(), nil)
			_ = tr.Close()
		},
	}
	for name, begin := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, ServerConfig{HandshakeTimeout: timeout}, func(n *testNet) {
				start := time.Now()
				begin(n)
				if got := n.endpoint.Stats().HalfOpen; got != 1 {
					t.Errorf("%d half-open connections, want 1", got)
				}
				for _, w := range ways {
					began := time.Now()
					client, _ := n.connect(w)
					if took := time.Since(began); took > 10*latency {
						t.Errorf("%s waited %v for the slow one", w.name, took)
					}
					_ = client.CloseWithError(0, "")
				}
				time.Sleep(timeout - time.Since(start) + time.Second)
				if s := n.endpoint.Stats(); s.HalfOpen != 0 || s.Failed != 1 || s.Accepted != uint64(len(ways)) {
					t.Errorf("after the timeout: %+v", s)
				}
			})
		})
	}
}

func (c DialConfig) tls() *tls.Config {
	return tlsConfig(&tls.Config{RootCAs: testRoots}, []string{plain.ALPN})
}

func mustRequest(n *testNet, method, path string) *http.Request {
	n.Helper()
	r, err := http.NewRequestWithContext(n.ctx(), method, "https://relay.example"+path, nil)
	if err != nil {
		n.Fatal(err)
	}
	return r
}

func TestHTTPRequests(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("a bug")
		}
		_, _ = io.WriteString(w, "hello from "+r.URL.Path)
	})
	bubble(t, ServerConfig{HTTPHandler: handler}, func(n *testNet) {
		c := n.h3Client()
		rsp, err := c.http.RoundTrip(mustRequest(n, http.MethodGet, "/announced"))
		if err != nil {
			t.Fatal(err)
		}
		wantRead(t, rsp.Body, "hello from /announced")
		if _, err := c.http.RoundTrip(mustRequest(n, http.MethodGet, "/panic")); err == nil {
			t.Error("a handler that panicked answered")
		}
		if _, rsp := c.connect("connect-udp", nil); rsp.StatusCode != http.StatusBadRequest {
			t.Errorf("CONNECT of another protocol: %d", rsp.StatusCode)
		}
		_, rsp = c.connect("webtransport", http.Header{"X-Large": {strings.Repeat("x", DefaultMaxHeaderBytes)}})
		if rsp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("header over the limit: %d", rsp.StatusCode)
		}
		if _, rsp = c.connect("webtransport", nil); rsp.StatusCode != http.StatusOK {
			t.Errorf("CONNECT after all that: %d", rsp.StatusCode)
		}
		server, err := n.endpoint.Accept(n.ctx())
		if err != nil {
			t.Fatal(err)
		}
		second, err := c.http.OpenRequestStream(n.ctx())
		if err != nil {
			t.Fatal(err)
		}
		_ = second.SendRequestHeader(&http.Request{
			Method: http.MethodConnect, Proto: "webtransport", Host: "relay.example",
			URL: &url.URL{Scheme: "https", Host: "relay.example", Path: "/"},
		})
		if _, err := second.ReadResponse(); err == nil {
			t.Error("a second session on one connection was accepted")
		}
		if server.Context().Err() != nil {
			t.Error("the second CONNECT ended the first session")
		}
	})
}
