package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/moqrelay/moqrelay/relay/wire/qmux"
)

func TestChooseSubprotocol(t *testing.T) {
	t.Parallel()
	tokens := []string{"moq-lite-06", "moq-lite-05", "moql"}
	browser := []string{
		"qmux-02.moq-lite-05", "qmux-01.moq-lite-05", "qmux-00.moq-lite-05", "qmux-02.moq-lite-04", "qmux-01.moql",
		"qmux-01.moqt-20", "qmux-02", "qmux-01", "qmux-00", "webtransport",
	}
	cases := map[string]struct {
		reason  string
		offered []string
		want    choice
		refused bool
	}{
		"browser":             {"the newest token, over 01", browser, choice{"qmux-01.moq-lite-05", qmux.Version01, "moq-lite-05"}, false},
		"server's order":      {"the client wants 05 first", []string{"qmux-01.moq-lite-05", "qmux-01.moq-lite-06"}, choice{"qmux-01.moq-lite-06", qmux.Version01, "moq-lite-06"}, false},
		"token before frames": {"a better token over a worse framing", []string{"qmux-01.moq-lite-05", "qmux-00.moq-lite-06"}, choice{"qmux-00.moq-lite-06", qmux.Version00, "moq-lite-06"}, false},
		"02 before 00":        {"", []string{"qmux-00.moql", "qmux-02.moql"}, choice{"qmux-02.moql", qmux.Version02, "moql"}, false},
		"bare":                {"no pair is known", []string{"qmux-01.moqt-20", "webtransport", "qmux-00"}, choice{"qmux-00", qmux.Version00, ""}, false},
		"bare legacy":         {"", []string{"webtransport"}, choice{"webtransport", qmux.Legacy, ""}, false},
		"nothing":             {"the oldest clients", nil, choice{"", qmux.Legacy, ""}, false},
		"unknown token":       {"", []string{"qmux-01.moqt-20"}, choice{}, true},
		"unknown framing":     {"", []string{"qmux-03.moql", "chat"}, choice{}, true},
		"token alone":         {"", []string{"moq-lite-05"}, choice{}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := chooseSubprotocol(c.offered, tokens)
			if got != c.want || ok == c.refused {
				t.Errorf("%s: chose %+v, %v; want %+v", c.reason, got, ok, c.want)
			}
		})
	}
}

func TestWebSocketAnswers(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason   string
		config   ServerConfig
		options  websocket.DialOptions
		status   int
		protocol string
	}{
		"a pair":           {"", ServerConfig{}, websocket.DialOptions{Subprotocols: []string{"qmux-02.moql", "qmux-01.moql"}}, 101, "qmux-01.moql"},
		"a bare name":      {"", ServerConfig{}, websocket.DialOptions{Subprotocols: []string{"qmux-02"}}, 101, "qmux-02"},
		"no offer":         {"the oldest clients make none", ServerConfig{}, websocket.DialOptions{}, 101, ""},
		"unknown":          {"an upgrade would say that we had picked one", ServerConfig{}, websocket.DialOptions{Subprotocols: []string{"moqt-20"}}, 400, ""},
		"no tokens":        {"nothing is served over WebSocket", ServerConfig{WebSocketProtocols: []string{}}, websocket.DialOptions{}, 400, ""},
		"any origin":       {"pages play from everywhere", ServerConfig{}, origin("https://elsewhere.example"), 101, ""},
		"allowed origin":   {"", ServerConfig{AllowedOrigins: []string{"https://here.example"}}, origin("https://HERE.example"), 101, ""},
		"forbidden origin": {"", ServerConfig{AllowedOrigins: []string{"https://here.example"}}, origin("https://elsewhere.example"), 403, ""},
		"opaque origin":    {"a page in a sandbox", ServerConfig{AllowedOrigins: []string{"https://here.example"}}, origin("null"), 403, ""},
		"no origin":        {"a program", ServerConfig{AllowedOrigins: []string{"https://here.example"}}, websocket.DialOptions{}, 101, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, c.config, func(n *testNet) {
				ws, answer, err := n.dialRaw(&c.options)
				if answer == nil {
					t.Fatal(err)
				}
				if answer.StatusCode != c.status {
					t.Errorf("status %d, want %d: %s", answer.StatusCode, c.status, c.reason)
				}
				if ws != nil && ws.Subprotocol() != c.protocol {
					t.Errorf("subprotocol %q, want %q", ws.Subprotocol(), c.protocol)
				}
				if ws == nil {
					if text, _ := io.ReadAll(answer.Body); len(text) < 10 {
						t.Errorf("refused with %q", text)
					}
					if s := n.endpoint.Stats(); s.HalfOpen != 0 || s.Accepted != 0 {
						t.Errorf("%+v", s)
					}
				}
			})
		})
	}
}

func origin(o string) websocket.DialOptions {
	return websocket.DialOptions{HTTPHeader: http.Header{"Origin": {o}}}
}

func TestS28WebTransportOrigin(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{AllowedOrigins: []string{"https://here.example"}}, func(n *testNet) {
		for o, want := range map[string]int{"https://here.example": 200, "https://elsewhere.example": 403} {
			w := ways[2]
			w.dial.Header = http.Header{"Origin": {o}}
			client, err := n.dial(w)
			if want == 200 {
				if err != nil {
					t.Fatal(err)
				}
				_ = client.CloseWithError(0, "")
				continue
			}
			if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != want {
				t.Errorf("%s: %v, want status %d", o, err, want)
			}
		}
	})
}

// TestS18DeclaredLength: 4 GiB are announced, by a frame of the WebSocket, by many
// fragments and by a frame of QMux; nothing is allocated for them. It measures,
// so that nothing may run beside it.
func TestS18DeclaredLength(t *testing.T) {
	header := []byte{0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4} // binary, masked, 2^32 bytes
	fragments := func() []byte {
		b := []byte{0x02, 0xfe, 0x20, 0x00, 0, 0, 0, 0}
		b = append(b, make([]byte, 0x2000)...)
		for range 3 {
			b = append(b, 0x00, 0xfe, 0x20, 0x00, 0, 0, 0, 0)
			b = append(b, make([]byte, 0x2000)...)
		}
		return b
	}
	for name, sent := range map[string][]byte{"a frame of 4 GiB": append(header, make([]byte, 64<<10)...), "fragments": fragments()} {
		t.Run(name, func(t *testing.T) {
			bubble(t, ServerConfig{}, func(n *testNet) {
				raw := n.rawTCP("qmux-01.moql")
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				go func() { _, _ = raw.Write(sent) }() // it is not read to its end
				b, _ := io.ReadAll(raw)
				runtime.ReadMemStats(&after)
				if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 4<<20 {
					t.Errorf("allocated %d bytes", grown)
				}
				// A close frame with status 1009 is somewhere near the end.
				if !bytes.Contains(b, []byte{0x03, 0xf1}) {
					t.Errorf("ended with % x, want status 1009", b[max(0, len(b)-100):])
				}
				_ = raw.Close()
			})
		})
	}
	t.Run("a stream frame", func(t *testing.T) {
		bubble(t, ServerConfig{}, func(n *testNet) {
			peer, conn := n.rawConn(generous, "qmux-01.moql")
			peer.sendBytes([]byte{0x0a, 2, 0xc0, 0, 0, 1, 0, 0, 0, 0, 'x'})
			if code, _ := peer.wantEnd(); code != faultEncoding {
				t.Errorf("ended with code %d", code)
			}
			wantLost(t, conn)
		})
	})
}

// rawTCP is a connection that has been upgraded, without any library.
func (n *testNet) rawTCP(offer string) net.Conn {
	n.Helper()
	conn, err := n.dialTCP(nil)(n.ctx(), "tcp", "1.0.0.1:80")
	if err != nil {
		n.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: relay.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: "+offer+"\r\n\r\n")
	var got []byte
	for b := make([]byte, 1); !bytes.HasSuffix(got, []byte("\r\n\r\n")); got = append(got, b[0]) {
		if _, err := conn.Read(b); err != nil {
			n.Fatalf("answered %q, %v", got, err)
		}
	}
	if !bytes.HasPrefix(got, []byte("HTTP/1.1 101")) {
		n.Fatalf("answered %q", got)
	}
	return conn
}

func TestS18NoCompression(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{}, func(n *testNet) {
		ws, answer, err := n.dialRaw(&websocket.DialOptions{
			Subprotocols: []string{"qmux-01.moql"}, CompressionMode: websocket.CompressionContextTakeover,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.Header.Get("Sec-WebSocket-Extensions"); got != "" {
			t.Errorf("extensions %q were agreed on", got)
		}
		_ = ws.CloseNow()
		// A compressed message all the same.
		raw := n.rawTCP("qmux-01.moql")
		_, _ = raw.Write([]byte{0xc2, 0x81, 0, 0, 0, 0, 0})
		if b, _ := io.ReadAll(raw); !bytes.Contains(b, []byte{0x03, 0xea}) {
			t.Errorf("ended with % x, want status 1002", b)
		}
		_ = raw.Close()
	})
}

func TestDialWebSocketErrors(t *testing.T) {
	t.Parallel()
	secured := way{"", DialConfig{WebSocket: true, WebSocketProtocols: []string{"moql"}}, "https://1.0.0.1/", WebSocket}
	cases := map[string]struct {
		config ServerConfig
		change func(*testNet, *way)
		want   error
	}{
		"nobody there":      {ServerConfig{}, func(_ *testNet, w *way) { w.addr = "https://1.0.0.9/" }, ErrUnreachable},
		"nobody there, TCP": {ServerConfig{}, func(_ *testNet, w *way) { w.addr = "http://1.0.0.9/" }, ErrUnreachable},
		"never answers": {ServerConfig{}, func(n *testNet, w *way) {
			w.dial.DialTCP = n.dialTCP(func() bool { return true })
		}, ErrUnreachable},
		"unknown host": {ServerConfig{}, func(_ *testNet, w *way) {
			w.addr = "https://nowhere.example/"
			w.dial.Resolve = addrs()
		}, ErrUnreachable},
		"certificate": {ServerConfig{}, func(_ *testNet, w *way) { w.dial.TLS = new(tls.Config) }, ErrCertificate},
		"unknown protocol": {ServerConfig{}, func(_ *testNet, w *way) {
			w.dial.WebSocketProtocols = []string{"moqt-20"}
		}, &StatusError{400}},
		"not offered": {ServerConfig{WebSocketProtocols: []string{}}, func(*testNet, *way) {}, &StatusError{400}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, c.config, func(n *testNet) {
				w := secured
				c.change(n, &w)
				_, err := n.dial(w)
				want, isStatus := c.want.(*StatusError)
				if got, ok := errors.AsType[*StatusError](err); isStatus && (!ok || *got != *want) || !isStatus && !errors.Is(err, c.want) {
					t.Errorf("dial: %v, want %v", err, c.want)
				}
				if err != nil && strings.Contains(err.Error(), "jwt") {
					t.Errorf("%v holds the token", err)
				}
			})
		})
	}
	t.Run("no URL", func(t *testing.T) {
		if _, err := Dial(t.Context(), "1.0.0.1:443", DialConfig{WebSocket: true}); err == nil {
			t.Error("dialed")
		}
	})
	t.Run("client certificate", func(t *testing.T) {
		required := ServerConfig{TLS: &tls.Config{
			Certificates: []tls.Certificate{testCert}, ClientCAs: testRoots, ClientAuth: tls.RequireAndVerifyClientCert,
		}}
		bubble(t, required, func(n *testNet) {
			if _, err := n.dial(secured); !errors.Is(err, ErrCertificate) {
				t.Errorf("dial: %v, want ErrCertificate", err)
			}
		})
	})
}
