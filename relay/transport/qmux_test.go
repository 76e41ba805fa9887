package transport

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/moqrelay/moqrelay/relay/wire/qmux"
)

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
