package relay_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/moqrelay/moqrelay/relay"
	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// TestWebSocketPairs: who comes by WebSocket, in whichever version, publishes for
// and watches those who come by QUIC, in new protocols and old ones.
func TestWebSocketPairs(t *testing.T) {
	address := runOnLoopback(t)
	others := []speaker{{protocol: "moq-lite-06"}, {protocol: protocols.MoqTransfork}}
	for _, token := range protocols.All().Subprotocols() {
		ws := speaker{protocol: token}
		for _, other := range others {
			t.Run(fmt.Sprintf("%v over WebSocket to %v", ws, other), func(t *testing.T) {
				publisher, kill := dialWebSocket(t, address, token)
				play(t, publisher, dialQUIC(t, address, other), kill, ws, other)
			})
			t.Run(fmt.Sprintf("%v to %v over WebSocket", other, ws), func(t *testing.T) {
				watcher, _ := dialWebSocket(t, address, token)
				publisher := dialQUIC(t, address, other)
				play(t, publisher, watcher, func() { publisher.Abort() }, other, ws)
			})
		}
	}
}

// runOnLoopback runs a relay until the test ends.
func runOnLoopback(t *testing.T) (address string) {
	t.Helper()
	_, address = startOnLoopback(t, func(*config.Config) {})
	return address
}

func startOnLoopback(t *testing.T, change func(*config.Config)) (r *relay.Relay, address string) {
	t.Helper()
	return startWith(t, relay.Environment{Log: slog.New(slog.DiscardHandler)}, change)
}

// startWith runs a relay that finds around it what env has, and public sockets of
// the system.
func startWith(t *testing.T, env relay.Environment, change func(*config.Config)) (r *relay.Relay, address string) {
	t.Helper()
	c := config.Default()
	c.Bind, c.Dev = "127.0.0.1:0", true
	change(&c)
	sockets, err := relay.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	env.Sockets.UDP, env.Sockets.TCP = sockets.UDP, sockets.TCP
	address = env.Sockets.UDP.LocalAddr().String()
	r, err = relay.New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r, address
}

func dialQUIC(t *testing.T, address string, s speaker) *relaytest.Client {
	t.Helper()
	c := s.config()
	c.TLS = &tls.Config{InsecureSkipVerify: true}
	conn, err := transport.Dial(t.Context(), address, c)
	if err != nil {
		t.Fatal(err)
	}
	return relaytest.NewClient(t, conn, "", slog.New(slog.DiscardHandler))
}

// dialWebSocket also returns what cuts the connection below.
func dialWebSocket(t *testing.T, address, token string) (client *relaytest.Client, kill func()) {
	t.Helper()
	var below net.Conn
	conn, err := transport.Dial(t.Context(), "https://"+address+"/", transport.DialConfig{
		WebSocket: true, WebSocketProtocols: []string{token}, TLS: &tls.Config{InsecureSkipVerify: true},
		DialTCP: func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			var err error
			below, err = d.DialContext(ctx, network, address)
			return below, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return relaytest.NewClient(t, conn, "", slog.New(slog.DiscardHandler)), func() { _ = below.Close() }
}
