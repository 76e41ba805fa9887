package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/hang"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/playout"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/screen"
	"github.com/moqrelay/moqrelay/relay/moq"
)

const (
	// agedFrames is over how many frames ages are taken.
	agedFrames = 1000
	// stallTime is how much later than expected a frame comes that ends a stall.
	stallTime = 500 * time.Millisecond
	// longestAge is an age that can only come of clocks that disagree.
	longestAge = time.Hour
)

// playStats is what sub knows of how it goes. Its methods are for any goroutine.
type playStats struct {
	rate *rate

	mu        sync.Mutex
	wanted    time.Time     // since when the broadcast could be had
	setup     time.Duration // of the connection
	join      time.Duration // until the first frame; 0: not yet
	first     time.Time     // when that was
	broadcast moq.Path      // that is played
	start     time.Time     // when timestamp 0 was, by the publisher's clock; zero: unknown
	newest    uint64        // the greatest group of the main track
	began     bool          // newest is known
	live      bool          // a group has begun while playing, so that frames come as they are made
	ages      []time.Duration
	next      int           // place in ages that is overwritten next
	base      time.Duration // the least age seen: what the others are measured by without a clock
	previous  playout.Frame // of the main track
	stalls    int
	frames    int
	bytes     int
	groups    int    // of the main track of this broadcast
	missing   int    // groups of all its tracks
	before    [2]int // groups and missing of broadcasts that are over
	failure   error  // why a track broke off
}

func newPlayStats(setup time.Duration) *playStats {
	return &playStats{rate: newRate(time.Now()), setup: setup}
}

// begin notes that a broadcast is about to be played.
func (s *playStats) begin(broadcast moq.Path, c hang.Catalog, found time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted.IsZero() {
		s.wanted = found
	}
	s.broadcast, s.start = broadcast, c.Start
	s.began, s.live, s.ages, s.previous, s.failure = false, false, nil, playout.Frame{}, nil
}

// joined notes the first frame of all.
func (s *playStats) joined(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = now
	s.join = now.Sub(s.wanted) + s.setup
}

func (s *playStats) brokeOff(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

// whyBrokeOff is why a track of the broadcast broke off, nil if none has.
func (s *playStats) whyBrokeOff() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// wrote notes a frame that was written.
func (s *playStats) wrote(f playout.Frame, b *playout.Buffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames++
	s.bytes += len(f.Data)
	s.groups, s.missing = b.Stats(0).Groups, b.Missing()
	if f.Track != 0 {
		return
	}
	// What was there already when we joined is as old as the group is.
	if s.began && f.Group > s.newest {
		s.live = true
	}
	if !s.began || f.Group > s.newest {
		s.began, s.newest = true, f.Group
	}
	if !s.live {
		return
	}
	s.ageLocked(f)
	if p := s.previous; !p.Arrived.IsZero() && f.Micros > p.Micros {
		media := time.Duration(f.Micros-p.Micros) * time.Microsecond
		if f.Arrived.Sub(p.Arrived)-media > stallTime {
			s.stalls++
		}
	}
	s.previous = f
}

func (s *playStats) ageLocked(f playout.Frame) {
	age := f.Arrived.Sub(s.start) - time.Duration(f.Micros)*time.Microsecond
	if s.start.IsZero() {
		age = time.Duration(f.Arrived.UnixMicro()-int64(f.Micros)) * time.Microsecond
	}
	if len(s.ages) < agedFrames {
		s.ages = append(s.ages, age)
	} else {
		s.ages[s.next] = age
	}
	s.next = (s.next + 1) % agedFrames
	if len(s.ages) == 1 || age < s.base {
		s.base = age
	}
}

// finish adds the counters of a broadcast that is over.
func (s *playStats) finish(b *playout.Buffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before[0] += b.Stats(0).Groups
	s.before[1] += b.Missing()
	s.groups, s.missing = 0, 0
}

// playing is what sub --json shows. Fields are only ever added.
type playing struct {
	Event         string   `json:"event"` // joined, progress or ended
	Name          string   `json:"name"`
	Broadcast     string   `json:"broadcast"`
	Relay         string   `json:"relay"`
	Protocol      string   `json:"protocol"`
	Seconds       float64  `json:"seconds"`
	JoinMillis    float64  `json:"joinMillis"` // connecting and waiting for the first frame
	BitsPerSecond float64  `json:"bitsPerSecond"`
	Frames        int      `json:"frames"`
	Bytes         int      `json:"bytes"`
	Groups        int      `json:"groups"` // of the first track
	Lost          int      `json:"lost"`   // groups of all tracks, whole or in part
	AgeP50Millis  *float64 `json:"ageP50Millis"`
	AgeP99Millis  *float64 `json:"ageP99Millis"`
	JitterP50     *float64 `json:"jitterP50Millis"`
	JitterP99     *float64 `json:"jitterP99Millis"`
	Stalls        int      `json:"stalls"`
}

// snapshot returns the figures. Ages are there if the publisher told its clock
// and that agrees with ours, jitter, the age beyond the least one, always.
func (s *playStats) snapshot(event string, now time.Time) playing {
	s.mu.Lock()
	defer s.mu.Unlock()
	bits, _ := s.rate.per(now, int64(s.bytes), 0)
	p := playing{
		Event: event, Broadcast: s.broadcast.String(), JoinMillis: float64(s.join) / float64(time.Millisecond), BitsPerSecond: 8 * bits,
		Frames: s.frames, Bytes: s.bytes,
		Groups: s.before[0] + s.groups, Lost: s.before[1] + s.missing, Stalls: s.stalls,
	}
	if !s.first.IsZero() {
		p.Seconds = now.Sub(s.first).Seconds()
	}
	if len(s.ages) == 0 {
		return p
	}
	sorted := slices.Clone(s.ages)
	slices.Sort(sorted)
	millis := func(d time.Duration) *float64 {
		v := float64(d) / float64(time.Millisecond)
		return &v
	}
	p50, p99 := sorted[len(sorted)/2], sorted[len(sorted)*99/100]
	p.JitterP50, p.JitterP99 = millis(p50-s.base), millis(p99-s.base)
	if !s.start.IsZero() && s.base > -time.Millisecond && p99 < longestAge {
		p.AgeP50Millis, p.AgeP99Millis = millis(p50), millis(p99)
	}
	return p
}

// status is the line that shows how it goes.
func (s *playStats) status(show *screen.Screen, now time.Time) string {
	p := s.snapshot("", now)
	if p.Frames == 0 {
		return ""
	}
	ms := func(v float64) string { return screen.Millis(time.Duration(v * float64(time.Millisecond))) }
	parts := []string{
		show.Good("play") + " " + screen.Elapsed(time.Duration(p.Seconds*float64(time.Second))),
		screen.Rate(p.BitsPerSecond),
		fmt.Sprintf("%s, %d lost", screen.Count(p.Groups, "group"), p.Lost),
	}
	switch {
	case p.AgeP50Millis != nil:
		parts = append(parts, fmt.Sprintf("age p50 %s p99 %s", ms(*p.AgeP50Millis), ms(*p.AgeP99Millis)))
	case p.JitterP50 != nil:
		parts = append(parts, fmt.Sprintf("jitter p50 %s p99 %s", ms(*p.JitterP50), ms(*p.JitterP99)))
	}
	parts = append(parts, fmt.Sprintf("stalls %d", p.Stalls))
	return strings.Join(parts, "   ")
}

// counted is the part of the status that holds while nothing comes.
func (s *playStats) counted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frames == 0 {
		return ""
	}
	return fmt.Sprintf("   %s, %d lost", screen.Count(s.before[0]+s.groups, "group"), s.before[1]+s.missing)
}

func (s *playStats) hasJoined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frames > 0
}
