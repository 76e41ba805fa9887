package base

import (
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/session"
)

// MaxOverrun is how long a peer may send control messages faster than they are
// read before its session ends.
const MaxOverrun = 10 * time.Second

// recovered is how many seconds' worth of tokens show that a peer has slowed
// down. A single one does not: on a busy machine whoever waited for it is late,
// and the bucket has some more by then.
const recovered = 0.5

// limiter is a token bucket over the control messages of a session. Whoever
// reads one takes a token and waits for it.
type limiter struct {
	// Static after construction.
	rate, burst float64

	mu     sync.Mutex
	tokens float64 // below zero: so many readers wait
	last   time.Time
	dry    time.Time // since when messages have had to wait; zero once the bucket has recovered
}

func newLimiter(l session.Limits, now time.Time) *limiter {
	return &limiter{rate: float64(l.ControlRate), burst: float64(l.ControlBurst), tokens: float64(l.ControlBurst), last: now}
}

// take takes a token and returns how long to wait for it, or false if the peer
// went too far.
func (l *limiter) take(now time.Time) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = min(l.burst, l.tokens+l.rate*now.Sub(l.last).Seconds())
	l.last = now
	l.tokens--
	if l.tokens >= 0 {
		if l.tokens >= min(recovered*l.rate, l.burst-1) {
			l.dry = time.Time{}
		}
		return 0, true
	}
	if l.dry.IsZero() {
		l.dry = now
	}
	return time.Duration(-l.tokens / l.rate * float64(time.Second)), now.Sub(l.dry) <= MaxOverrun
}
