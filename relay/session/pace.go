package session

import (
	"context"
	"sync"
	"time"
)

// Pace is a token bucket that slows down who reads from a peer, and does nothing
// else to it. Its methods are for any goroutine.
type Pace struct {
	mu     sync.Mutex
	limits Limits
	tokens float64 // below zero: so many readers wait
	last   time.Time
}

// NewPace returns a full bucket for the control messages of l.
func NewPace(l Limits) *Pace {
	return &Pace{limits: l, tokens: float64(l.ControlBurst), last: time.Now()}
}

// Wait waits until a message may be read, and reports whether ctx is not done then.
func (p *Pace) Wait(ctx context.Context) bool {
	wait := p.take(time.Now())
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *Pace) take(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	rate, burst := float64(p.limits.ControlRate), float64(p.limits.ControlBurst)
	p.tokens = min(burst, p.tokens+rate*now.Sub(p.last).Seconds()) - 1
	p.last = now
	return time.Duration(-p.tokens / rate * float64(time.Second))
}
