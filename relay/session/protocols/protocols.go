// Package protocols knows which protocols there are and which one a connection
// speaks. It stands above the sessions and chooses among them: by the ALPN on
// raw QUIC, by the subprotocol of WebTransport and WebSocket, or, where there is
// neither, by the first byte that the client sends.
package protocols

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/moqlite"
	"github.com/moqrelay/moqrelay/relay/session/transfork"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// MoqTransfork is the ALPN of moq-relay 0.6 over raw QUIC.
const MoqTransfork = "moqf-02"

// Names are the protocols, the most wanted first, as ALPNs are called. "moql"
// is moq-lite-02 or moq-lite-01, as the two sides agree.
func Names() []string { return append(moqlite.Tokens(), MoqTransfork) }

// Parse returns what offers the protocol of a name alone, or an error that lists
// the names.
func Parse(name string) (Offer, error) {
	if !slices.Contains(Names(), name) {
		return Offer{}, fmt.Errorf("no protocol %q: there are %v", name, Names())
	}
	return Only(name), nil
}

// Only offers the protocol of a name that Names has.
func Only(name string) Offer { return Offer{names: []string{name}} }

// All offers every protocol.
func All() Offer { return Offer{names: Names()} }

// Without is the offer without the protocol of a name.
func (o Offer) Without(name string) Offer {
	return Offer{names: slices.DeleteFunc(slices.Clone(o.names), func(n string) bool { return n == name })}
}

// Offer is a choice of protocols, the most wanted first.
type Offer struct{ names []string }

// QUIC is the offer as ALPNs. The streams of all of them end with codes mapped as
// those of WebTransport are, as their other implementations have it.
func (o Offer) QUIC() []transport.Protocol {
	var all []transport.Protocol
	for _, name := range o.names {
		all = append(all, transport.Protocol{ALPN: name, MapStreamCodes: true})
	}
	return all
}

// Subprotocols is the offer as subprotocols of WebTransport and WebSocket:
// MoqTransfork has none.
func (o Offer) Subprotocols() []string {
	return o.Without(MoqTransfork).names
}

// Has tells whether a protocol is among those that are offered.
func (o Offer) Has(name string) bool { return slices.Contains(o.names, name) }

// Server returns the session of a connection that was accepted, and that
// [Detect] has looked at.
func Server(conn transport.Conn, c session.Config) session.Session {
	if moqlite.Speaks(conn.Protocol()) {
		return moqlite.Server(conn, c)
	}
	return transfork.Server(conn, c)
}

// Client returns the session of a connection that was dialled. One without a
// subprotocol, which is WebTransport, speaks MoqTransfork.
func Client(conn transport.Conn, c session.Config) session.Session {
	if moqlite.Speaks(conn.Protocol()) {
		return moqlite.Client(conn, c)
	}
	return transfork.Client(conn, c)
}

// Settle returns a connection that was dialled with this offer, with the protocol
// to speak on it. A WebTransport server that names none leaves it to the client:
// to MoqTransfork, which has no name there, and else to what begins in band.
// False means that neither was offered.
func (o Offer) Settle(conn transport.Conn) (transport.Conn, bool) {
	switch {
	case conn.Protocol() != "":
		return conn, o.Has(conn.Protocol())
	case o.Has(MoqTransfork):
		return &detected{Conn: conn, protocol: MoqTransfork, first: make(chan transport.Stream, 1)}, true
	case o.Has(moqlite.InBand):
		return &detected{Conn: conn, protocol: moqlite.InBand, first: make(chan transport.Stream, 1)}, true
	default:
		return conn, false
	}
}

// KnowHops tells whether announcements in the protocol of a name carry all hops
// that they have come through, so that a loop is seen.
func KnowHops(name string) bool { return moqlite.KnowsHops(name) }

// clientSetup is the first byte of a client of moq-lite that names no token. One
// of MoqTransfork begins with 0.
const clientSetup = 0x20

// Detect returns the connection with its protocol. If no token has settled that,
// it waits for the first byte that the client sends.
func Detect(ctx context.Context, conn transport.Conn, timeout time.Duration) (transport.Conn, error) {
	if conn.Protocol() != "" {
		return conn, nil
	}
	deadline := conn.Since().Add(timeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	stream, err := conn.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	first := make([]byte, 1)
	if _, err := stream.Read(first); err != nil {
		return nil, err
	}
	d := &detected{Conn: conn, protocol: MoqTransfork, first: make(chan transport.Stream, 1)}
	if first[0] == clientSetup {
		d.protocol = moqlite.InBand
	}
	d.first <- &peeked{Stream: stream, head: first}
	return d, nil
}

// detected is a connection whose first stream was looked at.
type detected struct {
	transport.Conn
	protocol string
	first    chan transport.Stream
}

func (d *detected) Protocol() string { return d.protocol }

func (d *detected) AcceptStream(ctx context.Context) (transport.Stream, error) {
	select {
	case stream := <-d.first:
		return stream, nil
	default:
		return d.Conn.AcceptStream(ctx)
	}
}

// peeked is a stream whose first byte was read.
type peeked struct {
	transport.Stream
	head []byte // to be read before the rest
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.head) > 0 && len(b) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.Stream.Read(b)
}
