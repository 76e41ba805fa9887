package moq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestModel lets random writers, readers and memory shortage work on each other
// and holds the promises of the package against what happened:
//
//   - a subscription is given or told each group of its range, once;
//   - a group that a reader saw to its end is what its writer wrote and finished;
//   - the track and the budget are consistent at every moment, and in the end
//     nothing is held.
func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newModel(t, seed).run() })
		})
	}
}

type model struct {
	t      *testing.T
	rand   *rand.Rand // for the set-up; each goroutine has its own
	budget *Budget
	tracks []*modelTrack
}

type modelTrack struct {
	*model
	*Track
	failed error // what it will end with; nil: cleanly

	mu       sync.Mutex
	created  []uint64
	finished map[uint64]int // frames of groups that were finished
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rand: rand.New(rand.NewPCG(seed, 1))}
	m.budget = NewBudget(int64(100_000 + m.rand.IntN(1_000_000)))
	for i := range 3 {
		mt := &modelTrack{model: m, finished: make(map[uint64]int)}
		mt.Track = NewTrack(TrackConfig{
			Path:      NewPath("model", fmt.Sprint(i)),
			Budget:    m.budget,
			Retention: time.Duration(m.rand.IntN(3)) * 200 * time.Millisecond,
			Limits: Limits{
				MaxGroups:    4 + m.rand.IntN(12),
				QueuedGroups: 2 + m.rand.IntN(8),
				QueuedBytes:  int64(20_000 + m.rand.IntN(100_000)),
			},
		})
		if m.rand.IntN(4) == 0 {
			mt.failed = ErrGoingAway
		}
		m.tracks = append(m.tracks, mt)
	}
	return m
}

func (m *model) run() {
	var all sync.WaitGroup
	for _, track := range m.tracks {
		for range 1 + m.rand.IntN(6) {
			r := rand.New(rand.NewPCG(m.rand.Uint64(), 2))
			all.Go(func() { track.subscriber(r) })
		}
		r := rand.New(rand.NewPCG(m.rand.Uint64(), 3))
		all.Go(func() { track.publish(r) })
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(7 * time.Millisecond):
		}
		for _, track := range m.tracks {
			check(m.t, track.Track)
		}
	}
	time.Sleep(time.Hour) // for the retention
	synctest.Wait()
	if used := m.budget.Used(); used != 0 {
		m.t.Errorf("%d bytes are held in the end", used)
	}
}

// publish writes groups, several at a time, out of order and not always well.
func (m *modelTrack) publish(r *rand.Rand) {
	var writers sync.WaitGroup
	for next := uint64(0); next < 60; {
		seqs := []uint64{next, next + 1, next + 2 + r.Uint64N(3)}[:1+r.IntN(3)]
		next = seqs[len(seqs)-1] + 1
		r.Shuffle(len(seqs), func(i, j int) { seqs[i], seqs[j] = seqs[j], seqs[i] })
		if r.IntN(10) == 0 {
			m.Drop(next, next+r.Uint64N(3), UpstreamReset)
		}
		for _, seq := range seqs {
			g, err := m.CreateGroup(seq)
			if err != nil {
				continue // dropped, or late beyond the window
			}
			m.mu.Lock()
			m.created = append(m.created, seq)
			m.mu.Unlock()
			own := rand.New(rand.NewPCG(r.Uint64(), 4))
			writers.Go(func() { m.write(g, own) })
		}
		time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
	}
	if m.failed != nil {
		m.End(m.failed)
	} else {
		m.End(ErrEnded)
	}
	writers.Wait()
}

func (m *modelTrack) write(g *GroupWriter, r *rand.Rand) {
	frames := r.IntN(8)
	ending := r.IntN(10)
	for i := range frames {
		payload := frameOf(g.Sequence(), i)
		var err error
		if r.IntN(2) == 0 {
			err = g.WriteFrame(payload)
		} else {
			var f *FrameWriter
			if f, err = g.NewFrame(uint64(len(payload))); err == nil {
				if ending == 0 {
					payload = payload[:len(payload)/2]
				}
				_, err = f.ReadFrom(&slowly{payload, 1200, time.Duration(r.IntN(3)) * time.Millisecond})
			}
		}
		if err != nil {
			g.Abort(err)
			return
		}
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	}
	if ending == 1 {
		g.Abort(nil)
	} else if g.Finish() == nil {
		m.mu.Lock()
		m.finished[g.Sequence()] = frames
		m.mu.Unlock()
	}
}

// frameOf returns the payload that a frame of the model must have.
func frameOf(seq uint64, frame int) []byte {
	b := noise(seq, int(seq*7919+uint64(frame)*104729)%20_000)
	return append(b, byte(frame))
}

// outcome is what became of one group for one subscription.
type outcome struct {
	given, told int
	dropped     bool // its reader returned a DropError
}

func (m *modelTrack) subscriber(r *rand.Rand) {
	time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
	o := SubscribeOptions{Order: Order(r.IntN(2)), MaxAge: time.Duration(r.IntN(3)) * 50 * time.Millisecond}
	if r.IntN(2) == 0 {
		o.Start = new(r.Uint64N(40))
	}
	s, err := m.Subscribe(o)
	if err != nil {
		return
	}
	start := *s.Options().Start
	m.mu.Lock()
	before := len(m.created)
	m.mu.Unlock()

	outcomes := make(map[uint64]outcome)
	var mu sync.Mutex
	var readers sync.WaitGroup
	pace := time.Duration(r.IntN(20)) * time.Millisecond
	for {
		g, err := s.Next(context.Background())
		if err != nil {
			if want := cmpErr(m.failed); !errors.Is(err, want) {
				m.t.Errorf("a subscription ended with %v, want %v", err, want)
			}
			break
		}
		if r.IntN(20) == 0 {
			s.SkipToNewest(StreamCredit)
		}
		readers.Go(func() {
			dropped := m.read(g, pace)
			mu.Lock()
			defer mu.Unlock()
			out := outcomes[g.Sequence()]
			out.given++
			out.dropped = dropped
			outcomes[g.Sequence()] = out
		})
	}
	readers.Wait()
	for _, d := range s.Dropped() {
		for seq := d.First; seq <= d.Last; seq++ {
			out := outcomes[seq]
			out.told++
			outcomes[seq] = out
		}
	}
	s.Close()
	m.judge(outcomes, start, before)
}

func cmpErr(failed error) error {
	if failed == nil {
		return ErrEnded
	}
	return failed
}

// judge holds what a subscription saw against what was written. The first
// groups of created may have been in or out of the cache when it began.
func (m *modelTrack) judge(outcomes map[uint64]outcome, start uint64, before int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, seq := range slices.Sorted(maps.Keys(outcomes)) {
		switch out := outcomes[seq]; {
		case seq < start:
			m.t.Errorf("group %d is below the start %d", seq, start)
		case out.given > 1 || out.told > 1:
			m.t.Errorf("group %d was given %d times and told %d times", seq, out.given, out.told)
		case out.given == 1 && out.dropped != (out.told == 1):
			m.t.Errorf("group %d was given, then dropped: %v, told: %d", seq, out.dropped, out.told)
		}
	}
	if m.failed != nil {
		return // the rest was cut off
	}
	for _, seq := range m.created[min(before, len(m.created)):] {
		if out := outcomes[seq]; seq >= start && out.given+out.told == 0 {
			m.t.Errorf("group %d was neither given nor told", seq)
		}
	}
}

// read reads a group at a pace and tells whether it was dropped.
func (m *modelTrack) read(g *GroupReader, pace time.Duration) (dropped bool) {
	defer g.Close()
	for frame := 0; ; frame++ {
		got, err := g.NextFrame(context.Background())
		switch _, isDrop := errors.AsType[*DropError](err); {
		case isDrop:
			return true
		case err == io.EOF:
			time.Sleep(time.Nanosecond) // let the writer note that it finished
			m.mu.Lock()
			want, ok := m.finished[g.Sequence()]
			m.mu.Unlock()
			if !ok || want != frame {
				m.t.Errorf("group %d ended after %d frames, was finished: %v, with %d", g.Sequence(), frame, ok, want)
			}
		case err != nil:
		case !bytes.Equal(got, frameOf(g.Sequence(), frame)):
			m.t.Errorf("frame %d of group %d is not what was written", frame, g.Sequence())
		}
		if err != nil {
			g.Close()
			return g.dropped.Load() // perhaps after its last byte
		}
		time.Sleep(pace)
	}
}
