package main

import (
	"bytes"
	"io"
	"testing"

	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// shake does the handshake of MoqTransfork on a connection, whose peer is then
// ours to play.
func shake(t *testing.T, conn transport.Conn) transport.Stream {
	t.Helper()
	hello := wire.SessionClient{Versions: []wire.Version{wire.Version02}}
	s := open(t, conn, hello.Append(wire.StreamSession.Append(nil)))
	want := wire.SessionServer{Version: wire.Version02}.Append(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("handshake: read % x, %v; want % x", got, err, want)
	}
	return s
}

// open opens a bidirectional stream that begins with b.
func open(t *testing.T, conn transport.Conn, b []byte) transport.Stream {
	t.Helper()
	s, err := conn.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(b); err != nil {
		t.Fatal(err)
	}
	return s
}

// freeze subscribes to path and then reads nothing any more, with windows so
// small that soon nothing more can be sent.
func freeze(t *testing.T, ca *authority, p *process, path ...string) transport.Conn {
	t.Helper()
	conn, _ := dial(t, ca, p, func(c *transport.DialConfig) {
		c.Limits = transport.Limits{StreamWindow: 1024, ConnWindow: 2048}
	})
	shake(t, conn)
	ask := wire.Subscribe{ID: 1, Path: path, Order: wire.Descending}
	open(t, conn, ask.Append(wire.StreamSubscribe.Append(nil)))
	return conn
}
