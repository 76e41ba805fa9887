package transport

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// gate counts the connections whose handshake is not finished. Each costs memory
// and signatures before its client has proved anything; quic-go bounds only
// those that are finished. Above the first limit clients have to prove their
// address, which costs us no memory; above the second they are refused.
type gate struct {
	// Static after construction.
	retryAbove, refuseAbove int64
	timeout                 time.Duration

	halfOpen                           atomic.Int64
	retried, refused, accepted, failed atomic.Uint64
}

// attempt is one connection on its way to being ready.
type attempt struct {
	gate     *gate
	began    time.Time
	deadline time.Time
	forget   func() bool // stops watching for the connection's end
	over     atomic.Bool // it became ready, failed or ran out of time
}

type attemptKey struct{}

var errTooManyHalfOpen = errors.New("too many half-open connections")

// needsRetry is quic.Transport's VerifySourceAddress.
func (g *gate) needsRetry(net.Addr) bool {
	if g.halfOpen.Load() < g.retryAbove {
		return false
	}
	g.retried.Add(1)
	return true
}

// admit is quic.Transport's ConnContext: it runs when a client's first packet
// has been accepted, and ctx ends with the connection or its failed handshake.
func (g *gate) admit(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	if g.halfOpen.Load() >= g.refuseAbove {
		g.refused.Add(1)
		return nil, errTooManyHalfOpen
	}
	a := g.begin()
	a.forget = context.AfterFunc(ctx, func() { a.fail() })
	return context.WithValue(ctx, attemptKey{}, a), nil
}

// admitTCP returns the attempt of a client that asks for a WebSocket, nil if there
// are too many. Whoever calls it ends the attempt.
func (g *gate) admitTCP() *attempt {
	if g.halfOpen.Load() >= g.refuseAbove {
		g.refused.Add(1)
		return nil
	}
	return g.begin()
}

func (g *gate) begin() *attempt {
	g.halfOpen.Add(1)
	now := time.Now()
	return &attempt{gate: g, began: now, deadline: now.Add(g.timeout), forget: func() bool { return true }}
}

// attemptOf returns the attempt of a connection that the gate admitted.
func attemptOf(ctx context.Context) *attempt {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		panic("BUG: connection that the gate did not admit")
	}
	return a
}

// succeed ends the attempt, unless it has failed already.
func (a *attempt) succeed() bool {
	if !a.over.CompareAndSwap(false, true) {
		return false
	}
	a.forget()
	a.gate.halfOpen.Add(-1)
	a.gate.accepted.Add(1)
	return true
}

// fail ends the attempt, unless it is over already.
func (a *attempt) fail() bool {
	if !a.over.CompareAndSwap(false, true) {
		return false
	}
	a.gate.halfOpen.Add(-1)
	a.gate.failed.Add(1)
	return true
}

func (g *gate) stats() EndpointStats {
	return EndpointStats{
		HalfOpen: int(g.halfOpen.Load()),
		Retried:  g.retried.Load(),
		Refused:  g.refused.Load(),
		Accepted: g.accepted.Load(),
		Failed:   g.failed.Load(),
	}
}
