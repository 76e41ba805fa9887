package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/server/certs"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

func TestMain(m *testing.M) {
	// net/http lingers for half a second on a connection that it refused.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// running is a server on loopback.
type running struct {
	*Server
	public, private string // host:port
	client          *http.Client
	// cancel begins the graceful stop, kill cuts it short.
	cancel, kill context.CancelFunc
	ended        chan struct{}
}

func start(t *testing.T) *running {
	t.Helper()
	return startServing(t, func(context.Context, transport.Conn, *slog.Logger, func(session.Session)) error {
		return errors.New("no sessions in this test")
	})
}

// startServing starts a server whose sessions are what serve says.
func startServing(t *testing.T, serve func(context.Context, transport.Conn, *slog.Logger, func(session.Session)) error) *running {
	t.Helper()
	store, err := certs.Open(certs.Config{SelfSign: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	udp := listenUDP(t)
	endpoint, err := transport.Listen(udp, transport.ServerConfig{
		WebTransport: true, WebSocketProtocols: []string{"moq-lite-05"}, TLS: store.ServerTLS(),
	})
	if err != nil {
		t.Fatal(err)
	}
	public, private := listenTCP(t), listenTCP(t)
	s := New(Config{
		Endpoint: endpoint, Public: &shaky{Listener: public}, Private: &shaky{Listener: private}, TLS: store.ServerTLS(),
		MaxSessions: 10, DrainTimeout: time.Second,
		Serve:       serve,
		Withdraw:    func() {},
		Links:       func() []session.Session { return nil },
		Moved:       func() bool { return true },
		Fingerprint: func(host string) string { return store.For(host).Fingerprint.String() },
		PeerName:    func(string) string { return "" },
		Table:       origin.NewTable(),
		Visible:     isPublic,
		Node:        func() NodeInfo { return NodeInfo{Node: "eu-0:4443", Role: "node"} },
		Broadcasts:  func() []BroadcastInfo { return []BroadcastInfo{} },
		Metrics:     metrics.New(),
		Log:         slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	hard, kill := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Run(ctx, hard); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	r := &running{
		Server: s, cancel: cancel, kill: kill, ended: ended, public: public.Addr().String(), private: private.Addr().String(),
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
	}
	t.Cleanup(func() {
		cancel()
		<-ended
		kill()
		r.client.CloseIdleConnections()
		_ = endpoint.Close()
		_ = udp.Close()
		_ = store.Close()
	})
	return r
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// shaky is a listener whose first Accept finds the kernel without memory. All tests
// have it: the server outlasts that.
type shaky struct {
	net.Listener
	hasFailed bool
}

func (s *shaky) Accept() (net.Conn, error) {
	if !s.hasFailed {
		s.hasFailed = true
		return nil, syscall.ENOBUFS
	}
	return s.Listener.Accept()
}

func listenUDP(t *testing.T) net.PacketConn {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

func (r *running) do(t *testing.T, method, url string, header http.Header) (status int, body string, h http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// TestBothOnOnePort: the TCP port answers TLS and plain HTTP alike, to pages
// from anywhere.
func TestBothOnOnePort(t *testing.T) {
	r := start(t)
	want := r.Fingerprint("localhost")
	for _, scheme := range []string{"http://", "https://"} {
		for _, path := range []string{config.PathFingerprint, config.PathFingerprint068} {
			status, body, h := r.do(t, http.MethodGet, scheme+r.public+path, nil)
			if status != http.StatusOK || body != want || len(body) != 64 {
				t.Errorf("%s%s: status %d, fingerprint %q, want %q", scheme, path, status, body, want)
			}
			if h.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s%s: a page from elsewhere may not read the fingerprint", scheme, path)
			}
		}
		if status, _, _ := r.do(t, http.MethodPost, scheme+r.public+config.PathFingerprint, nil); status != http.StatusMethodNotAllowed {
			t.Errorf("%sPOST: status %d, want 405", scheme, status)
		}
		if status, body, _ := r.do(t, http.MethodGet, scheme+r.public+config.PathReady, nil); status != http.StatusOK || body != "ok\n" {
			t.Errorf("%s%s: status %d, body %q", scheme, config.PathReady, status, body)
		}
	}
}

// TestS24PrivateRoutesOnPrivateListenerOnly scans both listeners.
func TestS24PrivateRoutesOnPrivateListenerOnly(t *testing.T) {
	r := start(t)
	for _, path := range []string{config.PathMetrics, config.PathNodes, config.PathSessions, config.PathBroadcasts, "/debug/pprof/", "/debug/pprof/cmdline"} {
		if status, _, _ := r.do(t, http.MethodGet, "http://"+r.public+path, nil); status != http.StatusNotFound {
			t.Errorf("public %s: status %d, want 404", path, status)
		}
		if status, _, _ := r.do(t, http.MethodGet, "http://"+r.private+path, nil); status != http.StatusOK {
			t.Errorf("private %s: status %d, want 200", path, status)
		}
	}
	if status, _, _ := r.do(t, http.MethodPost, "http://"+r.public+"/drain", nil); status != http.StatusNotFound {
		t.Errorf("public POST /drain: status %d, want 404", status)
	}
}

func TestNodes(t *testing.T) {
	r := start(t)
	_, body, _ := r.do(t, http.MethodGet, "http://"+r.private+config.PathNodes, nil)
	var info NodeInfo
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		t.Fatal(err)
	}
	if info.Node != "eu-0:4443" || info.Role != "node" || info.StartedAt.IsZero() || info.Draining || info.DrainingSince != nil {
		t.Errorf("got %+v", info)
	}
}

// TestBroadcastsAsked: a prefix ends with a part, a limit bounds the list, and what
// is no limit is refused.
func TestBroadcastsAsked(t *testing.T) {
	r := start(t)
	r.Broadcasts = func() []BroadcastInfo {
		return []BroadcastInfo{{Broadcast: "demo"}, {Broadcast: "demo/a b"}, {Broadcast: "demo/c"}, {Broadcast: "demonstration"}}
	}
	for query, want := range map[string][]string{
		"":                         {"demo", "demo/a b", "demo/c", "demonstration"},
		"?prefix=demo":             {"demo", "demo/a b", "demo/c"},
		"?prefix=demo/":            {"demo", "demo/a b", "demo/c"},
		"?prefix=demo/a%20b":       {"demo/a b"},
		"?prefix=other":            {},
		"?limit=2":                 {"demo", "demo/a b"},
		"?prefix=demonst&limit=1":  {},
		"?prefix=demo/c&limit=100": {"demo/c"},
		"?limit=0":                 {},
	} {
		_, body, _ := r.do(t, http.MethodGet, "http://"+r.private+config.PathBroadcasts+query, nil)
		var infos []BroadcastInfo
		if err := json.Unmarshal([]byte(body), &infos); err != nil {
			t.Fatalf("%q: %v", query, err)
		}
		got := []string{}
		for _, info := range infos {
			got = append(got, info.Broadcast)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"?limit=-1", "?limit=all", "?limit=99999999999"} {
		if status, body, _ := r.do(t, http.MethodGet, "http://"+r.private+config.PathBroadcasts+query, nil); status != http.StatusBadRequest {
			t.Errorf("%q: status %d, %q, want 400", query, status, body)
		}
	}
}

// TestDrainStays: a relay that was told to drain over HTTP says so, and is there
// until it is told to end. A supervisor would start it again at once.
func TestDrainStays(t *testing.T) {
	r := start(t)
	if status, _, _ := r.do(t, http.MethodPost, "http://"+r.private+"/drain", nil); status != http.StatusAccepted {
		t.Fatalf("status %d, want 202", status)
	}
	for range 2 { // the second time changes nothing
		r.do(t, http.MethodPost, "http://"+r.private+"/drain", nil)
		_, body, _ := r.do(t, http.MethodGet, "http://"+r.private+config.PathNodes, nil)
		var info NodeInfo
		if err := json.Unmarshal([]byte(body), &info); err != nil {
			t.Fatal(err)
		}
		if !info.Draining || info.DrainingSince == nil || info.Sessions != 0 {
			t.Errorf("got %+v", info)
		}
	}
	if status, _, _ := r.do(t, http.MethodGet, "http://"+r.private+config.PathReady, nil); status != http.StatusOK {
		t.Errorf("ready: status %d, want 200: unready pods lose their UDP flows", status)
	}
}

// TestKilledIsNotGraceful: who is to stop at once tells nobody before.
func TestKilledIsNotGraceful(t *testing.T) {
	for range 20 {
		r := start(t)
		r.kill()
		r.cancel()
		<-r.ended
		if r.draining.Load() != nil {
			t.Fatal("began to drain")
		}
	}
}

// TestDrainIsNotForBrowsers: a page that a user looks at cannot stop a relay on
// the same machine.
func TestDrainIsNotForBrowsers(t *testing.T) {
	r := start(t)
	status, _, _ := r.do(t, http.MethodPost, "http://"+r.private+"/drain", http.Header{"Origin": {"https://evil.example"}})
	if status != http.StatusForbidden || r.draining.Load() != nil {
		t.Errorf("with an origin: status %d, draining since %v", status, r.draining.Load())
	}
	if status, _, _ := r.do(t, http.MethodPost, "http://"+r.private+"/drain", nil); status != http.StatusAccepted {
		t.Errorf("without: status %d, want 202", status)
	}
}

// TestSilentClientHoldsUpNobody: TCP clients that say nothing do not keep
// others from being served.
func TestSilentClientHoldsUpNobody(t *testing.T) {
	r := start(t)
	for range 100 {
		silent, err := net.Dial("tcp", r.public)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = silent.Close() }()
	}
	if status, _, _ := r.do(t, http.MethodGet, "http://"+r.public+config.PathLive, nil); status != http.StatusOK {
		t.Errorf("status %d, want 200", status)
	}
}

// TestS17HeaderLimit: a header beyond 16 KiB is refused, whether the client
// still hears why or not.
func TestS17HeaderLimit(t *testing.T) {
	r := start(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.public+config.PathLive, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Long", strings.Repeat("x", 2*headerLimit))
	resp, err := r.client.Do(req)
	if err != nil {
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d, want 431", resp.StatusCode)
	}
}

// idle is a session that does nothing.
type idle struct{ session.Session }

func (idle) Stats() session.Stats  { return session.Stats{} }
func (idle) Node() string          { return "" }
func (idle) GoAway()               {}
func (idle) Drain(context.Context) {}
func (idle) Close(uint32, string)  {}

// TestWebSocket: a WebSocket on the public port, with and without TLS, is a
// connection like any other, and outlasts what bounds a request.
func TestWebSocket(t *testing.T) {
	for scheme, conf := range map[string]*tls.Config{"http": nil, "https": {InsecureSkipVerify: true}} {
		t.Run(scheme, func(t *testing.T) {
			r := startServing(t, func(ctx context.Context, conn transport.Conn, _ *slog.Logger, begun func(session.Session)) error {
				begun(idle{})
				select {
				case <-ctx.Done():
				case <-conn.Context().Done():
				}
				return conn.CloseWithError(0, "")
			})
			client, err := transport.Dial(t.Context(), scheme+"://"+r.public+"/live?jwt=x", transport.DialConfig{
				WebSocket: true, WebSocketProtocols: []string{"moq-lite-05"}, TLS: conf,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.CloseWithError(0, "") }()
			var infos []SessionInfo
			for len(infos) == 0 {
				_, body, _ := r.do(t, http.MethodGet, "http://"+r.private+"/sessions", nil)
				if err := json.Unmarshal([]byte(body), &infos); err != nil {
					t.Fatal(err)
				}
			}
			if got := infos[0]; got.Transport != "websocket" || got.Protocol != "moq-lite-05" || got.Remote != client.LocalAddr().String() {
				t.Errorf("/sessions shows %+v", got)
			}
			r.cancel()
			<-client.Context().Done()
		})
	}
}
