package transfork

import (
	"testing"

	"github.com/moqrelay/moqrelay/relay/session/sessiontest"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

const (
	latency = sessiontest.Latency
	rtt     = sessiontest.RTT
	soon    = sessiontest.Soon
)

var (
	settle = sessiontest.Settle
	unhex  = sessiontest.Unhex
)

// mapped is the protocol as moq-relay 0.6.8 speaks it on raw QUIC.
var mapped = transport.Protocol{ALPN: "moqf-02", MapStreamCodes: true}

// world is a relay whose clients speak MoqTransfork.
type world struct{ *sessiontest.World }

// bubble runs f with a relay in fake time. change adapts the configuration of
// its sessions.
func bubble(t *testing.T, change, f func(*world)) {
	t.Helper()
	in := func(f func(*world)) func(*sessiontest.World) {
		if f == nil {
			return nil
		}
		return func(w *sessiontest.World) { f(&world{w}) }
	}
	sessiontest.Bubble(t, Server, []transport.Protocol{mapped}, in(change), in(f))
}

// session returns the i-th session that the relay has had.
func (w *world) session(i int) *Session {
	w.Helper()
	return w.Session(i).(*Session)
}

// stream is one stream of a peer: bidirectional, or one direction of it.
type stream = sessiontest.Stream[wire.Code]

// peer is the other end of a session, played byte by byte.
type peer struct {
	*world
	*sessiontest.Peer[wire.Code]
}

func (w *world) peer(conn transport.Conn) *peer {
	return &peer{w, sessiontest.NewPeer[wire.Code](w.World, conn)}
}
