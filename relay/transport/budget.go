package transport

import (
	"context"
	"sync"

	"github.com/quic-go/quic-go"
)

// receiveBudget bounds what the receive windows of all connections grow by. A
// window is memory that a peer can make us hold by sending what nobody reads.
type receiveBudget struct {
	max uint64

	mu    sync.Mutex
	used  uint64
	grown map[*quic.Conn]uint64
}

// newReceiveBudget returns nil, which grants everything, for no bound.
func newReceiveBudget(max uint64) *receiveBudget {
	if max == 0 {
		return nil
	}
	return &receiveBudget{max: max, grown: make(map[*quic.Conn]uint64)}
}

// add makes the connection one that may grow, until it ends.
func (b *receiveBudget) add(qc *quic.Conn) {
	if b != nil {
		b.addUntil(qc.Context(), qc)
	}
}

func (b *receiveBudget) addUntil(ended context.Context, qc *quic.Conn) {
	b.mu.Lock()
	b.grown[qc] = 0
	b.mu.Unlock()
	context.AfterFunc(ended, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.used -= b.grown[qc]
		delete(b.grown, qc)
	})
}

// grow is quic.Config's AllowConnectionWindowIncrease.
func (b *receiveBudget) grow(qc *quic.Conn, by uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.grown[qc]; !known || b.used+by > b.max {
		return false
	}
	b.used += by
	b.grown[qc] += by
	return true
}
