package main

import (
	"fmt"
	"time"
)

// workload is what the publisher publishes.
type workload struct {
	name        string
	interval    time.Duration // between frames
	frame       int           // bytes of a frame
	groupFrames int
	slices      int // parts of a frame
}

// sliceGap is the time between the slices of a frame.
const sliceGap = time.Millisecond

// workloads, all at the pace of live media. Idle publishes nothing: its
// sessions only stay open.
var workloads = []workload{
	{name: "video4", interval: time.Second / 30, frame: 16_667, groupFrames: 30},
	{name: "video10", interval: time.Second / 30, frame: 41_667, groupFrames: 30},
	{name: "audio", interval: time.Second / 50, frame: 300, groupFrames: 1},
	{name: "idle"},
}

func workloadNames() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

func findWorkload(name string, slices int) (workload, error) {
	for _, w := range workloads {
		if w.name == name {
			w.slices = min(slices, max(1, w.frame/stampBytes))
			return w, nil
		}
	}
	return workload{}, fmt.Errorf("--workload %q: want one of %v", name, workloadNames())
}

func (w workload) isIdle() bool { return w.interval == 0 }

// spread is the time from a frame's first slice to its last.
func (w workload) spread() time.Duration { return time.Duration(w.slices-1) * sliceGap }

// perSecond is how many frames are due each second.
func (w workload) perSecond() float64 { return float64(time.Second) / float64(w.interval) }
