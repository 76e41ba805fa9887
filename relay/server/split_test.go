package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// TestServedConnections: beyond the limit a connection is told so, until another
// one has closed or has become a session.
func TestServedConnections(t *testing.T) {
	for name, path := range map[string]string{"closed": "/", "hijacked": "/hijack"} {
		t.Run(name, func(t *testing.T) {
			l := split(listenTCP(t), nil)
			l.maxServed = 1
			released := make(chan struct{})
			serving(t, l, released)
			first := dialTCP(t, l.Addr())
			wantStatus(t, first, "/", http.StatusOK)
			wantStatus(t, dialTCP(t, l.Addr()), "/", http.StatusServiceUnavailable)
			if path == "/" {
				_ = first.Close()
			} else {
				wantStatus(t, first, path, http.StatusSwitchingProtocols)
			}
			<-released
			wantStatus(t, dialTCP(t, l.Addr()), "/", http.StatusOK)
		})
	}
}

// serving answers on l until the test ends, and closes released when the first
// connection does not count any more.
func serving(t *testing.T, l *splitListener, released chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		context.AfterFunc(ctx, func() { _ = conn.Close() })
	})
	var once sync.Once
	track := func(conn net.Conn, state http.ConnState) {
		l.track(conn, state)
		if state == http.StateClosed || state == http.StateHijacked {
			once.Do(func() { close(released) })
		}
	}
	ended := make(chan error)
	go func() { ended <- serveHTTP(ctx, l, mux, 0, track) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = l.Close()
	})
}

func dialTCP(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// wantStatus asks for a path on a connection that stays open.
func wantStatus(t *testing.T, conn net.Conn, path string, want int) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: relay\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != want {
		t.Errorf("GET %s: status %d, want %d", path, resp.StatusCode, want)
	}
}
