package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

func TestParseEndpoint(t *testing.T) {
	tests := map[string]struct {
		url, protocol string
		target        string
		carrier       string
		local         bool
	}{
		"Local":       {"http://localhost:4443", "", "localhost:4443", "quic", true},
		"LocalIP":     {"http://127.0.0.1:4443/", "", "127.0.0.1:4443", "quic", true},
		"LocalIPv6":   {"http://[::1]:4443", "", "[::1]:4443", "quic", true},
		"LocalWeb":    {"http://localhost:4443", "h3", "https://localhost:4443", "webtransport", true},
		"Web":         {"https://example.com", "", "https://example.com:443", "webtransport", false},
		"WebPath":     {"https://example.com:4443/a/b?jwt=x", "", "https://example.com:4443/a/b?jwt=x", "webtransport", false},
		"WebAsQUIC":   {"https://example.com:4443/a", "moqf-02", "https://example.com:4443/a", "webtransport", false},
		"QUIC":        {"moqf://example.com", "", "example.com:443", "quic", false},
		"Socket":      {"wss://example.com/a?jwt=x", "", "https://example.com:443/a?jwt=x", "websocket", false},
		"SocketHere":  {"ws://localhost:4443", "moq-lite-05", "http://localhost:4443", "websocket", false},
		"QUICLiteral": {"moqf://[2001:db8::1]:9", "", "[2001:db8::1]:9", "quic", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := parseEndpoint(tt.url, tt.protocol)
			if err != nil {
				t.Fatal(err)
			}
			if e.target() != tt.target || e.kind.String() != tt.carrier || e.local != tt.local {
				t.Errorf("dials %s with %s, local %v; want %s with %s, local %v",
					e.target(), e.kind.String(), e.local, tt.target, tt.carrier, tt.local)
			}
		})
	}
}

// otherProtocol serves QUIC that speaks something else, and returns its address.
func otherProtocol(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	e, err := transport.Listen(socket, transport.ServerConfig{
		Protocols: []transport.Protocol{{ALPN: "something-else"}},
		TLS:       &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := e.Accept(ctx); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = e.Close()
		_ = socket.Close()
	})
	return socket.LocalAddr().String()
}

// Who follows from relay to relay stays with the names that it began with: a
// relay that knows more than the first one is spoken to as that was.
func TestFollowersStayInTheirFamily(t *testing.T) {
	for protocol, want := range map[string][]string{
		"":                     protocols.Names(),
		protocols.MoqTransfork: {protocols.MoqTransfork},
		"moq-lite-04":          protocols.All().Subprotocols(),
	} {
		e, err := parseEndpoint("https://relay.example", "")
		if err != nil {
			t.Fatal(err)
		}
		if protocol != "" {
			e.family = familyOf(protocol)
		}
		var got []string
		for _, p := range e.offer().QUIC() {
			got = append(got, p.ALPN)
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %q: offers %q, want %q", protocol, got, want)
		}
	}
}
