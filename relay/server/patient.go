package server

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// Bounds of the wait before a listener is asked again that could not accept.
const (
	minAcceptDelay = 5 * time.Millisecond
	maxAcceptDelay = time.Second
	// acceptLogInterval bounds how often that is written down.
	acceptLogInterval = time.Minute
)

// A patientListener accepts again after an error that says nothing of the listener
// itself: no descriptor or no memory is left for a connection, or it was broken
// before it was accepted. Sessions over UDP go on meanwhile.
type patientListener struct {
	net.Listener
	log    *slog.Logger
	done   chan struct{} // closed by Close
	once   sync.Once
	logged time.Time // owned by Accept
}

func patient(l net.Listener, log *slog.Logger) *patientListener {
	return &patientListener{Listener: l, log: log, done: make(chan struct{})}
}

// Accept waits for the next connection. An error is final. It is for one goroutine.
func (p *patientListener) Accept() (net.Conn, error) {
	for delay := minAcceptDelay; ; delay = min(2*delay, maxAcceptDelay) {
		conn, err := p.Listener.Accept()
		if err == nil || isFinal(err) {
			return conn, err
		}
		if p.logged.IsZero() || time.Since(p.logged) >= acceptLogInterval {
			p.logged = time.Now()
			p.log.Warn("a TCP connection could not be accepted", "addr", p.Addr().String(), "error", err)
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-p.done:
			timer.Stop()
			return nil, net.ErrClosed
		}
	}
}

// isFinal tells whether the listener will never accept again.
func isFinal(err error) bool {
	for _, final := range []error{net.ErrClosed, syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

// Close stops listening, and ends a wait.
func (p *patientListener) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.Listener.Close()
}
