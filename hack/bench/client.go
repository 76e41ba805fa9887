package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
	"github.com/moqrelay/moqrelay/relay/wire"
)

// client is a session with a relay, as plain as can be: the load has to cost
// little, and must not do for a relay what that has to do itself.
type client struct {
	conn  transport.Conn
	speak protocol
}

// connect opens a session.
func connect(ctx context.Context, addr string, pool *x509.CertPool, speak protocol) (*client, error) {
	conn, err := transport.Dial(ctx, addr, transport.DialConfig{
		TLS:         &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13},
		Protocols:   protocols.Only(speak.token()).QUIC(),
		IdleTimeout: 10 * time.Second,
		KeepAlive:   4 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, speak: speak}
	if err := speak.greet(ctx, c); err != nil {
		c.close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return c, nil
}

// open opens a bidirectional stream with its first message.
func (c *client) open(ctx context.Context, first []byte) (transport.Stream, *messages, error) {
	stream, err := c.conn.OpenStream(ctx)
	if err != nil {
		return nil, nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = stream.SetReadDeadline(deadline) // a stream that is gone fails below
	}
	if _, err := stream.Write(first); err != nil {
		return nil, nil, err
	}
	return stream, &messages{stream: stream}, nil
}

func (c *client) close() { _ = c.conn.CloseWithError(0, "") } // returns nil always

// messages reads messages from a stream.
type messages struct {
	stream io.Reader
	buf    []byte
}

// next waits for a message.
func next[T any](m *messages, consume func([]byte) (T, int, error)) (T, error) {
	for {
		message, n, err := consume(m.buf)
		if err == nil {
			m.buf = m.buf[n:]
			return message, nil
		}
		if !errors.Is(err, wire.ErrShort) {
			return message, err
		}
		b := make([]byte, 512)
		n, err = m.stream.Read(b)
		m.buf = append(m.buf, b[:n]...)
		if n == 0 && err != nil {
			return message, err
		}
	}
}
