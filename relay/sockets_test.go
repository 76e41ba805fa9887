package relay_test

import (
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
