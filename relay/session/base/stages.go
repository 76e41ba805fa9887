package base

import (
	"context"
	"errors"

	"github.com/moqrelay/moqrelay/relay/metrics"
)

// ErrDraining is why things end while the session is being drained.
var ErrDraining = errors.New("session is draining")

// A stage is one step of a session's end: what has to hear of it is called once,
// when it begins. Guarded by Base.mu.
type stage struct {
	begun bool
	hooks map[*func()]struct{}
}

// begin begins a stage, and reports whether that had not happened already.
func (b *Base) begin(st *stage) bool {
	b.mu.Lock()
	isFirst := !st.begun
	st.begun = true
	hooks := st.hooks
	st.hooks = nil
	b.mu.Unlock()
	for f := range hooks {
		(*f)()
	}
	return isFirst
}

// on has f called, once, when the stage begins, which may be at once. The
// function that it returns takes that back.
func (b *Base) on(st *stage, f func()) (remove func()) {
	b.mu.Lock()
	begun := st.begun
	if !begun {
		if st.hooks == nil {
			st.hooks = make(map[*func()]struct{})
		}
		st.hooks[&f] = struct{}{}
	}
	b.mu.Unlock()
	if begun {
		f()
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(st.hooks, &f)
	}
}

func (b *Base) hasBegun(st *stage) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return st.begun
}

// OnLeave has f called, once, when GoAway is, which may be at once. The function
// that it returns takes that back.
func (b *Base) OnLeave(f func()) (remove func()) { return b.on(&b.leaving, f) }

// OnDrain has f called, once, when Drain is, which may be at once. The function
// that it returns takes that back.
func (b *Base) OnDrain(f func()) (remove func()) { return b.on(&b.draining, f) }

// IsLeaving reports whether GoAway was called.
func (b *Base) IsLeaving() bool { return b.hasBegun(&b.leaving) }

// GoAway tells the peer, by way of what OnLeave was given, that it should find
// another place.
func (b *Base) GoAway() {
	if b.begin(&b.leaving) {
		b.Config.Metrics.WentAway(metrics.Sent)
	}
}

// GoingAway is closed when the peer has said that we should find another place.
func (b *Base) GoingAway() <-chan struct{} { return b.goingAway }

// PeerLeaves notes that the peer has said so. It counts where that is more than
// a client that withdraws what it published.
func (b *Base) PeerLeaves(counts bool) {
	b.goOnce.Do(func() {
		close(b.goingAway)
		if counts {
			b.Config.Metrics.WentAway(metrics.Received)
		}
	})
}

// IsEnding tells whether one of the two sides has said that it goes away, so
// that the end of the connection says nothing of what was published on it.
func (b *Base) IsEnding() bool {
	select {
	case <-b.goingAway:
		return true
	default:
		return b.IsLeaving()
	}
}

// Drain tells the peer to go away, and gives each of its subscriptions the
// groups that are under way to their end and then a reset. It returns when that
// is done.
func (b *Base) Drain(ctx context.Context) {
	b.GoAway()
	b.begin(&b.draining)
	for len(b.servingNow()) > 0 {
		select {
		case <-b.fewer:
		case <-b.Conn.Context().Done():
			return
		case <-ctx.Done():
			return
		}
	}
}
