package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/moqrelay/moqrelay/relay/session/protocols"
)

// deaf is a socket on which nothing arrives: a client that gave a false address.
type deaf struct {
	net.PacketConn
	limit         int64 // datagrams that leave
	began         time.Time
	sent, in, out atomic.Int64
	answers       atomic.Int64
	flight        atomic.Int64 // answers before anything was sent again
}

const (
	// datagram is the largest that goes over a link of unknown size.
	datagram = 1452
	// beforeRetransmission is less than it takes until what was not
	// acknowledged is sent again, without a round trip measured.
	beforeRetransmission = 200 * time.Millisecond
)

func (d *deaf) WriteTo(b []byte, to net.Addr) (int, error) {
	if d.sent.Add(1) > d.limit {
		return len(b), nil
	}
	d.in.Add(int64(len(b)))
	return d.PacketConn.WriteTo(b, to)
}

func (d *deaf) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := d.PacketConn.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		d.out.Add(int64(n))
		d.answers.Add(1)
		if time.Since(d.began) < beforeRetransmission {
			d.flight.Add(1)
		}
	}
}

// TestS11Amplification: an address that has not been proved gets no more than
// three times what came from it, retransmissions included, and the certificate
// of a usual size fits the first three datagrams.
func TestS11Amplification(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p := startRelay(t, ca)
	for _, alpn := range []string{protocols.MoqTransfork, "h3"} {
		for datagrams := range int64(3) {
			t.Run(fmt.Sprintf("%s after %d datagrams", alpn, datagrams+1), func(t *testing.T) {
				t.Parallel()
				socket, err := net.ListenPacket("udp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				client := &deaf{PacketConn: socket, limit: datagrams + 1, began: time.Now()}
				to, err := net.ResolveUDPAddr("udp", p.addr)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // a few retransmissions
				defer cancel()
				tr := &quic.Transport{Conn: client}
				if _, err := tr.Dial(ctx, to, &tls.Config{RootCAs: ca.pool, ServerName: "localhost", NextProtos: []string{alpn}}, nil); err == nil {
					t.Error("a deaf client finished a handshake")
				}
				_ = tr.Close()
				_ = socket.Close()
				in, out := client.in.Load(), client.out.Load()
				t.Logf("%d bytes in, %d bytes in %d datagrams out: %.2f", in, out, client.answers.Load(), float64(out)/float64(in))
				// quic-go looks at the limit before each datagram, so the last
				// one may go beyond it.
				if out >= 3*in+datagram {
					t.Errorf("%d bytes in and %d out, more than three times as many and a datagram", in, out)
				}
				if n := client.flight.Load(); n > 3 {
					t.Errorf("the first flight has %d datagrams, want 3 at most", n)
				}
			})
		}
	}
}

// TestS12SlowTCP: who sends or reads slowly over TCP is cut off, and holds up
// nobody meanwhile.
func TestS12SlowTCP(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p := startRelay(t, ca)
	const hello = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nX-Slow: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
	for name, tc := range map[string]struct {
		addr  string
		first string // sent at once
		drip  string // sent at a byte per half second
		limit time.Duration
	}{
		"silent":                    {p.addr, "", "", 6 * time.Second},
		"slow header":               {p.addr, "", hello, 7 * time.Second},
		"slow TLS":                  {p.addr, "\x16\x03\x01", "\x02\x00\x01\x00\x01\xfc\x03\x03yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", 7 * time.Second},
		"slow body":                 {p.addr, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n", hello, 12 * time.Second},
		"silent, private port":      {p.private, "", "", 6 * time.Second},
		"slow header, private port": {p.private, "", hello, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", tc.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			began := time.Now()
			if _, err := conn.Write([]byte(tc.first)); err != nil {
				t.Fatal(err)
			}
			rest, answer := tc.drip, make([]byte, 4096)
			for time.Since(began) < tc.limit {
				_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
				_, err := conn.Read(answer)
				if e, ok := err.(net.Error); err != nil && (!ok || !e.Timeout()) {
					t.Logf("cut off after %v", time.Since(began).Round(time.Millisecond))
					return
				}
				if rest != "" {
					_, _ = conn.Write([]byte(rest[:1])) // Read tells
					rest = rest[1:]
				}
				if status, _, err := get(t, "http://"+p.addr+"/livez"); status != http.StatusOK {
					t.Fatalf("meanwhile: status %d, %v", status, err)
				}
			}
			t.Errorf("not cut off after %v", tc.limit)
		})
	}
}

// TestS12SlowUDP: a connection that does not become a session is ended, however
// it keeps itself alive.
func TestS12SlowUDP(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	const limit = 2 * time.Second
	p := startRelay(t, ca, "--handshake-timeout", limit.String())
	to, err := net.ResolveUDPAddr("udp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, alpn := range []string{protocols.MoqTransfork, "h3"} {
		t.Run(alpn, func(t *testing.T) {
			t.Parallel()
			socket, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = socket.Close() }()
			tr := &quic.Transport{Conn: socket}
			defer func() { _ = tr.Close() }()
			began := time.Now()
			conn, err := tr.Dial(t.Context(), to, &tls.Config{RootCAs: ca.pool, ServerName: "localhost", NextProtos: []string{alpn}},
				&quic.Config{KeepAlivePeriod: 200 * time.Millisecond, EnableDatagrams: true})
			if err != nil {
				t.Fatal(err)
			}
			s, err := conn.OpenStream()
			if err != nil {
				t.Fatal(err)
			}
			drip := "\x00\x20" // SESSION_CLIENT of 32 versions
			if alpn == "h3" {
				drip = "\x01\x3f" // HEADERS of 63 bytes
			}
			for conn.Context().Err() == nil && time.Since(began) < 2*limit+time.Second {
				_, _ = s.Write([]byte(drip[:1]))
				drip = drip[1:] + "\x00"
				select {
				case <-conn.Context().Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
			took := time.Since(began)
			t.Logf("ended after %v with %v", took.Round(time.Millisecond), context.Cause(conn.Context()))
			if conn.Context().Err() == nil || took > limit+time.Second {
				t.Errorf("not ended after %v", took)
			}
		})
	}
	// The steps have one time limit together.
	t.Run("slow at each step", func(t *testing.T) {
		t.Parallel()
		began := time.Now()
		conn, err := quic.DialAddr(t.Context(), p.addr, &tls.Config{RootCAs: ca.pool, ServerName: "localhost", NextProtos: []string{"h3"}},
			&quic.Config{KeepAlivePeriod: 200 * time.Millisecond, EnableDatagrams: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.CloseWithError(0, "") }()
		elapse(t, limit*3/4)
		sendRequest(t, conn, nil, nil) // and then no handshake of the session
		select {
		case <-conn.Context().Done():
			t.Logf("ended after %v with %v", time.Since(began).Round(time.Millisecond), context.Cause(conn.Context()))
		case <-time.After(time.Until(began.Add(limit + limit/2))):
			t.Errorf("not ended after %v", time.Since(began))
		}
	})
	t.Cleanup(func() {
		within(t, promptly, "the refusals are counted", func() bool { return p.metric("moq_relay_sessions_refused_total", `reason="timeout"`) >= 1 })
		p.noErrors()
	})
}
