// Package reel plays an MP4 as a publisher needs it: its samples in the order
// of time, once or round and round with times that go on rising. It stands
// between fmp4 and the pub command; it never waits, but says when a sample is
// due.
package reel

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
)

// Bounds on what is read ahead to put samples in order.
const (
	maxAheadBytes = 16 << 20
	maxAheadTime  = 3 * time.Second
)

// Config says how a Reel plays.
type Config struct {
	// Open opens the MP4, for every round anew.
	Open func() (io.ReadCloser, error)
	// Loop starts over at the end.
	Loop bool
	// Sort puts the samples in the order of their decode times, which needs to read
	// ahead. Otherwise they come as they stand in the file.
	Sort bool
}

// A Sample is a sample of the reel. Its times count on over all rounds.
type Sample struct {
	fmp4.Sample
	// At is its decode time since that of the first sample of the reel.
	At time.Duration
}

// Reel reads one MP4. It is for one goroutine.
type Reel struct {
	config Config
	tracks []fmp4.Track

	in      io.ReadCloser
	reader  *fmp4.Reader
	ended   bool // this round's input is read
	queues  []queue
	bytes   int // in all queues
	started bool
	start   time.Duration // decode time of the first sample
	first   time.Duration // the least decode time
	end     time.Duration // the last end of a sample
	round   time.Duration // length of a round, once one is over
	rounds  uint64        // that are over
}

// queue are the samples of one track that were read ahead.
type queue []Sample

// Open reads the movie header.
func Open(c Config) (*Reel, error) {
	r := &Reel{config: c}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// Tracks are the tracks of the MP4.
func (r *Reel) Tracks() []fmp4.Track { return r.tracks }

// Close closes the input.
func (r *Reel) Close() error { return r.in.Close() }

func (r *Reel) open() error {
	in, err := r.config.Open()
	if err != nil {
		return err
	}
	r.in, r.reader, r.ended = in, fmp4.NewReader(in), false
	tracks, err := r.reader.Tracks()
	if err != nil {
		return errors.Join(err, in.Close())
	}
	if r.tracks != nil && len(tracks) != len(r.tracks) {
		return errors.Join(errors.New("the file has changed"), in.Close())
	}
	r.tracks = tracks
	r.queues = make([]queue, len(tracks))
	return nil
}

// Next returns the next sample. The error is io.EOF at the end of the reel.
func (r *Reel) Next() (Sample, error) {
	for {
		if s, ok := r.take(); ok {
			return s, nil
		}
		if r.ended {
			if err := r.rewind(); err != nil {
				return Sample{}, err
			}
			continue
		}
		if err := r.read(); err != nil {
			return Sample{}, err
		}
	}
}

// take returns the queued sample whose turn it is, if that is certain.
func (r *Reel) take() (Sample, bool) {
	first := -1
	var last time.Duration
	certain := true
	for i, q := range r.queues {
		if len(q) == 0 {
			certain = false
			continue
		}
		if first < 0 || q[0].At < r.queues[first][0].At {
			first = i
		}
		last = max(last, q[len(q)-1].At)
	}
	if first < 0 {
		return Sample{}, false
	}
	s := r.queues[first][0]
	isFar := r.bytes > maxAheadBytes || last-s.At > maxAheadTime
	if !certain && !r.ended && !isFar && r.config.Sort {
		return Sample{}, false
	}
	r.queues[first] = r.queues[first][1:]
	r.bytes -= len(s.Data)
	return s, true
}

// read queues the next sample of the input.
func (r *Reel) read() error {
	s, err := r.reader.Next()
	if errors.Is(err, io.EOF) {
		r.ended = true
		return nil
	}
	if err != nil {
		return err
	}
	for i, t := range r.tracks {
		if t.ID != s.Track {
			continue
		}
		at := seconds(s.Time, t.Timescale)
		if !r.started {
			r.start, r.first, r.started = at, at, true
		}
		r.first = min(r.first, at)
		r.end = max(r.end, seconds(s.Time+uint64(s.Duration), t.Timescale))
		passed := time.Duration(r.rounds) * r.round
		s.Time += ticks(passed, t.Timescale)
		r.queues[i] = append(r.queues[i], Sample{Sample: s, At: at - r.start + passed})
		r.bytes += len(s.Data)
	}
	return nil
}

// rewind begins the next round.
func (r *Reel) rewind() error {
	if !r.config.Loop || !r.started {
		return io.EOF
	}
	r.round = r.end - r.first
	if r.round <= 0 {
		return fmt.Errorf("the samples have no duration, which a loop needs")
	}
	r.rounds++
	if err := r.in.Close(); err != nil {
		return err
	}
	return r.open()
}

// seconds converts ticks to time.
func seconds(ticks uint64, timescale uint32) time.Duration {
	return time.Duration(mulDiv(ticks, uint64(time.Second), uint64(timescale)))
}

// ticks converts time to the nearest tick.
func ticks(d time.Duration, timescale uint32) uint64 {
	return mulDiv(uint64(d)+uint64(time.Second)/uint64(timescale)/2, uint64(timescale), uint64(time.Second))
}

// mulDiv returns a*b/c, or a century where that does not fit.
func mulDiv(a, b, c uint64) uint64 {
	const century = uint64(100 * 365 * 24 * time.Hour)
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return century
	}
	q, _ := bits.Div64(hi, lo, c)
	return min(q, century)
}
