package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

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

// framings are offers for each wire version.
var framings = map[string]string{"00": "qmux-00.moql", "01": "qmux-01.moql", "02": "qmux-02.moql", "legacy": "webtransport"}

// eachFraming runs f with both ends of a connection of each wire version.
func eachFraming(t *testing.T, c ServerConfig, f func(n *testNet, client, server Conn)) {
	t.Helper()
	for name, offer := range framings {
		t.Run(name, func(t *testing.T) {
			bubble(t, c, func(n *testNet) {
				dial := DialConfig{DialTCP: n.dialTCP(nil)}
				client, err := dialWebSocket(n.ctx(), "http://1.0.0.1/", dial, newTimeouts(0, 0, 0), []string{offer})
				if err != nil {
					t.Fatal(err)
				}
				server, err := n.endpoint.Accept(n.ctx())
				if err != nil {
					t.Fatal(err)
				}
				f(n, client, server)
				_ = client.CloseWithError(0, "")
			})
		})
	}
}

func TestFramings(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef", 1<<16)
	eachFraming(t, ServerConfig{}, func(n *testNet, client, server Conn) {
		for _, dir := range []struct{ from, to Conn }{{client, server}, {server, client}} {
			s, err := dir.from.OpenStream(n.ctx())
			if err != nil {
				n.Fatal(err)
			}
			var writes sync.WaitGroup
			writes.Go(func() {
				if k, err := s.Write([]byte(large)); k != len(large) || err != nil {
					n.Errorf("wrote %d bytes, %v", k, err)
				}
				_ = s.Close()
			})
			r, err := dir.to.AcceptStream(n.ctx())
			if err != nil {
				n.Fatal(err)
			}
			wantRead(n, r, large)
			wantEOF(n, r)
			writes.Wait()
			r.CancelWrite(7)
			_, err = s.Read(make([]byte, 1))
			wantStreamError(n, "read after a reset", err, &StreamError{Code: 7, Raw: 7, Remote: true})

			u, err := dir.from.OpenUniStream()
			if err != nil {
				n.Fatal(err)
			}
			_, _ = u.Write([]byte("group"))
			ru, err := dir.to.AcceptUniStream(n.ctx())
			if err != nil {
				n.Fatal(err)
			}
			ru.CancelRead(8)
			<-u.Stopped()
			wantStreamError(n, "stop code", u.StopCode(), &StreamError{Code: 8, Raw: 8, Remote: true})
		}
		time.Sleep(time.Minute) // quiet, and kept alive
		if client.Context().Err() != nil || server.Context().Err() != nil {
			n.Fatalf("ended: %v", context.Cause(server.Context()))
		}
		for _, c := range []Conn{client, server} {
			if rtt := c.Stats().SmoothedRTT; rtt < 2*latency || rtt > 4*latency {
				n.Errorf("round trip %v, want %v", rtt, 2*latency)
			}
		}
		_ = server.CloseWithError(9, "enough")
		wantClosed(n, client, CloseError{Code: 9, Reason: "enough", Remote: true})
	})
}

// TestCreditOfStreams: a peer that may open 100 streams opens 300, one after the
// other, and so do we with a peer that allows 100.
func TestCreditOfStreams(t *testing.T) {
	t.Parallel()
	const limit, count = 100, 300
	bubble(t, ServerConfig{Limits: Limits{MaxUniStreams: limit}}, func(n *testNet) {
		p := generous
		p.MaxStreamsUni = limit
		peer, conn := n.rawConn(p, "qmux-01.moql")
		allowed := uint64(limit)
		for i := range uint64(count) {
			for i >= allowed {
				allowed = peer.want(qmux.MaxStreamsUni).Limit
			}
			peer.send(qmux.Frame{Type: qmux.Stream, ID: i<<2 | 2, HasOffset: true, Fin: true, Data: []byte("group")})
			s, err := conn.AcceptUniStream(n.ctx())
			if err != nil {
				t.Fatal(err)
			}
			wantRead(t, s, "group")
			wantEOF(t, s)
		}
		for i := range uint64(count) {
			s, err := conn.OpenUniStream()
			if i >= limit && i%limit == 0 {
				if !errors.Is(err, ErrNoCredit) {
					t.Fatalf("stream %d: %v, want ErrNoCredit", i, err)
				}
				peer.send(qmux.Frame{Type: qmux.MaxStreamsUni, Limit: i + limit})
				time.Sleep(4 * latency)
				s, err = conn.OpenUniStream()
			}
			if err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
			go func() { // until the peer has read what came before
				_, _ = s.Write([]byte("group"))
				_ = s.Close()
			}()
			if f := peer.want(qmux.Stream); f.ID != i<<2|3 || string(f.Data) != "group" {
				t.Fatalf("stream %d arrived as %+v", i, f)
			}
		}
		_ = conn.CloseWithError(0, "")
	})
}

// TestCreditOfData: what is written is bounded by the peer's credit, and goes on
// as soon as that is raised.
func TestCreditOfData(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(*qmux.Parameters)
		raise  qmux.Frame
	}{
		"of a stream":      {func(p *qmux.Parameters) { p.MaxStreamDataUni = 1000 }, qmux.Frame{Type: qmux.MaxStreamData, ID: 3, Limit: 5000}},
		"of a connection":  {func(p *qmux.Parameters) { p.MaxData = 1000 }, qmux.Frame{Type: qmux.MaxData, Limit: 5000}},
		"and not less now": {func(p *qmux.Parameters) { p.MaxData = 1000 }, qmux.Frame{Type: qmux.MaxData, Limit: 5000}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, ServerConfig{}, func(n *testNet) {
				p := generous
				c.change(&p)
				peer, conn := n.rawConn(p, "qmux-01.moql")
				s, err := conn.OpenUniStream()
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() {
					_, err := s.Write(make([]byte, 5000))
					_ = s.Close()
					done <- err
				}()
				if f := peer.want(qmux.Stream); len(f.Data) != 1000 || f.Fin {
					t.Errorf("sent %d bytes, want 1000", len(f.Data))
				}
				select {
				case <-done:
					t.Error("wrote without credit")
				case <-time.After(time.Second):
				}
				lower := c.raise
				lower.Limit = 10
				peer.send(lower, c.raise)
				if f := peer.want(qmux.Stream); len(f.Data) != 4000 || f.Offset != 1000 {
					t.Errorf("sent %d bytes at %d, want 4000 at 1000", len(f.Data), f.Offset)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				_ = conn.CloseWithError(0, "")
			})
		})
	}
}

// TestS18 holds that a peer which breaks QMux ends its own connection, and learns
// why.
func TestS18Faults(t *testing.T) {
	t.Parallel()
	stream := func(id, offset uint64, n int) qmux.Frame {
		return qmux.Frame{Type: qmux.Stream, ID: id, Offset: offset, HasOffset: true, Data: make([]byte, n)}
	}
	ping := func(seq uint64) qmux.Frame { return qmux.Frame{Type: qmux.Ping, Sequence: seq} }
	limits := Limits{MaxStreams: 4, MaxUniStreams: 4, StreamWindow: 2000, ConnWindow: 3000}
	cases := map[string]struct {
		offer  string
		frames []qmux.Frame
		want   uint64
	}{
		"credit overrun of a stream":     {"01", []qmux.Frame{stream(2, 0, 2001)}, faultFlowControl},
		"credit overrun bit by bit":      {"01", []qmux.Frame{stream(2, 0, 1999), stream(2, 1999, 2)}, faultFlowControl},
		"credit overrun of a connection": {"01", []qmux.Frame{stream(2, 0, 1600), stream(6, 0, 1600)}, faultFlowControl},
		"credit overrun by a reset":      {"01", []qmux.Frame{{Type: qmux.ResetStream, ID: 2, FinalSize: 1 << 40}}, faultFlowControl},
		"too many streams":               {"01", []qmux.Frame{stream(4<<2|2, 0, 1)}, faultStreamLimit},
		"stream id of 2^62-1":            {"01", []qmux.Frame{stream(1<<62-2, 0, 1)}, faultStreamLimit},
		"a stream of ours":               {"01", []qmux.Frame{stream(3, 0, 1)}, faultStreamState},
		"a stream we did not open":       {"01", []qmux.Frame{stream(1, 0, 1)}, faultStreamState},
		"stop of its own":                {"01", []qmux.Frame{{Type: qmux.StopSending, ID: 2}}, faultStreamState},
		"credit for its own":             {"01", []qmux.Frame{{Type: qmux.MaxStreamData, ID: 2, Limit: 1}}, faultStreamState},
		"a gap":                          {"01", []qmux.Frame{stream(2, 5, 1)}, faultProtocol},
		"data after FIN":                 {"01", []qmux.Frame{{Type: qmux.Stream, ID: 2, Fin: true}, stream(2, 0, 1)}, faultFinalSize},
		"final size that shrinks":        {"01", []qmux.Frame{stream(2, 0, 10), {Type: qmux.ResetStream, ID: 2, FinalSize: 9}}, faultFinalSize},
		"parameters twice":               {"01", []qmux.Frame{{Type: qmux.TransportParameters}}, faultProtocol},
		"unknown frame":                  {"01", []qmux.Frame{{Type: 0x3f}}, faultEncoding},
		"ping that goes back in 02":      {"02", []qmux.Frame{ping(5), ping(5)}, faultProtocol},
		"answer without a ping in 02":    {"02", []qmux.Frame{{Type: qmux.PingResponse, Sequence: 99}}, faultProtocol},
		"two frames in 00":               {"00", []qmux.Frame{{Type: qmux.Padding}, {Type: qmux.Padding}}, faultProtocol},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, ServerConfig{Limits: limits}, func(n *testNet) {
				good, goodServer := n.connect(ways[3])
				peer, conn := n.rawConn(generous, "qmux-"+c.offer+".moql")
				peer.send(c.frames...)
				if code, status := peer.wantEnd(); code != c.want || status != websocket.StatusProtocolError {
					t.Errorf("ended with code %d and status %d, want code %d", code, status, c.want)
				}
				wantLost(t, conn)
				if good.Context().Err() != nil || goodServer.Context().Err() != nil {
					t.Error("another connection ended with it")
				}
				_ = good.CloseWithError(0, "")
			})
		})
	}
	t.Run("no parameters first in 02", func(t *testing.T) {
		bubble(t, ServerConfig{}, func(n *testNet) {
			peer := n.raw("qmux-02.moql")
			peer.send(ping(1))
			if code, _ := peer.wantEnd(); code != faultProtocol {
				t.Errorf("ended with code %d", code)
			}
			time.Sleep(time.Second)
			if s := n.endpoint.Stats(); s.HalfOpen != 0 || s.Failed != 1 {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("bad parameters", func(t *testing.T) {
		bubble(t, ServerConfig{}, func(n *testNet) {
			peer := n.raw("qmux-01.moql")
			peer.send(qmux.Frame{Type: qmux.TransportParameters, Data: []byte{0, 0}})
			if code, _ := peer.wantEnd(); code != faultParameters {
				t.Errorf("ended with code %d", code)
			}
		})
	})
}

// TestS18ReceiveCreditIsRaised: what has been read may be sent again, also where it
// was dropped unread.
func TestS18ReceiveCreditIsRaised(t *testing.T) {
	t.Parallel()
	limits := Limits{StreamWindow: 2000, ConnWindow: 3000}
	bubble(t, ServerConfig{Limits: limits}, func(n *testNet) {
		peer, conn := n.rawConn(generous, "qmux-01.moql")
		peer.send(qmux.Frame{Type: qmux.Stream, ID: 2, Data: make([]byte, 2000)})
		s, err := conn.AcceptUniStream(n.ctx())
		if err != nil {
			t.Fatal(err)
		}
		wantRead(t, s, strings.Repeat("\x00", 1000))
		if f := peer.want(qmux.MaxStreamData); f.ID != 2 || f.Limit != 3000 {
			t.Errorf("raised to %+v after half, want 3000", f)
		}
		s.CancelRead(5)
		if f := peer.want(qmux.StopSending); f.ID != 2 || f.Code != 5 {
			t.Errorf("%+v", f)
		}
		// 3000 were allowed, 2000 sent, all of them gone.
		peer.send(qmux.Frame{Type: qmux.ResetStream, ID: 2, Code: 5, FinalSize: 2500})
		peer.send(qmux.Frame{Type: qmux.Stream, ID: 6, Data: make([]byte, 2000)})
		if _, err := conn.AcceptUniStream(n.ctx()); err != nil {
			t.Fatal(err)
		}
		_ = conn.CloseWithError(0, "")
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

func TestS18PingFlood(t *testing.T) {
	t.Parallel()
	t.Run("QMux", func(t *testing.T) {
		bubble(t, ServerConfig{}, func(n *testNet) {
			peer, conn := n.rawConn(generous, "qmux-01.moql")
			for i := range uint64(pingBurst) {
				peer.send(qmux.Frame{Type: qmux.Ping, Sequence: i})
				if f := peer.want(qmux.PingResponse); f.Sequence != i {
					t.Errorf("ping %d answered with %d", i, f.Sequence)
				}
			}
			flood := make([]qmux.Frame, 1000)
			for i := range flood {
				flood[i] = qmux.Frame{Type: qmux.Ping, Sequence: uint64(i)}
			}
			peer.send(flood...)
			if code, _ := peer.wantEnd(); code != faultProtocol {
				t.Errorf("ended with code %d", code)
			}
			wantLost(t, conn)
		})
	})
	t.Run("WebSocket", func(t *testing.T) {
		bubble(t, ServerConfig{}, func(n *testNet) {
			peer, conn := n.rawConn(generous, "qmux-01.moql")
			go func() {
				for peer.ws.Ping(n.ctx()) == nil {
					continue
				}
			}()
			_, status := peer.wantEnd()
			if status != websocket.StatusPolicyViolation && conn.Context().Err() == nil {
				t.Errorf("ended with status %d", status)
			}
			wantLost(t, conn)
		})
	})
	t.Run("that nobody reads", func(t *testing.T) {
		bubble(t, ServerConfig{}, func(n *testNet) {
			peer, conn := n.rawConn(generous, "qmux-01.moql")
			s, err := conn.OpenUniStream()
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = s.Write(make([]byte, 16<<20)) }() // the path is full
			for range 200 {                                      // as often as is allowed, and never reading an answer
				time.Sleep(time.Second / pingRate)
				peer.send(qmux.Frame{Type: qmux.Ping, Sequence: 1})
				if conn.Context().Err() != nil {
					break
				}
			}
			wantLost(t, conn)
		})
	})
}

func TestS18TextMessage(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{}, func(n *testNet) {
		peer, conn := n.rawConn(generous, "qmux-01.moql")
		if err := peer.ws.Write(n.ctx(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, status := peer.wantEnd(); status != websocket.StatusUnsupportedData {
			t.Errorf("ended with status %d, want 1003", status)
		}
		wantLost(t, conn)
	})
}

// TestS18SlowReader: a peer that reads nothing and pings holds its senders, gets
// what is most urgent next when it reads again, and is not cut off.
func TestS18SlowReader(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{}, func(n *testNet) {
		peer, conn := n.rawConn(generous, "qmux-01.moql")
		const size = 2 << 20
		var writes sync.WaitGroup
		open := func(urgency uint8, incremental bool) {
			s, err := conn.OpenUniStream()
			if err != nil {
				t.Fatal(err)
			}
			s.SetPriority(urgency, incremental)
			writes.Go(func() {
				if _, err := s.Write(make([]byte, size)); err != nil {
					t.Error(err)
				}
				_ = s.Close()
			})
			time.Sleep(time.Millisecond)
		}
		open(5, false) // 3
		open(4, true)  // 7
		open(4, true)  // 11
		open(2, false) // 15
		open(2, false) // 19
		time.Sleep(20 * time.Second)
		if conn.Context().Err() != nil {
			t.Fatalf("ended: %v", context.Cause(conn.Context()))
		}
		open(0, false) // 23
		var order []uint64
		alternations, ended := 0, 0
		for ended < 6 {
			frames, err := peer.next()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range frames {
				if f.Type != qmux.Stream {
					continue
				}
				if last := len(order) - 1; last >= 0 && order[last] == 18-f.ID {
					alternations++ // between 7 and 11
				}
				if f.Fin {
					ended++
				}
				if len(f.Data) > 0 && (len(order) == 0 || order[len(order)-1] != f.ID) {
					order = append(order, f.ID)
				}
			}
		}
		writes.Wait()
		// What was on its way before the most urgent came, then all in their order.
		var tail []uint64
		for _, id := range order {
			if len(tail) > 0 || id == 23 {
				tail = append(tail, id)
			}
		}
		if len(tail) < 3 || !cmp.Equal(tail[:3], []uint64{23, 15, 19}) || tail[len(tail)-1] != 3 || alternations < 100 {
			t.Errorf("arrived in the order %d with %d alternations, want 23, 15, 19, then 7 and 11 in turns, then 3", tail, alternations)
		}
		_ = conn.CloseWithError(0, "")
	})
}

// TestLegacyBackPressure: without flow control, the socket is not read while what
// was received is not.
func TestLegacyBackPressure(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{Limits: Limits{ConnWindow: 64 << 10, MaxUniStreams: 4}}, func(n *testNet) {
		peer, conn := n.rawConn(qmux.Parameters{}, "webtransport")
		const size = 4 << 20
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range size >> 14 {
				peer.send(qmux.Frame{Type: qmux.Stream, ID: 2, Data: make([]byte, 1<<14)})
			}
			peer.send(qmux.Frame{Type: qmux.Stream, ID: 2, Fin: true})
		}()
		s, err := conn.AcceptUniStream(n.ctx())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute) // far beyond the idle timeout: we are the silent one
		if got := conn.Stats().BytesReceived; got > 512<<10 {
			t.Errorf("read %d bytes of what nobody takes", got)
		}
		if b, err := io.ReadAll(s); len(b) != size || err != nil {
			t.Errorf("read %d bytes, %v", len(b), err)
		}
		<-sent
		// Streams that nobody accepts hold up the reader; those that do not end are a fault.
		go func() {
			for i := range uint64(8) {
				peer.send(qmux.Frame{Type: qmux.Stream, ID: (i+1)<<2 | 2, Data: []byte("x")})
			}
		}()
		time.Sleep(time.Second)
		if conn.Context().Err() != nil {
			t.Fatalf("ended: %v", context.Cause(conn.Context()))
		}
		for {
			if _, err := conn.AcceptUniStream(n.ctx()); err != nil {
				break
			}
		}
		wantLost(t, conn)
	})
}

// TestQmuxEnds: every way to end a WebSocket ends its Conn.
func TestQmuxEnds(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		end  func(*rawPeer)
		want CloseError
	}{
		"APPLICATION_CLOSE": {
			func(p *rawPeer) {
				p.send(qmux.Frame{Type: qmux.ApplicationClose, Code: 7, Reason: "bye"})
			}, CloseError{Code: 7, Reason: "bye", Remote: true},
		},
		"close of the WebSocket": {func(p *rawPeer) { _ = p.ws.Close(websocket.StatusNormalClosure, "") }, CloseError{Remote: true}},
		"tab closed":             {func(p *rawPeer) { _ = p.ws.Close(websocket.StatusGoingAway, "") }, CloseError{Remote: true}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, ServerConfig{}, func(n *testNet) {
				peer, conn := n.rawConn(generous, "qmux-01.moql")
				c.end(peer)
				wantClosed(t, conn, c.want)
				_ = conn.CloseWithError(0, "")
			})
		})
	}
	t.Run("CONNECTION_CLOSE", func(t *testing.T) {
		bubble(t, ServerConfig{}, func(n *testNet) {
			peer, conn := n.rawConn(generous, "qmux-01.moql")
			peer.send(qmux.Frame{Type: qmux.ConnectionClose, Code: 3, Reason: "credit"})
			<-conn.Context().Done()
			e, _ := errors.AsType[*CloseError](context.Cause(conn.Context()))
			if e == nil || !e.Remote || e.Err == nil || e.Code != 0 {
				t.Errorf("ended with %#v", e)
			}
		})
	})
	t.Run("TCP alone", func(t *testing.T) {
		bubble(t, ServerConfig{}, func(n *testNet) {
			peer, conn := n.rawConn(generous, "qmux-01.moql")
			_ = peer.ws.CloseNow()
			wantLost(t, conn)
		})
	})
}

// TestQmuxHalfOpen: a WebSocket without parameters is no connection yet, counts
// among the half-open ones, and does not stay.
func TestQmuxHalfOpen(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{Limits: Limits{RefuseAbove: 2}, HandshakeTimeout: 3 * time.Second}, func(n *testNet) {
		first := n.raw("qmux-01.moql")
		n.raw("qmux-01.moql")
		_, answer, _ := n.dialRaw(&websocket.DialOptions{Subprotocols: []string{"qmux-01.moql"}})
		if answer == nil || answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("the third one was answered %v, want 503", answer)
		}
		if s := n.endpoint.Stats(); s.HalfOpen != 2 || s.Refused != 1 {
			t.Errorf("%+v", s)
		}
		if _, status := first.wantEnd(); status != websocket.StatusPolicyViolation {
			t.Errorf("ended with status %d", status)
		}
		time.Sleep(time.Second)
		if s := n.endpoint.Stats(); s.HalfOpen != 0 || s.Failed != 2 {
			t.Errorf("%+v", s)
		}
		client, _ := n.connect(ways[3])
		_ = client.CloseWithError(0, "")
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

// FuzzQmuxMessage feeds a connection with anything a peer can send.
func FuzzQmuxMessage(f *testing.F) {
	f.Add([]byte{0x0f, 2, 0, 3, 1, 1, 0}, uint8(1))
	f.Add([]byte{0x04, 2, 13, 0x41, 0x2c, 0x05, 0, 0}, uint8(1))
	f.Add([]byte{0x09, 2, 1}, uint8(3))
	f.Add([]byte{0x13, 0x40, 0x65, 0x10, 0x40, 0x65, 0x1d, 0, 0}, uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, version uint8) {
		c := fuzzedConn(qmux.Version(version % 4))
		s := c.newStreamLocked(1, true)
		c.opened[bidi]++
		s.send.pending = make([]byte, 100)
		for len(b) > 0 {
			n := min(len(b), 1+int(b[0])%64)
			if c.handleMessage(b[:n]) != nil {
				return
			}
			b = b[n:]
			c.mu.Lock()
			for range 10 {
				_, _ = c.recordLocked(nil)
			}
			c.mu.Unlock()
			for dir := range 2 {
				if s, _ := c.takeIncoming(dir); s != nil && s.recv.buffered() > 0 {
					_, _ = s.Read(make([]byte, 10))
					s.CancelRead(1)
				}
			}
			if got := c.received - c.consumed; c.version.HasCredit() && got > c.limits.connWindow {
				t.Fatalf("holds %d bytes", got)
			}
			if len(c.streams) > 20 || len(c.skipped[0])+len(c.skipped[1]) > 20 {
				t.Fatalf("holds %d streams", len(c.streams))
			}
		}
	})
}

// fuzzedConn is a connection without a socket.
func fuzzedConn(v qmux.Version) *qmuxConn {
	c := &qmuxConn{
		version: v, socket: &qmuxSocket{wake: make(chan struct{}, 1)},
		limits: qmuxLimits{[2]uint64{8, 8}, 1000, 2000}, recvLimit: 2000, acceptLimit: [2]uint64{8, 8},
		ready: make(chan struct{}), credit: make(chan struct{}, 1), room: make(chan struct{}, 1),
		rewatch: make(chan struct{}, 1), timeouts: newTimeouts(0, 0, 0),
		arrived: [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)},
		streams: make(map[uint64]*qmuxStream),
		skipped: [2]map[uint64]struct{}{make(map[uint64]struct{}), make(map[uint64]struct{})},
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	return c
}
