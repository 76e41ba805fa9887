package transport

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// hijackBuffer is for the headers of the library's frames; what they carry is
// kept by the socket.
const hijackBuffer = 512

const (
	textOrigin      = "pages of this origin may not connect"
	textNoWebSocket = "WebSocket is not offered here"
	textNoProtocol  = "none of the subprotocols that were offered is known here"
	textTooMany     = "too many connections on their way"
)

// ServeWebSocket answers a request for a WebSocket on any path: whose it is is
// for the session's owner to say. The connection is handed out by Accept as soon
// as streams can be opened. ServeWebSocket returns when it has ended.
//
// What bounds requests in the HTTP server does not bound the connection.
func (e *Endpoint) ServeWebSocket(w http.ResponseWriter, r *http.Request) {
	chosen, known := chooseSubprotocol(headerTokens(r.Header, "Sec-WebSocket-Protocol"), e.config.WebSocketProtocols)
	switch {
	case len(e.config.WebSocketProtocols) == 0:
		http.Error(w, textNoWebSocket, http.StatusBadRequest)
		return
	case !e.originAllowed(r):
		http.Error(w, textOrigin, http.StatusForbidden)
		return
	case !known:
		http.Error(w, textNoProtocol, http.StatusBadRequest)
		return
	case !e.begin():
		http.Error(w, ErrClosed.Error(), http.StatusServiceUnavailable)
		return
	}
	defer e.running.Done()
	a := e.gate.admitTCP()
	if a == nil {
		http.Error(w, textTooMany, http.StatusServiceUnavailable)
		return
	}
	defer a.fail() // unless it succeeded
	c, err := e.upgrade(w, r, chosen, a)
	if err != nil {
		e.log.Debug("WebSocket refused", "peer", r.RemoteAddr, "error", err)
		return
	}
	e.serveQmux(c, a)
}

// serveQmux hands a connection out when it is ready, and waits for its end.
func (e *Endpoint) serveQmux(c *qmuxConn, a *attempt) {
	defer func() { <-c.done }()
	if !e.keep(c) {
		_ = c.CloseWithError(0, "") // returns nil always
		return
	}
	late := time.AfterFunc(time.Until(a.deadline), func() {
		if a.fail() {
			e.log.Debug("no transport parameters in time", "peer", c.RemoteAddr().String())
			cause := &CloseError{Err: fmt.Errorf("%w: no transport parameters", ErrTimeout)}
			c.fail(cause, websocket.StatusPolicyViolation, nil)
		}
	})
	defer late.Stop()
	select {
	case <-c.ready:
	case <-c.ctx.Done():
		return
	}
	if a.succeed() {
		e.handOut(c)
	}
}

// upgrade turns the request into a connection. It answers if that fails.
func (e *Endpoint) upgrade(w http.ResponseWriter, r *http.Request, chosen choice, a *attempt) (*qmuxConn, error) {
	h := &hijacker{ResponseWriter: w}
	options := &websocket.AcceptOptions{
		InsecureSkipVerify: true, // of the origin, which was looked at
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived:     func(context.Context, []byte) bool { return h.socket.onPing() },
	}
	if chosen.name != "" {
		options.Subprotocols = []string{chosen.name}
	}
	ws, err := websocket.Accept(h, r, options)
	if err != nil {
		return nil, err
	}
	return newQmuxConn(qmuxSetup{
		socket: h.socket, ws: ws, choice: chosen, path: r.RequestURI, tls: r.TLS, since: a.began,
		limits: e.config.Limits, timeouts: e.timeouts,
	}), nil
}

// hijacker puts our socket between the library and the connection of a request.
type hijacker struct {
	http.ResponseWriter
	socket *qmuxSocket
}

// Hijack takes the connection from the HTTP server, and its deadlines off it.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	h.socket = newQmuxSocket(conn)
	return h.socket, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(h.socket, hijackBuffer)), nil
}
