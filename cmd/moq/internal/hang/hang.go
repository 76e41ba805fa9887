// Package hang is how a broadcast of video and audio is laid out over tracks by
// today's clients of moq-lite: the browser elements @moq/watch and @moq/publish
// (@moq/hang 0.3), and moq-cli 0.14. It stands between fmp4 and relay/moq beside
// package karp, of which this layout is the descendant, and does no I/O.
//
// A broadcast's path is its name, with no number behind it: a publisher that
// comes back announces it anew. Its catalog is the track catalog.json, whose
// groups each begin with the whole of it in JSON; what follows in a group are
// merge patches. It names tracks, called renditions: several of one kind are a
// choice. How a rendition's frames are to be read says its container:
//
//	legacy  the presentation time in microseconds as a varint, then the sample:
//	        the frames of karp. An empty sample only says how far the track goes.
//	cmaf    a fragment of MP4, moof and mdat; its movie header is in the catalog
//	loc     properties of draft-ietf-moq-loc, a time among them, then the sample
//
// H.264 without a description, which is called avc3, comes with start codes and
// its parameter sets in band.
//
// What always holds: what is published by [FromMP4] is read back as the tracks and
// samples that it was, as karp has it; a rendition that cannot be put into MP4 is
// left out and the others are played.
package hang

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/karp"
	"github.com/moqrelay/moqrelay/relay/moq"
)

// CatalogTrack is the name of the track that carries the catalog.
const CatalogTrack = karp.CatalogTrack

// Priorities, where greater means more important.
const (
	CatalogPriority = moq.Priority(100)
	audioPriority   = moq.Priority(80)
	videoPriority   = moq.Priority(60)
)

// Timescale is that of the times which frames of the legacy container carry, in
// themselves and, from moq-lite-05 on, beside them.
const Timescale = 1_000_000

// epoch is where the clock of a catalog begins.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Split tells whether a path that is announced belongs to a broadcast as we publish
// them, in this layout or in that of karp, and to which.
func Split(path moq.Path) (broadcast moq.Path, part karp.Part) {
	part = karp.PartOf(path.Last())
	if part == karp.NoPart || path.Len() < 2 {
		return moq.Path{}, karp.NoPart
	}
	return path.Parent(), part
}

// A Sample is one sample of a frame.
type Sample struct {
	Micros uint64 // its presentation time
	Data   []byte
}

// A Container is how the frames of a rendition hold samples.
type Container uint8

// The containers.
const (
	Legacy Container = iota
	CMAF
	LOC
)

// Unpack takes the samples out of a frame. They may be part of it.
func (t Track) Unpack(frame []byte) ([]Sample, error) {
	var samples []Sample
	var err error
	switch t.Container {
	case CMAF:
		return t.unpackFragment(frame)
	case LOC:
		samples, err = unpackLOC(frame)
	case Legacy:
		var s Sample
		s.Micros, s.Data, err = karp.ParseFrame(frame)
		samples = []Sample{s}
	}
	if err != nil || len(samples[0].Data) == 0 {
		return nil, err
	}
	if t.startCodes {
		samples[0].Data = lengthPrefixed(samples[0].Data)
	}
	return samples, nil
}

// unpackFragment reads a fragment of MP4.
func (t Track) unpackFragment(frame []byte) ([]Sample, error) {
	r := fmp4.NewReader(io.MultiReader(bytes.NewReader(t.init), bytes.NewReader(frame)))
	var samples []Sample
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return samples, nil
		}
		if err != nil {
			return nil, err
		}
		show := max(0, int64(s.Time)+int64(s.Offset))
		samples = append(samples, Sample{karp.Micros(uint64(show), t.MP4.Timescale), s.Data})
	}
}

// Properties of the low overhead container (draft-ietf-moq-loc-04, and the
// timestamp of -03).
const (
	locTimescale    = 0x08
	locTimestamp    = 0x10
	locTimestampOld = 0x06
)

var errLOC = errors.New("media frame with broken properties")

// unpackLOC reads a frame of the low overhead container: the length of its
// properties, those, the sample. Their numbers are each the distance from the one
// before; even ones have a number for a value, odd ones bytes.
func unpackLOC(frame []byte) ([]Sample, error) {
	size, rest, err := karp.ParseFrame(frame) // a number and what is behind it
	if err != nil || size > uint64(len(rest)) {
		return nil, errLOC
	}
	properties, data := rest[:size], rest[size:]
	next := func() (v uint64, err error) {
		if v, properties, err = karp.ParseFrame(properties); err != nil {
			return 0, errLOC
		}
		return v, nil
	}
	var id, at uint64
	scale, has := uint64(Timescale), false
	for len(properties) > 0 {
		step, err := next()
		if err != nil || id+step < id {
			return nil, errLOC
		}
		id += step
		value, err := next()
		if err != nil {
			return nil, errLOC
		}
		switch {
		case id%2 == 1:
			if value > uint64(len(properties)) {
				return nil, errLOC
			}
			properties = properties[value:]
		case id == locTimestamp, id == locTimestampOld:
			at, has = value, true
		case id == locTimescale:
			scale = value
		}
	}
	if !has || scale == 0 || scale > 1<<32-1 {
		return nil, fmt.Errorf("%w: no time is among them", errLOC)
	}
	return []Sample{{karp.Micros(at, uint32(scale)), data}}, nil
}
