// Package karp is how a broadcast of video and audio is laid out over tracks, as
// moq-karp 0.7.1 does it: a catalog in JSON that names the media tracks, and
// media frames that are a timestamp and a raw sample. It stands between fmp4
// and relay/moq and does no I/O.
//
// A broadcast's path is its name and one part more, the UNIX time of its start:
// a publisher that comes back has a greater one. A video track has a group from
// keyframe to keyframe. An audio track has a group per frame, so that a
// subscriber can start at any of them and the loss of one is the loss of 20 ms.
//
// What always holds: what a Catalog and its frames say suffices to rebuild
// tracks and samples of fMP4 with their payloads and presentation times as they
// were, exactly for timescales up to 500 kHz.
package karp

import (
	"errors"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/quic-go/quic-go/quicvarint"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// CatalogTrack is the name of the track that carries the catalog.
const CatalogTrack = "catalog.json"

// Priorities of the reference, where smaller means more important.
const (
	catalogPriority = -1
	audioPriority   = 1
	videoPriority   = 2
)

// CatalogPriority is the priority of the catalog's track.
const CatalogPriority = moq.Priority(127 - catalogPriority)

// Broadcast returns the path of a broadcast of that name which starts at t.
func Broadcast(name moq.Path, t time.Time) moq.Path {
	return name.Append(strconv.FormatInt(t.Unix(), 10))
}

// ID returns the last part of a broadcast's path as a number; false if it is none.
func ID(broadcast moq.Path) (uint64, bool) {
	if broadcast.Len() == 0 {
		return 0, false
	}
	id, err := strconv.ParseUint(broadcast.Last(), 10, 64)
	return id, err == nil
}

// A Part is what one announced path is to its broadcast.
type Part uint8

// The parts of a broadcast.
const (
	NoPart      Part = iota // not of a broadcast of this layout
	CatalogPart             // its catalog
	MediaPart               // a video or audio track
)

// Split tells whether path belongs to a broadcast, and to which.
func Split(path moq.Path) (broadcast moq.Path, part Part) {
	if path.Len() < 2 {
		return moq.Path{}, NoPart
	}
	broadcast = path.Parent()
	if _, ok := ID(broadcast); !ok {
		return moq.Path{}, NoPart
	}
	if part = PartOf(path.Last()); part == NoPart {
		return moq.Path{}, NoPart
	}
	return broadcast, part
}

// PartOf tells what a track of that name is to a broadcast.
func PartOf(track string) Part {
	if track == CatalogTrack {
		return CatalogPart
	}
	for _, prefix := range []string{"video", "audio"} {
		if _, ok := trackNumber(track, prefix); ok {
			return MediaPart
		}
	}
	return NoPart
}

// trackNumber returns N of a track name prefix<N>.
func trackNumber(name, prefix string) (uint32, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n > 0
}

var errShortFrame = errors.New("media frame without a timestamp")

// maxMicros is the largest timestamp that a frame can carry, in microseconds.
const maxMicros = 1<<62 - 1

// AppendFrame appends a media frame: the presentation time in microseconds, then
// the sample.
func AppendFrame(b []byte, micros uint64, sample []byte) []byte {
	b = quicvarint.Append(b, min(micros, maxMicros))
	return append(b, sample...)
}

// ParseFrame is the inverse of AppendFrame. The sample is part of frame.
func ParseFrame(frame []byte) (micros uint64, sample []byte, err error) {
	micros, n, err := quicvarint.Parse(frame)
	if err != nil {
		return 0, nil, errShortFrame
	}
	return micros, frame[n:], nil
}

// Micros converts ticks to microseconds, rounding down as the reference does.
func Micros(ticks uint64, timescale uint32) uint64 {
	return scale(ticks, 1e6, uint64(timescale), 0)
}

// Ticks converts microseconds to the nearest tick. It undoes Micros for
// timescales up to 500 kHz.
func Ticks(micros uint64, timescale uint32) uint64 {
	return scale(micros, uint64(timescale), 1e6, 5e5)
}

// scale returns (v*mul + add) / div, or the largest number where that does not fit.
func scale(v, mul, div, add uint64) uint64 {
	hi, lo := bits.Mul64(v, mul)
	lo, carry := bits.Add64(lo, add, 0)
	hi += carry
	if hi >= div {
		return 1<<64 - 1
	}
	q, _ := bits.Div64(hi, lo, div)
	return q
}
