// Package fmp4 reads and writes fragmented MP4 (ISO/IEC 14496-12), as far as
// live media needs it: one movie header, then fragments of samples. It stands
// at the bottom of the moq command and knows nothing of its network.
//
// What always holds: a Reader works on a pipe, never holds more than one
// fragment's index and one sample, and answers broken input with an error that
// says what to do; what a Writer wrote, a Reader reads back as it was, and
// sample entries pass through untouched.
package fmp4

import (
	"errors"
	"time"
)

// ErrNotMP4 means that the input does not begin as an MP4 does.
var ErrNotMP4 = errors.New("not an MP4")

// ErrNotFragmented means that the input is an MP4 whose samples are indexed by
// its movie header, so that it cannot be read as it comes.
var ErrNotFragmented = errors.New("not a fragmented MP4")

// ErrTruncated means that the input ends in the middle of a fragment.
var ErrTruncated = errors.New("ends in the middle of a fragment")

// Bounds on what is held of the input.
const (
	// MaxHeader is the largest moov and the largest moof that are read, in bytes.
	MaxHeader = 4 << 20
	// MaxSample is the largest sample, in bytes.
	MaxSample = 32 << 20
	// MaxSamples is how many samples a fragment may have.
	MaxSamples = 100_000
	// MaxTracks is how many tracks a movie may have.
	MaxTracks = 64
)

// Kind says what a track carries.
type Kind uint8

// The kinds of track.
const (
	Other Kind = iota // neither of the two
	Video
	Audio
)

// Track is what the movie header says of one track.
type Track struct {
	// ID is the track's number in the file, not 0.
	ID uint32
	// Kind says what it carries.
	Kind Kind
	// Timescale is the number of ticks in a second.
	Timescale uint32
	// Entry is the sample entry, a whole box such as avc1 or mp4a, as it was read.
	Entry []byte
	// Start is the decode time, in ticks, at which the presentation begins; what lies
	// before it primes the decoder (edit list). Delay is how much later than the
	// other tracks it begins.
	Start uint64
	Delay time.Duration
}

// Sample is one coded picture or one frame of sound.
type Sample struct {
	// Track is the track's ID.
	Track uint32
	// Time is the decode time in ticks of the track. It is shown Offset later.
	Time   uint64
	Offset int32
	// Duration is in ticks.
	Duration uint32
	// Sync says that decoding can start here.
	Sync bool
	// Data is the payload.
	Data []byte
}
