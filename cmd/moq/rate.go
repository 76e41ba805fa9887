package main

import (
	"sync"
	"time"
)

// rateWindow is the time over which rates are taken.
const rateWindow = 5 * time.Second

// rate turns counts into rates over the last seconds.
type rate struct {
	mu      sync.Mutex
	samples []counts // oldest first; the first is at least rateWindow old or the start
}

type counts struct {
	at     time.Time
	values [2]int64
}

func newRate(now time.Time) *rate {
	return &rate{samples: []counts{{at: now}}}
}

// per takes what two counters stand at and returns by how much each grew per second.
func (r *rate) per(now time.Time, a, b int64) (perSecondA, perSecondB float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := counts{now, [2]int64{a, b}}
	r.samples = append(r.samples, newest)
	for len(r.samples) > 2 && now.Sub(r.samples[1].at) >= rateWindow {
		r.samples = r.samples[1:]
	}
	oldest := r.samples[0]
	seconds := now.Sub(oldest.at).Seconds()
	if seconds <= 0 {
		return 0, 0
	}
	return float64(a-oldest.values[0]) / seconds, float64(b-oldest.values[1]) / seconds
}
