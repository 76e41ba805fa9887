package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// viewer is a client of a relay, publishing or subscribing, on a socket of its
// own.
type viewer struct {
	*relaytest.Client
	t      *testing.T
	conn   transport.Conn
	socket net.PacketConn
}

// dial connects to p below any protocol.
func dial(t *testing.T, ca *authority, p *process, change ...func(*transport.DialConfig)) (transport.Conn, net.PacketConn) {
	t.Helper()
	return dialURL(t, ca, "https://"+p.addr+"/", change...)
}

// dialURL connects to the relay at url. What follows its host matters to
// WebTransport only.
func dialURL(t *testing.T, ca *authority, url string, change ...func(*transport.DialConfig)) (transport.Conn, net.PacketConn) {
	t.Helper()
	conn, socket, err := connect(t, ca, url, change...)
	if err != nil {
		t.Fatal(err)
	}
	return conn, socket
}

// connect is dialURL for any goroutine.
func connect(t *testing.T, ca *authority, url string, change ...func(*transport.DialConfig)) (transport.Conn, net.PacketConn, error) {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { _ = socket.Close() })
	c := transport.DialConfig{
		TLS:         &tls.Config{RootCAs: ca.pool},
		Protocols:   protocols.Only(protocols.MoqTransfork).QUIC(),
		PacketConn:  socket,
		IdleTimeout: 20 * time.Second,
		KeepAlive:   time.Second,
	}
	for _, f := range change {
		f(&c)
	}
	conn, err := transport.Dial(t.Context(), url, c)
	if err == nil {
		t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	}
	return conn, socket, err
}

// overWebTransport has a connection carried by WebTransport.
func overWebTransport(c *transport.DialConfig) { c.WebTransport = true }

// join connects a client to p.
func join(t *testing.T, ca *authority, p *process, change ...func(*transport.DialConfig)) *viewer {
	t.Helper()
	return joinURL(t, ca, "https://"+p.addr+"/", change...)
}

// joinURL connects a client to the relay at url.
func joinURL(t *testing.T, ca *authority, url string, change ...func(*transport.DialConfig)) *viewer {
	t.Helper()
	conn, socket := dialURL(t, ca, url, change...)
	return newViewer(t, conn, socket)
}

func newViewer(t *testing.T, conn transport.Conn, socket net.PacketConn) *viewer {
	t.Helper()
	return &viewer{
		Client: relaytest.NewClient(t, conn, "", slog.New(slog.DiscardHandler)),
		t:      t, conn: conn, socket: socket,
	}
}

// joinMany connects n clients to p, some at a time.
func joinMany(t *testing.T, ca *authority, p *process, n int) []*viewer {
	t.Helper()
	conns, sockets := make([]transport.Conn, n), make([]net.PacketConn, n)
	var group errgroup.Group
	group.SetLimit(8)
	for i := range n {
		group.Go(func() (err error) {
			conns[i], sockets[i], err = connect(t, ca, "https://"+p.addr+"/")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	viewers := make([]*viewer, n)
	for i := range n {
		viewers[i] = newViewer(t, conns[i], sockets[i])
	}
	return viewers
}

// vanish has the client be gone without a word.
func (v *viewer) vanish() { _ = v.socket.Close() }

// camera publishes until it is stopped.
type camera struct {
	*viewer
	track *relaytest.Publisher
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// publish has a new client publish path at p: a group of one small frame every
// 50 ms.
func publish(t *testing.T, ca *authority, p *process, path ...string) *camera {
	t.Helper()
	return publishFrames(t, ca, p, 0, path...)
}

// publishFrames is publish with frames of so many bytes at least.
func publishFrames(t *testing.T, ca *authority, p *process, size int, path ...string) *camera {
	t.Helper()
	return film(t, join(t, ca, p), size, path...)
}

// film is publishFrames for a client that is there.
func film(t *testing.T, v *viewer, size int, path ...string) *camera {
	t.Helper()
	padding := " " + strings.Repeat(".", size)
	c := &camera{viewer: v}
	c.track = c.Publish(path...)
	ctx, stop := context.WithCancel(t.Context())
	c.stop = stop
	c.done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			_ = c.track.Write(fmt.Sprint(i, " ", time.Now().UnixNano(), padding)) // fails once the track has ended
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() {
		stop()
		c.done.Wait()
	})
	return c
}

// receive waits until the client gets a group of path, subscribing as often as
// a person would, and returns the time that it took.
func (v *viewer) receive(limit time.Duration, path ...string) time.Duration {
	v.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.t.Context()), limit)
	defer cancel()
	err := v.Announced(ctx, false, path...)
	for err == nil {
		var sub *moq.Subscription
		sub, err = v.Subscribe(path...)
		if err == nil {
			_, err = relaytest.Next(ctx, sub)
			sub.Close()
		}
		if err == nil {
			return time.Since(began)
		}
		select {
		case <-time.After(20 * time.Millisecond):
			err = nil
		case <-ctx.Done():
		}
	}
	v.t.Fatalf("no group of %v within %v: %v", path, limit, err)
	return 0
}

// wantGone waits until the relay announces path no longer.
func (v *viewer) wantGone(limit time.Duration, path ...string) time.Duration {
	v.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.t.Context()), limit)
	defer cancel()
	if err := v.Announced(ctx, true, path...); err != nil {
		v.t.Fatalf("%v is still announced after %v", path, limit)
	}
	return time.Since(began)
}

// wantClosed waits until the relay has closed the connection, and returns how.
func wantClosed(t *testing.T, conn transport.Conn, limit time.Duration) *transport.CloseError {
	t.Helper()
	select {
	case <-conn.Context().Done():
	case <-time.After(limit):
		t.Fatalf("the connection lives after %v", limit)
	}
	e, ok := errors.AsType[*transport.CloseError](context.Cause(conn.Context()))
	if !ok || !e.Remote || e.Err != nil {
		t.Fatalf("the connection ended with %v, want it closed by the relay", context.Cause(conn.Context()))
	}
	return e
}
