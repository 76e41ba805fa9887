package transport

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCodes(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		code uint32
		wire uint64
	}{
		"first":                         {0, 0x52e4a40fa8db},
		"last before the first gap":     {29, 0x52e4a40fa8db + 29},
		"first after the first gap":     {30, 0x52e4a40fa8db + 31},
		"an application's first":        {64, 0x52e4a40fa91d},
		"a code that 0.6.8 misreads":    {77, 0x52e4a40fa8db + 77 + 2},
		"the largest there is":          {1<<32 - 1, 0x52e5ac983162},
		"wrong size, as 0.6.8 sends it": {14, 0x52e4a40fa8e9},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := mapCode(c.code); got != c.wire {
				t.Errorf("mapped to %#x, want %#x", got, c.wire)
			}
			if got, ok := unmapCode(c.wire); got != c.code || !ok {
				t.Errorf("unmapped to %d, %v, want %d", got, ok, c.code)
			}
		})
	}
	for name, wire := range map[string]uint64{
		"raw 0 of a QUIC library": 0, "below": firstMappedCode - 1, "above": lastMappedCode + 1, "reserved": firstMappedCode + 30,
	} {
		t.Run(name, func(t *testing.T) {
			if code, ok := unmapCode(wire); ok {
				t.Errorf("%#x unmapped to %d, want none", wire, code)
			}
		})
	}
}

func TestConnIdentity(t *testing.T) {
	t.Parallel()
	want := map[string][4]string{
		"raw QUIC":                          {"quic", "moq-lite-05", "", ""},
		"raw QUIC with mapped stream codes": {"quic", "moqf-02", "", ""},
		"WebTransport":                      {"webtransport", "", "/a%2Fb?c=d", "/a%2Fb?c=d"},
		"WebSocket":                         {"websocket", "moq-lite-05", "/a%2Fb?c=d", "/a%2Fb?c=d"},
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			bubble(t, ServerConfig{}, func(n *testNet) {
				client, server := n.connect(w)
				got := [4]string{server.Kind().String(), server.Protocol(), server.Path(), client.Path()}
				if d := cmp.Diff(want[w.name], got); d != "" {
					t.Errorf("server sees (-want +got):\n%s", d)
				}
				if client.Kind() != server.Kind() || client.Protocol() != server.Protocol() {
					t.Errorf("client sees %v %q", client.Kind(), client.Protocol())
				}
				if client.PeerCertificate() == nil || server.PeerCertificate() != nil {
					t.Errorf("certificates %v and %v, want the server's alone", client.PeerCertificate(), server.PeerCertificate())
				}
				if got := server.RemoteAddr().String(); got != client.LocalAddr().String() {
					t.Errorf("remote address %s, want %s", got, client.LocalAddr())
				}
				if s := client.Stats(); s.SmoothedRTT < 2*latency || s.BytesSent == 0 || s.PacketsSent == 0 || s.BytesReceived == 0 {
					t.Errorf("stats %+v", s)
				}
				_ = client.CloseWithError(0, "")
			})
		})
	}
}

func TestWebTransportProtocol(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{}, func(n *testNet) {
		w := ways[2]
		w.dial.WebTransportProtocols = []string{"unknown", "moq-lite-06", "moq-lite-05"}
		client, server := n.connect(w)
		if client.Protocol() != "moq-lite-06" || server.Protocol() != "moq-lite-06" {
			t.Errorf("protocols %q and %q, want the client's first that is known", client.Protocol(), server.Protocol())
		}
		_ = client.CloseWithError(0, "")
	})
}

func TestStreams(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef", 1<<14)
	eachWay(t, ServerConfig{}, func(n *testNet, client, server Conn) {
		for _, dir := range []struct {
			name     string
			from, to Conn
		}{{"client to server", client, server}, {"server to client", server, client}} {
			for _, payload := range []string{"", "x", strings.Repeat("y", maxFirstWrite), large} {
				uni, err := dir.from.OpenUniStream()
				if err != nil {
					n.Fatal(err)
				}
				bidi, err := dir.from.OpenStream(n.ctx())
				if err != nil {
					n.Fatal(err)
				}
				var writes sync.WaitGroup
				for _, s := range []SendStream{uni, bidi} {
					writes.Go(func() {
						s.SetPriority(2, true)
						if k, err := s.Write([]byte(payload)); k != len(payload) || err != nil {
							n.Errorf("%s: wrote %d of %d bytes, %v", dir.name, k, len(payload), err)
						}
						if err := s.Close(); err != nil {
							n.Errorf("%s: close: %v", dir.name, err)
						}
					})
				}
				gotUni, err := dir.to.AcceptUniStream(n.ctx())
				if err != nil {
					n.Fatal(err)
				}
				wantRead(n, gotUni, payload)
				wantEOF(n, gotUni)
				gotBidi, err := dir.to.AcceptStream(n.ctx())
				if err != nil {
					n.Fatal(err)
				}
				gotBidi.SetPriority(0, false)
				wantRead(n, gotBidi, payload)
				wantEOF(n, gotBidi)
				if _, err := gotBidi.Write([]byte("answer")); err != nil {
					n.Fatal(err)
				}
				if err := gotBidi.Close(); err != nil {
					n.Fatal(err)
				}
				wantRead(n, bidi, "answer")
				wantEOF(n, bidi)
				writes.Wait()
			}
		}
	})
}

// Codes of the application, not those on the wire, which differ by kind.
func TestStreamCodes(t *testing.T) {
	t.Parallel()
	eachWay(t, ServerConfig{}, func(n *testNet, client, server Conn) {
		for _, dir := range []struct{ from, to Conn }{{client, server}, {server, client}} {
			s, err := dir.from.OpenStream(n.ctx())
			if err != nil {
				n.Fatal(err)
			}
			_, _ = s.Write([]byte("hello"))
			r, err := dir.to.AcceptStream(n.ctx())
			if err != nil {
				n.Fatal(err)
			}
			wantRead(n, r, "hello")
			isMapped := dir.from.Kind() == WebTransport || dir.from.Protocol() == mapped.ALPN
			want := func(code uint32, remote bool) *StreamError {
				return &StreamError{Code: code, Raw: wireCode(code, isMapped), Mapped: isMapped, Remote: remote}
			}

			s.CancelWrite(77)
			_, err = r.Read(make([]byte, 1))
			wantStreamError(n, "read after a reset", err, want(77, true))
			_, err = s.Write([]byte("more"))
			wantStreamError(n, "write after an own reset", err, want(77, false))
			if err := s.StopCode(); err != nil {
				n.Errorf("stop code after an own reset: %v", err)
			}

			s.CancelRead(33)
			<-r.Stopped()
			wantStreamError(n, "stop code", r.StopCode(), want(33, true))
			_, err = r.Write([]byte("more"))
			wantStreamError(n, "write after a stop", err, want(33, true))
			r.CancelWrite(33)
		}
	})
}

func wantStreamError(t testing.TB, what string, err error, want *StreamError) {
	t.Helper()
	got, ok := errors.AsType[*StreamError](err)
	if !ok {
		t.Errorf("%s: %v is no stream error", what, err)
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestStopped(t *testing.T) {
	t.Parallel()
	eachWay(t, ServerConfig{}, func(n *testNet, client, server Conn) {
		s, err := client.OpenUniStream()
		if err != nil {
			n.Fatal(err)
		}
		select {
		case <-s.Stopped():
			n.Error("a new stream is stopped")
		default:
		}
		if s.StopCode() != nil {
			n.Errorf("a new stream has the stop code %v", s.StopCode())
		}
		_ = server.CloseWithError(9, "enough")
		<-s.Stopped()
		if e, ok := errors.AsType[*CloseError](s.StopCode()); !ok || e.Code != 9 {
			n.Errorf("stop code %v after the connection closed with 9", s.StopCode())
		}
	})
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	eachWay(t, ServerConfig{}, func(n *testNet, client, server Conn) {
		s, err := client.OpenStream(n.ctx())
		if err != nil {
			n.Fatal(err)
		}
		_, _ = s.Write([]byte("x"))
		r, err := server.AcceptStream(n.ctx())
		if err != nil {
			n.Fatal(err)
		}
		wantRead(n, r, "x")
		start := time.Now()
		_ = r.SetReadDeadline(start.Add(time.Second))
		if _, err := r.Read(make([]byte, 1)); !isDeadline(err) || time.Since(start) != time.Second {
			n.Errorf("read: %v after %v", err, time.Since(start))
		}
		start = time.Now()
		_ = s.SetWriteDeadline(start.Add(time.Second))
		if _, err := s.Write(make([]byte, 64<<20)); !isDeadline(err) || time.Since(start) != time.Second {
			n.Errorf("write of what nobody reads: %v after %v", err, time.Since(start))
		}
		// A stream whose deadline passed before its first Write still begins with its prefix.
		late, err := client.OpenUniStream()
		if err != nil {
			n.Fatal(err)
		}
		_ = late.SetWriteDeadline(time.Now().Add(-time.Second))
		if _, err := late.Write([]byte("late")); !isDeadline(err) {
			n.Errorf("write after the deadline: %v", err)
		}
		s.CancelWrite(0)
		if err := late.Close(); err != nil {
			n.Errorf("close after the deadline: %v", err)
		}
		got, err := server.AcceptUniStream(n.ctx())
		if err != nil {
			n.Fatal(err)
		}
		wantEOF(n, got)
	})
}

func isDeadline(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

func TestCloseWithError(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", maxReason)
	cases := map[string]struct {
		code         uint32
		reason, want string
	}{
		"clean":                             {0, "", ""},
		"code and reason":                   {13, "not found", "not found"},
		"code that is mapped around a gap":  {64, "app", "app"},
		"long reason is cut at a character": {1, "x" + long, ("x" + long)[:maxReason-1]},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			eachWay(t, ServerConfig{}, func(n *testNet, client, server Conn) {
				local, remote := client, server
				if c.code == 13 { // both directions over the table
					local, remote = server, client
				}
				open, err := local.OpenUniStream() // left open: it must not hinder the close
				if err != nil {
					n.Fatal(err)
				}
				_, _ = open.Write([]byte("unfinished"))
				start := time.Now()
				if err := local.CloseWithError(c.code, c.reason); err != nil {
					n.Error(err)
				}
				if took := time.Since(start); took > streamLinger+closeLinger+latency {
					n.Errorf("close took %v", took)
				}
				_ = local.CloseWithError(99, "again: no effect")
				wantClosed(n, local, CloseError{Code: c.code, Reason: c.want})
				wantClosed(n, remote, CloseError{Code: c.code, Reason: c.want, Remote: true})
				for name, err := range errorsOf(n, remote) {
					if e, ok := errors.AsType[*CloseError](err); !ok || e.Code != c.code {
						n.Errorf("%s after the close: %v", name, err)
					}
				}
			})
		})
	}
}

func errorsOf(n *testNet, c Conn) map[string]error {
	errs := make(map[string]error)
	_, errs["AcceptStream"] = c.AcceptStream(n.ctx())
	_, errs["AcceptUniStream"] = c.AcceptUniStream(n.ctx())
	_, errs["OpenStream"] = c.OpenStream(n.ctx())
	_, errs["OpenUniStream"] = c.OpenUniStream()
	return errs
}

// A close from the other direction for every kind, which the table above has
// for one code only.
func TestServerCloses(t *testing.T) {
	t.Parallel()
	eachWay(t, ServerConfig{}, func(n *testNet, client, server Conn) {
		_ = server.CloseWithError(10, "second session stream")
		wantClosed(n, client, CloseError{Code: 10, Reason: "second session stream", Remote: true})
	})
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			bubble(t, ServerConfig{KeepAlive: 4 * time.Second, IdleTimeout: 9 * time.Second}, func(n *testNet) {
				var cut bool
				var mu sync.Mutex
				isCut := func() bool { mu.Lock(); defer mu.Unlock(); return cut }
				w.dial.PacketConn, w.dial.DialTCP = n.clientSocket(isCut), n.dialTCP(isCut)
				w.dial.KeepAlive = -1
				client, server := n.connect(w)
				time.Sleep(time.Minute)
				if server.Context().Err() != nil || client.Context().Err() != nil {
					t.Fatalf("kept alive, but ended: %v", server.Context().Err())
				}
				mu.Lock()
				cut = true
				mu.Unlock()
				<-server.Context().Done()
				<-client.Context().Done()
				for _, c := range []Conn{client, server} {
					if _, err := c.OpenUniStream(); !errors.Is(err, ErrTimeout) {
						t.Errorf("ended with %v, want ErrTimeout", err)
					}
				}
			})
		})
	}
}

func TestNoCredit(t *testing.T) {
	t.Parallel()
	eachWay(t, ServerConfig{Limits: Limits{MaxUniStreams: 4, MaxStreams: 4}}, func(n *testNet, client, server Conn) {
		var open []SendStream
		var err error
		for range 10 {
			var s SendStream
			if s, err = client.OpenUniStream(); err != nil {
				break
			}
			open = append(open, s)
		}
		if !errors.Is(err, ErrNoCredit) || len(open) < 3 {
			n.Fatalf("opened %d streams, then %v; want ErrNoCredit", len(open), err)
		}
		for _, s := range open {
			_ = s.Close()
		}
		for range open {
			s, err := server.AcceptUniStream(n.ctx())
			if err != nil {
				n.Fatal(err)
			}
			wantEOF(n, s)
		}
		time.Sleep(time.Second) // credit comes back
		if _, err := client.OpenUniStream(); err != nil {
			n.Errorf("after the streams ended: %v", err)
		}
	})
}

// Two streams compete for a path: the more urgent one is through first although
// it began later.
func TestPriority(t *testing.T) {
	t.Parallel()
	eachWay(t, ServerConfig{}, func(n *testNet, client, server Conn) {
		var mu sync.Mutex
		var done []byte
		var reads, writes sync.WaitGroup
		reads.Go(func() {
			for range 2 {
				r, err := client.AcceptUniStream(n.ctx())
				if err != nil {
					n.Error(err)
					return
				}
				reads.Go(func() {
					b, err := io.ReadAll(r)
					if err != nil || len(b) == 0 {
						n.Errorf("read %d bytes, %v", len(b), err)
						return
					}
					mu.Lock()
					done = append(done, b[0])
					mu.Unlock()
				})
			}
		})
		for _, s := range []struct {
			name    byte
			urgency uint8
			size    int
		}{{'o', 4, 1 << 20}, {'n', 1, 1 << 20}} {
			str, err := server.OpenUniStream()
			if err != nil {
				n.Fatal(err)
			}
			str.SetPriority(s.urgency, false)
			writes.Go(func() {
				_, _ = str.Write(bytes.Repeat([]byte{s.name}, s.size))
				_ = str.Close()
			})
			time.Sleep(latency)
		}
		writes.Wait()
		reads.Wait()
		if string(done) != "no" {
			n.Errorf("arrived in the order %q, want the newer, more urgent one first", done)
		}
	})
}

func TestManyStreams(t *testing.T) {
	t.Parallel()
	eachWay(t, ServerConfig{}, func(n *testNet, client, server Conn) {
		const count = 500
		var reads sync.WaitGroup
		for range count {
			s, err := server.OpenUniStream()
			if err != nil {
				n.Fatal(err)
			}
			_, _ = s.Write([]byte("group"))
			_ = s.Close()
		}
		for range count {
			r, err := client.AcceptUniStream(n.ctx())
			if err != nil {
				n.Fatal(err)
			}
			reads.Go(func() {
				if b, err := io.ReadAll(r); string(b) != "group" || err != nil {
					n.Errorf("read %q, %v", b, err)
				}
			})
		}
		reads.Wait()
	})
}
