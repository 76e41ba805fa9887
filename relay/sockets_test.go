package relay_test

import (
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/moqrelay/moqrelay/relay"
	"github.com/moqrelay/moqrelay/relay/config"
)

// TestAnyPort: where any port will do, one is found that is free for UDP and for
// TCP, however many programs listen on TCP alone.
func TestAnyPort(t *testing.T) {
	for range 1500 { // one in twenty ports, by chance
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	for range 400 {
		sockets, err := relay.Listen(config.Config{Bind: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		if udp, tcp := sockets.UDP.LocalAddr().String(), sockets.TCP.Addr().String(); udp != tcp {
			t.Errorf("UDP is at %s and TCP at %s", udp, tcp)
		}
		if err := sockets.Close(); err != nil {
			t.Error(err)
		}
	}
}

var errBroken = errors.New("the socket is broken")

// broken is a socket that cannot be read.
type broken struct{ net.PacketConn }

func (broken) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, errBroken }

// TestBrokenSocket: a relay that no connection can come to any more ends, so that
// it is started again.
func TestBrokenSocket(t *testing.T) {
	c := config.Default()
	c.Dev = true
	udp, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, err := relay.New(c, relay.Environment{Sockets: relay.Sockets{UDP: broken{udp}}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("Run returns %v, want %v", err, errBroken)
	}
}
