package server

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// firstByteTimeout bounds the wait for a TCP client's first byte.
	firstByteTimeout = 5 * time.Second
	// maxUndecided bounds the TCP connections that have not sent it yet.
	maxUndecided = 1024
	// maxServed bounds those that were handed to Accept and are answered over HTTP. A
	// WebSocket counts no more: it is a session.
	maxServed = 4096
	// tlsRecordHandshake is the first byte of every TLS connection.
	tlsRecordHandshake = 0x16
)

// A splitListener serves TLS and plain HTTP on one port: the first byte of a
// connection tells which it is. Waiting for it never holds up Accept.
type splitListener struct {
	net.Listener
	tls       *tls.Config
	maxServed int64         // constant but for tests
	ready     chan net.Conn // unbuffered: handed to Accept
	done      chan struct{} // closed by Close, or when nothing is accepted any more
	err       error         // why nothing is; written before done is closed
	once      sync.Once
	wg        sync.WaitGroup

	served atomic.Int64 // connections that are answered; see track
}

func split(l net.Listener, config *tls.Config) *splitListener {
	s := &splitListener{Listener: l, tls: config, maxServed: maxServed, ready: make(chan net.Conn), done: make(chan struct{})}
	s.wg.Go(s.accept)
	return s
}

// Accept returns the next connection that has sent its first byte.
func (s *splitListener) Accept() (net.Conn, error) {
	select {
	case conn := <-s.ready:
		return conn, nil
	case <-s.done:
		return nil, s.err
	}
}

// Close stops listening and ends undecided connections.
func (s *splitListener) Close() error {
	s.end(net.ErrClosed)
	err := s.Listener.Close()
	s.wg.Wait()
	return err
}

// end has Accept return err from now on.
func (s *splitListener) end(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.done)
	})
}

func (s *splitListener) accept() {
	undecided := make(chan struct{}, maxUndecided) // holds one token per connection
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			s.end(err)
			return
		}
		select {
		case undecided <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		s.wg.Go(func() {
			s.decide(conn)
			<-undecided
		})
	}
}

// decide hands conn to Accept when its first byte is there.
func (s *splitListener) decide(conn net.Conn) {
	stop := make(chan struct{})
	defer close(stop)
	s.wg.Go(func() { // unblocks Peek when the listener closes
		select {
		case <-s.done:
			_ = conn.SetReadDeadline(time.Unix(1, 0))
		case <-stop:
		}
	})
	_ = conn.SetReadDeadline(time.Now().Add(firstByteTimeout))
	buffered := &bufferedConn{Conn: conn, r: bufio.NewReaderSize(conn, 512)}
	first, err := buffered.r.Peek(1)
	if err != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	isTLS := first[0] == tlsRecordHandshake
	if s.served.Load() >= s.maxServed {
		refuse(conn, isTLS)
		return
	}
	var decided net.Conn = buffered
	if isTLS {
		decided = tls.Server(buffered, s.tls)
	}
	select {
	case s.ready <- decided:
	case <-s.done:
		_ = conn.Close()
	}
}

// refuse closes a connection that is one too many. Without TLS it says so.
func refuse(conn net.Conn, isTLS bool) {
	if !isTLS {
		_ = conn.SetWriteDeadline(time.Now().Add(firstByteTimeout))
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	}
	_ = conn.Close()
}

// track counts the connections that are answered. It is http.Server's ConnState.
// Those that are decided at the same time may be a few too many.
func (s *splitListener) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.served.Add(1)
	case http.StateHijacked, http.StateClosed:
		s.served.Add(-1)
	case http.StateActive, http.StateIdle: // counted already
	}
}

// bufferedConn is a connection whose first bytes were looked at.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

// NetConn returns the connection below, for options of its socket.
func (c *bufferedConn) NetConn() net.Conn { return c.Conn }

func (c *bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }
