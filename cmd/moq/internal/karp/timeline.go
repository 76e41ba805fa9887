package karp

import (
	"container/heap"
	"math"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
)

// A Timeline gives the samples of one track their places in an MP4, from
// presentation times alone and without waiting for later frames. Decode times
// always rise. With B-frames, which come in the order of decoding, a decode time
// is the smallest presentation time not used yet, a fixed number of frames ago:
// as encoders choose them. The first ones lie before the first presentation
// time, or close together at 0 where there is no room.
type Timeline struct {
	// Static after construction.
	timescale uint32
	reorder   int
	frame     uint64 // guess of a frame's duration

	frames  int
	origin  uint64 // the first presentation time
	waiting times  // presentation times that are to become decode times
	last    uint64 // the last decode time
	step    uint64 // from the decode time before it
}

// The guesses are needed for the first frame only.
const (
	frameRate      = 30
	framesOfAAC    = 1024 // samples
	maxSampleTicks = math.MaxUint32
)

// NewTimeline returns the timeline of a track.
func NewTimeline(t Track) *Timeline {
	l := &Timeline{timescale: t.MP4.Timescale, reorder: t.Format.Reorder}
	l.frame = max(1, uint64(l.timescale)/frameRate)
	if t.MP4.Kind == fmp4.Audio {
		l.frame = max(1, Ticks(Micros(framesOfAAC, uint32(max(1, t.Format.SampleRate))), l.timescale))
	}
	l.step = l.frame
	return l
}

// Place returns decode time, composition offset and duration of the next frame.
// The duration is that of the frame before: the decode time of the next one is
// what counts, and is not known yet.
func (l *Timeline) Place(micros uint64) (decode uint64, offset int32, duration uint32) {
	show := min(Ticks(micros, l.timescale), math.MaxInt64)
	decode = show
	if l.reorder > 0 {
		decode = l.reordered(show)
	}
	if l.frames > 0 {
		decode = max(decode, l.last+1)
		l.step = min(decode-l.last, maxSampleTicks)
	}
	l.frames++
	l.last = decode
	if show > decode { // else a broken publisher: shown as it is decoded
		offset = int32(min(show-decode, math.MaxInt32))
	}
	return decode, offset, uint32(l.step)
}

func (l *Timeline) reordered(show uint64) uint64 {
	heap.Push(&l.waiting, show)
	if len(l.waiting) > l.reorder {
		return heap.Pop(&l.waiting).(uint64)
	}
	if l.frames == 0 {
		l.origin = show
	}
	return l.origin - min(l.origin, uint64(l.reorder-l.frames)*l.frame)
}

// times is a heap with the smallest time first.
type times []uint64

func (t times) Len() int           { return len(t) }
func (t times) Less(i, j int) bool { return t[i] < t[j] }
func (t times) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *times) Push(v any)        { *t = append(*t, v.(uint64)) }
func (t *times) Pop() any {
	old := *t
	v := old[len(old)-1]
	*t = old[:len(old)-1]
	return v
}
