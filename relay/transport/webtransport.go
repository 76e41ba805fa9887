package transport

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// draftHeader marks the WebTransport of draft 02, which browsers still speak.
const draftHeader = "Sec-Webtransport-Http3-Draft"

type quicConnKey struct{}

func (e *Endpoint) newWebTransportServer() *webtransport.Server {
	return &webtransport.Server{
		H3: &http3.Server{
			Handler:        http.HandlerFunc(e.serveHTTP),
			MaxHeaderBytes: e.config.Limits.MaxHeaderBytes,
			ConnContext: func(ctx context.Context, qc *quic.Conn) context.Context {
				return context.WithValue(ctx, quicConnKey{}, qc)
			},
			// Its lines hold request URLs, which can hold tokens.
			Logger: slog.New(slog.DiscardHandler),
		},
		ApplicationProtocols: e.config.WebTransportProtocols,
		ReorderingTimeout:    min(5*time.Second, e.timeouts.handshake),
		CheckOrigin:          e.originAllowed,
	}
}

// serveHTTP3 serves one HTTP/3 connection to its end. Keep-alive would let a
// client that never asks for a session stay for ever, so the attempt's deadline
// ends it.
func (e *Endpoint) serveHTTP3(qc *quic.Conn, a *attempt) {
	late := time.AfterFunc(time.Until(a.deadline), func() {
		if a.fail() {
			e.log.Debug("no WebTransport session in time", "peer", qc.RemoteAddr().String())
			_ = qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeRequestIncomplete), "no session in time")
		}
	})
	defer late.Stop()
	if err := e.wt.ServeQUICConn(qc); err != nil {
		e.log.Debug("HTTP/3 connection refused", "peer", qc.RemoteAddr().String(), "error", err)
		_ = qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "")
	}
}

// serveHTTP answers one request: WebTransport with a session, the rest with the
// configured handler.
func (e *Endpoint) serveHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil && p != any(http.ErrAbortHandler) {
			e.log.Error("panic while serving a request", "panic", p, "stack", string(debug.Stack()))
			panic(http.ErrAbortHandler) // resets the stream
		}
	}()
	switch {
	case r.Method == http.MethodConnect && (r.Proto == "webtransport" || r.Proto == "webtransport-h3"):
		e.serveConnect(w, r)
	case r.Method == http.MethodConnect:
		http.Error(w, "only WebTransport can be connected to", http.StatusBadRequest)
	case e.config.HTTPHandler != nil:
		e.config.HTTPHandler.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// serveConnect opens the session that a CONNECT asks for. Any path will do:
// whose it is is for the session's owner to say.
func (e *Endpoint) serveConnect(w http.ResponseWriter, r *http.Request) {
	qc := r.Context().Value(quicConnKey{}).(*quic.Conn)
	if !e.originAllowed(r) { // the library would make it a bad request
		http.Error(w, textOrigin, http.StatusForbidden)
		return
	}
	if r.Header.Get(draftHeader+"02") != "" {
		w.Header().Set(draftHeader, "draft02")
	}
	catch := &streamCatcher{ResponseWriter: w, w: w.(upgradable)}
	s, err := e.wt.Upgrade(catch, r)
	if err != nil {
		e.log.Debug("WebTransport session refused", "peer", qc.RemoteAddr().String(), "error", err)
		if catch.stream == nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		return
	}
	c := newWTConn(qc, s, uint64(catch.stream.StreamID()), catch.stream, r.RequestURI, nil)
	e.deliver(c, attemptOf(qc.Context()))
}

// upgradable is what webtransport-go needs of the writer of an HTTP/3 response.
type upgradable interface {
	http.Flusher
	http3.Settingser
	http3.HTTPStreamer
}

// streamCatcher keeps the CONNECT stream that webtransport-go takes, which it
// does not give out: its id stands in the prefix of every stream of the session
// and our close capsule is written to it.
type streamCatcher struct {
	http.ResponseWriter
	w      upgradable
	stream *http3.Stream
}

func (c *streamCatcher) Flush()                            { c.w.Flush() }
func (c *streamCatcher) ReceivedSettings() <-chan struct{} { return c.w.ReceivedSettings() }
func (c *streamCatcher) Settings() *http3.Settings         { return c.w.Settings() }
func (c *streamCatcher) HTTPStream() *http3.Stream {
	c.stream = c.w.HTTPStream()
	return c.stream
}
