package transport

import (
	"context"
	"errors"
	"testing"
)

// Datagrams go both ways where there are any; elsewhere that is an error at once.
func TestDatagrams(t *testing.T) {
	t.Parallel()
	eachWay(t, ServerConfig{}, func(n *testNet, client, server Conn) {
		if client.Kind() == WebSocket {
			_, err := server.ReceiveDatagram(n.ctx())
			if client.TakesDatagrams() || !errors.Is(client.SendDatagram([]byte("a")), ErrNoDatagrams) || !errors.Is(err, ErrNoDatagrams) {
				n.Error("datagrams over WebSocket")
			}
			return
		}
		for _, ends := range [][2]Conn{{client, server}, {server, client}} {
			from, to := ends[0], ends[1]
			if !from.TakesDatagrams() {
				n.Fatal("no datagrams")
			}
			largest := make([]byte, 1200+3*8) // of moq-lite, with its header
			for _, b := range [][]byte{[]byte("a"), {}, largest} {
				if err := from.SendDatagram(b); err != nil {
					n.Fatalf("%d bytes: %v", len(b), err)
				}
				if got, err := to.ReceiveDatagram(n.ctx()); err != nil || string(got) != string(b) {
					n.Fatalf("%d bytes come as %d, %v", len(b), len(got), err)
				}
			}
			if err := from.SendDatagram(make([]byte, 4000)); !errors.Is(err, ErrNoDatagrams) {
				n.Errorf("too large: %v", err)
			}
		}
		ctx, cancel := context.WithCancel(n.ctx())
		cancel()
		if _, err := server.ReceiveDatagram(ctx); !errors.Is(err, context.Canceled) {
			n.Errorf("receive: %v", err)
		}
		_ = client.CloseWithError(7, "")
		_, err := server.ReceiveDatagram(n.ctx())
		if e, ok := errors.AsType[*CloseError](err); !ok || e.Code != 7 {
			n.Errorf("receive after the end: %v", err)
		}
		if e, ok := errors.AsType[*CloseError](client.SendDatagram(nil)); !ok || e.Code != 7 {
			n.Errorf("send after the end: %v", e)
		}
	})
}
