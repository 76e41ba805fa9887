package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/moqrelay/moqrelay/relay/config"
)

const (
	// headerTimeout and headerLimit bound the request of an HTTP client.
	headerTimeout = 5 * time.Second
	headerLimit   = 16 << 10
	// publicTimeout bounds a request on the public port from its first byte to
	// the last one of the answer, however slowly the client sends or reads. A
	// WebSocket ends it by its upgrade.
	publicTimeout = 10 * time.Second
	// idleTimeout ends an HTTP connection that asks for nothing.
	idleTimeout = 30 * time.Second
)

// publicHandler answers on the TCP port of the relay, to anyone from anywhere:
// health for load balancers, the fingerprint for browsers, what is announced and
// groups of it as every client may have them; and WebSockets on any path, which
// become connections like those over UDP. No cookie is read or set, so a page
// from elsewhere gets no more than its user could without it (S28).
func (s *Server) publicHandler() http.Handler {
	mux := http.NewServeMux()
	s.handleHealth(mux)
	mux.HandleFunc("GET "+config.PathFingerprint, s.serveFingerprint)
	mux.HandleFunc("GET "+config.PathFingerprint068, s.serveFingerprint)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isWebSocket(r) {
			s.Endpoint.ServeWebSocket(w, r)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Methods", "GET")
		// Not by the mux, which would lead other spellings of a path to what it takes
		// for the right one.
		path := r.URL.EscapedPath()
		if below, ok := cutRoute(path, config.PathAnnounced); ok {
			s.ask(w, r, below, s.serveAnnounced)
		} else if below, ok := cutRoute(path, config.PathFetch); ok {
			s.ask(w, r, below, s.serveFetch)
		} else {
			mux.ServeHTTP(w, r)
		}
	})
}

// cutRoute returns what follows a route and its slash in an escaped path, and
// whether the path is below the route.
func cutRoute(escaped, route string) (below string, ok bool) {
	if escaped == route {
		return "", true
	}
	return strings.CutPrefix(escaped, route+"/")
}

// ask has serve answer a GET about a path, unless too many are being answered.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, below string, serve func(w http.ResponseWriter, r *http.Request, escaped string)) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "this can be asked by GET alone", http.StatusMethodNotAllowed)
		return
	}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
		serve(w, r, below)
	default:
		s.refuseBusy(w)
	}
}

// awaitAsked waits until nothing is being answered, and lets nothing more be.
func (s *Server) awaitAsked() {
	for range cap(s.asking) {
		s.asking <- struct{}{}
	}
}

func isWebSocket(r *http.Request) bool {
	return strings.EqualFold(strings.TrimSpace(r.Header.Get("Upgrade")), "websocket")
}

// handleHealth adds the probes. Neither depends on a root or on any peer, and
// both stay true while the relay drains: a load balancer would cut the UDP
// flows of a node that is not ready.
func (s *Server) handleHealth(mux *http.ServeMux) {
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") }
	mux.HandleFunc("GET "+config.PathLive, ok)
	mux.HandleFunc("GET "+config.PathReady, ok)
}

// serveFingerprint answers with the certificate that a client gets which asks
// for the host of this request.
func (s *Server) serveFingerprint(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, s.Fingerprint(host))
}

// serveHTTP serves handler on l until ctx is done. Zero timeout: a request may
// take as long as its answer needs, which for a profile can be minutes. track may be
// nil.
func serveHTTP(ctx context.Context, l net.Listener, handler http.Handler, timeout time.Duration, track func(net.Conn, http.ConnState)) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       timeout,
		WriteTimeout:      timeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerLimit,
		ConnState:         track,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		return err
	}
	return nil
}
