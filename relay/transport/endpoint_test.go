package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"
)

var errBroken = errors.New("the socket is broken")

// broken is a socket that cannot be read once it is broken.
type broken struct {
	net.PacketConn
	now chan struct{}
}

func (b *broken) ReadFrom([]byte) (int, net.Addr, error) {
	<-b.now
	return 0, nil, errBroken
}

// TestBrokenSocket: that no connection will come any more is told to who waits for
// one, unless the endpoint was closed.
func TestBrokenSocket(t *testing.T) {
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	socket := &broken{pc, make(chan struct{})}
	e, err := Listen(socket, ServerConfig{Protocols: []Protocol{plain}, TLS: &tls.Config{Certificates: []tls.Certificate{testCert}}})
	if err != nil {
		t.Fatal(err)
	}
	close(socket.now)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 {
		if _, err := e.Accept(ctx); !errors.Is(err, errBroken) {
			t.Errorf("Accept returns %v, want %v", err, errBroken)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Accept(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("Accept returns %v after Close, want %v", err, ErrClosed)
	}
}
