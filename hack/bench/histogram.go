package main

import (
	"math"
	"sync/atomic"
	"time"
)

// histogram counts durations in steps of a thirtieth, from a microsecond to
// minutes. Its methods are for any goroutine.
type histogram struct {
	counts [steps]atomic.Int64
	max    atomic.Int64
}

const (
	steps       = 640
	stepsPerE   = 30 // for each factor e
	firstBucket = time.Microsecond
)

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)].Add(1)
	for {
		highest := h.max.Load()
		if int64(d) <= highest || h.max.CompareAndSwap(highest, int64(d)) {
			return
		}
	}
}

func bucketOf(d time.Duration) int {
	if d <= firstBucket {
		return 0
	}
	return min(steps-1, int(stepsPerE*math.Log(float64(d)/float64(firstBucket))))
}

// quantile returns the duration that the share q did not exceed, at the middle
// of its step.
func (h *histogram) quantile(q float64) time.Duration {
	var total int64
	for i := range h.counts {
		total += h.counts[i].Load()
	}
	left := int64(math.Ceil(q * float64(total)))
	for i := range h.counts {
		if left -= h.counts[i].Load(); left <= 0 && total > 0 {
			middle := time.Duration(float64(firstBucket) * math.Exp((float64(i)+0.5)/stepsPerE))
			return min(middle, time.Duration(h.max.Load()))
		}
	}
	return 0
}
