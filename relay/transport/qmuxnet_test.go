package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/moqrelay/moqrelay/relay/wire/qmux"
)

// tcpRate is how many bytes a second a simulated TCP path carries. One needs a
// rate for streams to compete.
const tcpRate = 4 << 20

// tcpNet is the TCP side of a testNet: an HTTP server that hands every request
// for a WebSocket to the endpoint.
type tcpNet struct {
	mu      sync.Mutex
	clients int
	paths   sync.WaitGroup
	ready   chan net.Conn
	closed  chan struct{}
	once    sync.Once
	stop    func() // after all clients have ended
}

func (n *testNet) serveTCP(conf *tls.Config) {
	n.tcp = &tcpNet{ready: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{
		Handler:      http.HandlerFunc(n.endpoint.ServeWebSocket),
		ReadTimeout:  5 * time.Second, // neither bounds a WebSocket
		WriteTimeout: 5 * time.Second,
		ErrorLog:     slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(&tlsOrPlain{n.tcp, conf})
	}()
	n.tcp.stop = func() {
		_ = server.Close()
		_ = n.tcp.Close()
		<-done
		n.tcp.paths.Wait()
	}
}

// tlsOrPlain serves TLS on port 443 and plain HTTP on all others.
type tlsOrPlain struct {
	*tcpNet
	conf *tls.Config
}

func (l *tlsOrPlain) Accept() (net.Conn, error) {
	select {
	case conn := <-l.ready:
		if conn.LocalAddr().(*net.TCPAddr).Port == 443 {
			return tls.Server(conn, l.conf), nil
		}
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *tcpNet) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *tcpNet) Addr() net.Addr { return &net.TCPAddr{IP: serverAddr.IP, Port: 443} }

// dialTCP returns a function for DialConfig; drop says which bytes never arrive.
func (n *testNet) dialTCP(drop func() bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		addr, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			return nil, err
		}
		if !addr.IP.Equal(serverAddr.IP) { // nobody there
			<-ctx.Done()
			return nil, ctx.Err()
		}
		time.Sleep(2 * latency)
		n.tcp.mu.Lock()
		n.tcp.clients++
		local := &net.TCPAddr{IP: net.IPv4(1, 0, 2, byte(n.tcp.clients)).To4(), Port: 4000}
		n.tcp.mu.Unlock()
		client, server := n.tcp.pipe(local, addr, drop)
		select {
		case n.tcp.ready <- server:
			return client, nil
		case <-n.tcp.closed:
			return nil, errors.New("refused")
		}
	}
}

// addressed is a connection with addresses.
type addressed struct {
	net.Conn
	local, remote net.Addr
}

func (c addressed) LocalAddr() net.Addr  { return c.local }
func (c addressed) RemoteAddr() net.Addr { return c.remote }

// pipe is a path with a delay, a rate and a small buffer in each direction.
func (l *tcpNet) pipe(local, remote net.Addr, drop func() bool) (client, server net.Conn) {
	a, a2 := net.Pipe()
	b, b2 := net.Pipe()
	l.forward(a2, b2, drop)
	l.forward(b2, a2, drop)
	return addressed{a, local, remote}, addressed{b, remote, local}
}

func (l *tcpNet) forward(from, to net.Conn, drop func() bool) {
	type chunk struct {
		b   []byte
		due time.Time
	}
	chunks := make(chan chunk, 4) // the buffer of the kernel
	l.paths.Go(func() {
		defer close(chunks)
		free := time.Now()
		for {
			b := make([]byte, 16<<10)
			k, err := from.Read(b)
			if err != nil {
				return
			}
			if drop != nil && drop() {
				continue
			}
			if now := time.Now(); free.Before(now) {
				free = now
			}
			free = free.Add(time.Duration(k) * time.Second / tcpRate)
			time.Sleep(time.Until(free))
			chunks <- chunk{b[:k], free.Add(latency)}
		}
	})
	l.paths.Go(func() {
		for c := range chunks {
			time.Sleep(time.Until(c.due))
			_, _ = to.Write(c.b) // to what is closed nothing arrives
		}
		time.Sleep(latency)
		if drop == nil || !drop() { // nor does the end arrive
			_ = to.Close()
		}
	})
}

// rawPeer is a WebSocket below our connection: it sends what no Conn would.
type rawPeer struct {
	*testNet
	ws      *websocket.Conn
	answer  *http.Response
	version qmux.Version
	rest    []qmux.Frame // of the message that want stopped in
}

// raw dials with an offer of subprotocols, without sending parameters.
func (n *testNet) raw(offer ...string) *rawPeer {
	n.Helper()
	ws, answer, err := n.dialRaw(&websocket.DialOptions{Subprotocols: offer})
	if err != nil {
		n.Fatal(err)
	}
	chosen, _ := readSubprotocol(ws.Subprotocol())
	return &rawPeer{n, ws, answer, chosen.version, nil}
}

func (n *testNet) dialRaw(options *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	tr := &http.Transport{DialContext: n.dialTCP(nil)}
	options.HTTPClient = &http.Client{Transport: tr}
	ws, answer, err := websocket.Dial(n.ctx(), "ws://1.0.0.1:80/a%2Fb?c=d", options)
	n.cleanup(func() {
		if ws != nil {
			_ = ws.CloseNow()
		}
		tr.CloseIdleConnections()
	})
	if ws != nil {
		ws.SetReadLimit(1 << 20)
	}
	return ws, answer, err
}

// rawConn dials with an offer, sends parameters and returns both ends.
func (n *testNet) rawConn(p qmux.Parameters, offer ...string) (*rawPeer, Conn) {
	n.Helper()
	peer := n.raw(offer...)
	if peer.version.HasCredit() {
		peer.send(qmux.Frame{Type: qmux.TransportParameters, Data: p.Append(nil)})
	}
	conn, err := n.endpoint.Accept(n.ctx())
	if err != nil {
		n.Fatal(err)
	}
	if peer.version.HasCredit() {
		peer.want(qmux.TransportParameters)
	}
	return peer, conn
}

// send writes frames as one message.
func (p *rawPeer) send(frames ...qmux.Frame) {
	p.Helper()
	var b []byte
	for _, f := range frames {
		b = f.Append(b, p.version)
	}
	p.sendBytes(b)
}

func (p *rawPeer) sendBytes(b []byte) {
	p.Helper()
	if err := p.ws.Write(p.ctx(), websocket.MessageBinary, b); err != nil {
		p.Errorf("write: %v", err)
	}
}

// next returns the frames of the next message.
func (p *rawPeer) next() ([]qmux.Frame, error) {
	_, b, err := p.ws.Read(p.ctx())
	if err != nil {
		return nil, err
	}
	if len(b) > qmux.MaxRecord {
		p.Errorf("a record of %d bytes", len(b))
	}
	var frames []qmux.Frame
	for len(b) > 0 {
		f, n, err := qmux.Consume(b, p.version)
		if err != nil {
			p.Fatalf("% x: %v", b, err)
		}
		frames = append(frames, f)
		b = b[n:]
	}
	return frames, nil
}

// want reads until a frame of the type comes; of streams, one with data.
func (p *rawPeer) want(t qmux.Type) qmux.Frame {
	p.Helper()
	for {
		for i, f := range p.rest {
			if f.Type == t && (t != qmux.Stream || len(f.Data) > 0) {
				p.rest = p.rest[i+1:]
				return f
			}
		}
		var err error
		if p.rest, err = p.next(); err != nil {
			p.Fatalf("waiting for frame %#x: %v", t, err)
		}
	}
}

// wantEnd reads until the connection ends, and returns the CONNECTION_CLOSE's code
// (0 for none) and the status of the WebSocket.
func (p *rawPeer) wantEnd() (code uint64, status websocket.StatusCode) {
	p.Helper()
	for {
		frames, err := p.next()
		if err != nil {
			return code, websocket.CloseStatus(err)
		}
		for _, f := range frames {
			if f.Type == qmux.ConnectionClose {
				code = f.Code
			}
		}
	}
}

// wantLost waits until a connection has ended for a reason of the transport.
func wantLost(t testing.TB, c Conn) {
	t.Helper()
	<-c.Context().Done()
	e, ok := errors.AsType[*CloseError](context.Cause(c.Context()))
	if !ok || e.Err == nil || e.Remote {
		t.Errorf("ended with %#v, want an error of the peer's", context.Cause(c.Context()))
	}
	t.Logf("ended with %v", e)
}

// generous are parameters that stop nobody.
var generous = qmux.Parameters{
	MaxData: 1 << 40, MaxStreamDataOwn: 1 << 40, MaxStreamDataPeer: 1 << 40, MaxStreamDataUni: 1 << 40,
	MaxStreamsBidi: 1 << 20, MaxStreamsUni: 1 << 20,
}
