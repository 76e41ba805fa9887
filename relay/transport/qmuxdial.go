package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"time"

	"github.com/coder/websocket"

	"github.com/moqrelay/moqrelay/relay/wire/qmux"
)

const (
	httpProto       = "http/1.1"
	httpPort        = 80
	maxAnswerHeader = 64 << 10
)

// dialWebSocket connects to a URL over TCP, all of it within the timeout. The
// offer is what stands in Sec-WebSocket-Protocol.
func dialWebSocket(ctx context.Context, addr string, c DialConfig, t timeouts, offer []string) (*qmuxConn, error) {
	noAnswer := fmt.Errorf("%w: no answer within %v", ErrUnreachable, t.handshake)
	ctx, cancel := context.WithTimeoutCause(ctx, t.handshake, noAnswer)
	defer cancel()
	to, err := webSocketTarget(addr)
	if err != nil {
		return nil, err
	}
	addrs, err := to.resolve(ctx, c.Resolve)
	if err != nil {
		return nil, err
	}
	conn, rtt, err := dialTCPFirst(ctx, addrs, c.DialTCP)
	if err != nil {
		return nil, dialTCPError(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	q, err := openWebSocket(ctx, conn, to, c, t, offer, rtt)
	if err != nil {
		_ = conn.Close()
		return nil, dialTCPError(ctx, err)
	}
	select {
	case <-q.ready:
		if stop() {
			return q, nil
		}
	case <-q.ctx.Done():
	case <-ctx.Done():
	}
	_ = q.CloseWithError(0, "") // returns nil always
	if ctx.Err() != nil {
		return nil, dialTCPError(ctx, nil)
	}
	return nil, context.Cause(q.ctx)
}

// webSocketOffer is what we offer for these tokens; without any, the framing alone.
func webSocketOffer(tokens []string) []string {
	if len(tokens) == 0 {
		return []string{qmux.Version01.String()}
	}
	offer := make([]string, 0, len(tokens))
	for _, token := range tokens {
		offer = append(offer, pairName(qmux.Version01, token))
	}
	return offer
}

func webSocketTarget(addr string) (target, error) {
	to, err := parseTarget(addr)
	if err != nil {
		return target{}, err
	}
	if to.url == nil || to.url.Scheme != "https" && to.url.Scheme != "http" {
		return target{}, errors.New("WebSocket needs a URL such as https://host:port/path")
	}
	if to.url.Scheme == "http" && to.url.Port() == "" {
		to.port = httpPort
	}
	return to, nil
}

// dialTCPFirst returns the first connection to one of the addresses, and how long
// that took.
func dialTCPFirst(
	ctx context.Context, addrs []netip.AddrPort, dial func(context.Context, string, string) (net.Conn, error),
) (net.Conn, time.Duration, error) {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	type timed struct {
		net.Conn
		took time.Duration
	}
	attempt := func(ctx context.Context, addr netip.AddrPort) (timed, error) {
		began := time.Now()
		conn, err := dial(ctx, "tcp", addr.String())
		return timed{conn, time.Since(began)}, err
	}
	first, err := firstOf(ctx, addrs, attempt, func(late timed) { _ = late.Close() })
	return first.Conn, first.took, err
}

// dialTCPError adds what kind of error it is, and what ended the dial if that was
// its context.
func dialTCPError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return dialError(context.Cause(ctx))
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		// The alert of a TLS peer has an unexported type, a number all the same.
		if alert := reflect.ValueOf(e.Err); alert.IsValid() && alert.Kind() == reflect.Uint8 {
			if kind := kindOfAlert(uint8(alert.Uint())); kind != nil {
				return fmt.Errorf("%w: %w", kind, err)
			}
			return err
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return dialError(err)
}

// openWebSocket does the handshakes of TLS and WebSocket on a connection.
func openWebSocket(
	ctx context.Context, conn net.Conn, to target, c DialConfig, t timeouts, offer []string, rtt time.Duration,
) (*qmuxConn, error) {
	var state *tls.ConnectionState
	if to.url.Scheme == "https" {
		conf := tlsConfig(c.TLS, []string{httpProto})
		if conf.ServerName == "" {
			conf.ServerName = to.serverName()
		}
		secured := tls.Client(conn, conf)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		s := secured.ConnectionState()
		conn, state = secured, &s
	}
	asking := &asker{conn: conn, socket: newQmuxSocket(conn)}
	ws, answer, err := websocket.Dial(ctx, to.url.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     asking,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader:      c.Header,
		Subprotocols:    offer,
		CompressionMode: websocket.CompressionDisabled,
		OnPingReceived:  func(context.Context, []byte) bool { return asking.socket.onPing() },
	})
	if err != nil {
		if answer != nil && answer.StatusCode != http.StatusSwitchingProtocols {
			return nil, &StatusError{Status: answer.StatusCode}
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which can hold a token
		}
		return nil, err
	}
	chosen, ok := readSubprotocol(ws.Subprotocol())
	if !ok || chosen.name == "" && len(offer) > 0 {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("%w: server upgraded to %q", ErrALPN, ws.Subprotocol())
	}
	return newQmuxConn(qmuxSetup{
		socket: asking.socket, ws: ws, choice: chosen, client: true, path: to.url.RequestURI(), tls: state,
		since: time.Now(), limits: c.Limits, timeouts: t, rtt: rtt,
	}), nil
}

// asker sends one request on a connection that is there.
type asker struct {
	conn   net.Conn
	socket *qmuxSocket
}

// RoundTrip sends the request and reads the header of the answer. Its body is the
// connection.
func (a *asker) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Write(a.conn); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: a.socket, N: maxAnswerHeader}
	br := bufio.NewReader(limited)
	answer, err := http.ReadResponse(br, r)
	if err != nil {
		return nil, err
	}
	limited.N = math.MaxInt64
	if answer.StatusCode == http.StatusSwitchingProtocols {
		answer.Body = struct {
			io.Reader
			io.WriteCloser
		}{br, a.socket}
	}
	return answer, nil
}
