package fmp4

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Flags of tfhd and trun (ISO/IEC 14496-12, sections 8.8.7 and 8.8.8).
const (
	headerBaseOffset  = 0x000001
	headerDescription = 0x000002
	headerDuration    = 0x000008
	headerSize        = 0x000010
	headerFlags       = 0x000020
	headerBaseIsMoof  = 0x020000

	runDataOffset = 0x001
	runFirstFlags = 0x004
	runDuration   = 0x100
	runSize       = 0x200
	runFlags      = 0x400
	runOffset     = 0x800

	// sampleNotSync is sample_is_non_sync_sample of the sample flags.
	sampleNotSync = 0x00010000
)

// An extent is where in the input a sample lies.
type extent struct {
	sample Sample // without Data
	pos    int64  // from the start of the input
	size   uint32
}

// A fragmentParser turns the body of a moof into extents.
type fragmentParser struct {
	movie *movie
	next  map[uint32]uint64 // the decode time at which each track goes on

	extents []extent
	moof    int64 // where the moof begins
	dataEnd int64 // where the data of the last run ends
}

// parse reads a moof that begins at pos. The extents are in the order of their data.
func (p *fragmentParser) parse(pos int64, body []byte) ([]extent, error) {
	p.extents, p.moof, p.dataEnd = nil, pos, pos
	err := eachBox(body, func(kind fourCC, body []byte) error {
		if kind == cc("traf") {
			return p.parseTrack(body)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.extents, func(a, b extent) int { return cmp.Compare(a.pos, b.pos) })
	return p.extents, nil
}

// trackFragment is the header of one traf.
type trackFragment struct {
	id       uint32
	base     int64 // what data offsets count from
	defaults sampleDefaults
	time     uint64 // decode time of the next sample
	timed    bool   // a tfdt gave it
}

func (p *fragmentParser) parseTrack(body []byte) error {
	var t trackFragment
	// tfhd and tfdt hold for all runs, wherever they stand.
	err := eachBox(body, func(kind fourCC, body []byte) error {
		switch kind {
		case cc("tfhd"):
			return p.parseHeader(&t, body)
		case cc("tfdt"):
			c := cursor{b: body}
			version, _ := c.full()
			t.time, t.timed = c.sized(version), true
			if t.time > math.MaxInt64 {
				return errors.New("wrong decode time")
			}
			return c.err()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if t.id == 0 {
		return errors.New("a track fragment has no header")
	}
	if !t.timed {
		t.time = p.next[t.id]
	}
	p.dataEnd = t.base
	err = eachBox(body, func(kind fourCC, body []byte) error {
		if kind == cc("trun") {
			return p.parseRun(&t, body)
		}
		return nil
	})
	p.next[t.id] = t.time
	return err
}

func (p *fragmentParser) parseHeader(t *trackFragment, body []byte) error {
	c := cursor{b: body}
	_, flags := c.full()
	t.id = c.u32()
	known := slices.ContainsFunc(p.movie.tracks, func(known Track) bool { return known.ID == t.id })
	if !known {
		return fmt.Errorf("the fragment has a track %d, the movie header has not", t.id)
	}
	t.defaults = p.movie.defaults[t.id]
	t.base = p.dataEnd // without an offset a track's data follows the last one's
	if flags&headerBaseIsMoof != 0 {
		t.base = p.moof
	}
	if flags&headerBaseOffset != 0 {
		t.base = int64(c.u64() & math.MaxInt64)
	}
	if flags&headerDescription != 0 {
		if d := c.u32(); d != 1 {
			return fmt.Errorf("track %d changes to sample description %d", t.id, d)
		}
	}
	if flags&headerDuration != 0 {
		t.defaults.duration = c.u32()
	}
	if flags&headerSize != 0 {
		t.defaults.size = c.u32()
	}
	if flags&headerFlags != 0 {
		t.defaults.flags = c.u32()
	}
	return c.err()
}

func (p *fragmentParser) parseRun(t *trackFragment, body []byte) error {
	c := cursor{b: body}
	_, flags := c.full()
	count := c.u32()
	if int64(count) > int64(MaxSamples-len(p.extents)) {
		return fmt.Errorf("a fragment has more than %d samples", MaxSamples)
	}
	pos := p.dataEnd
	if flags&runDataOffset != 0 {
		pos = t.base + int64(int32(c.u32()))
	}
	first := t.defaults.flags
	if flags&runFirstFlags != 0 {
		first = c.u32()
	}
	for i := range count {
		s := t.defaults
		if i == 0 {
			s.flags = first
		}
		offset := int32(0)
		if flags&runDuration != 0 {
			s.duration = c.u32()
		}
		if flags&runSize != 0 {
			s.size = c.u32()
		}
		if flags&runFlags != 0 {
			s.flags = c.u32()
		}
		if flags&runOffset != 0 {
			// Unsigned in version 0; nobody has offsets that large, and some write
			// negative ones there.
			offset = int32(c.u32())
		}
		if c.bad {
			return errShortBox
		}
		if s.size > MaxSample {
			return fmt.Errorf("a sample has %d bytes, %d are allowed", s.size, MaxSample)
		}
		p.extents = append(p.extents, extent{pos: pos, size: s.size, sample: Sample{
			Track: t.id, Time: t.time, Offset: offset, Duration: s.duration, Sync: s.flags&sampleNotSync == 0,
		}})
		pos += int64(s.size)
		t.time += uint64(s.duration)
	}
	p.dataEnd = pos
	return nil
}
