package transport

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// closeFlush bounds how long the last bytes may take to leave a socket that is
// being closed.
const closeFlush = 50 * time.Millisecond

// maxUnsent bounds what the kernel holds of a connection beyond what is on its
// way. What it holds cannot be overtaken by a more urgent stream.
const maxUnsent = 16 << 10

// maxUnflushed is more than one record and the pongs that join it.
const maxUnflushed = 64 << 10

var errUnflushed = errors.New("more to send than was to be")

// qmuxSocket is the TCP or TLS connection below the WebSocket library.
//
// What the library writes is kept here until the connection's writer takes it to
// the network with flush. So writing to the library never blocks, and neither
// does its reader, which answers pings: it would end the connection when a pong
// cannot leave within 5 seconds, and a slow subscriber makes that happen.
type qmuxSocket struct {
	net.Conn
	wake   chan struct{} // holds a token when there may be something to flush
	onPing func() bool   // whether a ping is to be answered; set before anything is read

	received, sent atomic.Uint64 // bytes
	lastRead       atomic.Int64  // when the peer was heard of, in nanoseconds since the epoch

	flushing chan struct{} // holds a token while somebody writes to the network
	mu       sync.Mutex
	out      []byte // what the library has written
	spare    []byte // takes out's place while that is written to the network

	closing atomic.Bool   // whoever closes it first does it
	done    chan struct{} // closed when that has begun
	closed  chan struct{} // and when it is done
}

func newQmuxSocket(conn net.Conn) *qmuxSocket {
	limitUnsent(rawConnOf(conn), maxUnsent)
	s := &qmuxSocket{
		Conn: conn, wake: make(chan struct{}, 1), flushing: make(chan struct{}, 1),
		done: make(chan struct{}), closed: make(chan struct{}),
	}
	s.lastRead.Store(time.Now().UnixNano())
	return s
}

// rawConnOf returns the connection below TLS and whatever else wraps it.
func rawConnOf(conn net.Conn) net.Conn {
	for {
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = wrapped.NetConn()
	}
}

// kick lets the writer look for something to send.
func (s *qmuxSocket) kick() { notify(s.wake) }

// notify leaves a token in a channel for one, unless there is one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *qmuxSocket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		s.received.Add(uint64(n))
		s.lastRead.Store(time.Now().UnixNano())
	}
	return n, err
}

// heardOf is when the peer last sent anything.
func (s *qmuxSocket) heardOf() time.Time { return time.Unix(0, s.lastRead.Load()) }

// Write keeps p for the next flush.
func (s *qmuxSocket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.out)+len(p) > maxUnflushed {
		return 0, errUnflushed
	}
	s.out = append(s.out, p...)
	s.kick()
	return len(p), nil
}

// unflushed is how many bytes wait for a flush.
func (s *qmuxSocket) unflushed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.out)
}

// flush writes what has been kept to the network.
func (s *qmuxSocket) flush() error {
	s.flushing <- struct{}{}
	defer func() { <-s.flushing }()
	for {
		s.mu.Lock()
		b := s.out
		s.out = s.spare[:0]
		s.spare = nil
		s.mu.Unlock()
		var err error
		if len(b) > 0 {
			var n int
			n, err = s.Conn.Write(b)
			s.sent.Add(uint64(n))
		}
		s.mu.Lock()
		s.spare = b[:0]
		s.mu.Unlock()
		if err != nil || len(b) == 0 {
			return err
		}
	}
}

// Close gives what has been kept a moment to leave.
func (s *qmuxSocket) Close() error {
	if !s.closing.CompareAndSwap(false, true) {
		<-s.closed
		return nil
	}
	defer close(s.closed)
	close(s.done)
	_ = s.SetWriteDeadline(time.Now().Add(closeFlush))
	_ = s.flush() // the connection ends in any case
	// TLS says goodbye, and would wait 5 seconds for a peer that reads nothing.
	cut := time.AfterFunc(closeFlush, func() { _ = rawConnOf(s.Conn).Close() })
	defer cut.Stop()
	return s.Conn.Close()
}
