package transport

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/relay/wire/qmux"
)

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
