// Package page is the status page of a local cluster: it looks at every node
// once a second, through the same private endpoints that an operator or a
// Prometheus would use, and shows nodes, links, broadcasts, sessions and rates
// in a browser. It stands beside package local and keeps nothing but the last
// five minutes of rates. The page for publishing and watching is mounted below
// it, at DemoPath.
//
// What always holds: a node that does not answer is shown as such and never by
// what it said before; the page loads nothing from elsewhere.
package page

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"sync"
	"time"
)

//go:embed assets
var assets embed.FS

// DemoPath is where the page for publishing and watching is mounted.
const DemoPath = "/demo/"

// Server serves the page.
type Server struct {
	cluster   string
	collector *collector
	demo      http.Handler

	mu   sync.Mutex
	last []byte        // the newest State as JSON, nil before the first look
	next chan struct{} // closed when last changes
}

// New returns the page of a cluster of that name; targets is asked for the
// nodes before every look. demo is served at DemoPath.
func New(cluster string, targets func() []Target, demo http.Handler) *Server {
	return &Server{cluster: cluster, collector: newCollector(targets), demo: demo, next: make(chan struct{})}
}

// Run serves the page on l until ctx is done.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.collect(ctx) })
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(l)
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// collect looks at the nodes until ctx is done.
func (s *Server) collect(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		state, err := json.Marshal(s.collector.look(ctx, s.cluster))
		if err != nil {
			panic(fmt.Sprintf("BUG: a state that JSON cannot hold: %v", err))
		}
		s.mu.Lock()
		s.last = state
		close(s.next)
		s.next = make(chan struct{})
		s.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) newest() (state []byte, next <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.next
}

func (s *Server) handler() http.Handler {
	static, err := fs.Sub(assets, "assets")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(static))
	mux.HandleFunc("GET /state", s.serveState)
	mux.HandleFunc("GET /events", s.serveEvents)
	mux.Handle("GET "+DemoPath, s.demo)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// serveState answers with the newest look, for scripts.
func (s *Server) serveState(w http.ResponseWriter, r *http.Request) {
	state, next := s.newest()
	if state == nil {
		select {
		case <-next:
		case <-r.Context().Done():
			return
		}
		state, _ = s.newest()
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(state)
}

// serveEvents sends every look as a server-sent event.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	for {
		state, next := s.newest()
		if state != nil {
			if _, err := fmt.Fprintf(w, "data: %s\n\n", state); err != nil {
				return
			}
			_ = flush.Flush()
		}
		select {
		case <-next:
		case <-r.Context().Done():
			return
		}
	}
}
