package fmp4

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// movie is the parsed movie header.
type movie struct {
	tracks    []Track
	defaults  map[uint32]sampleDefaults // by track
	timescale uint32                    // of the movie, for edit lists

	fragmented bool // it has an mvex
	indexed    bool // it has samples of its own
}

// sampleDefaults are what samples have that their fragment says nothing of.
type sampleDefaults struct {
	duration, size, flags uint32
}

// parseMovie reads the body of a moov.
func parseMovie(b []byte) (*movie, error) {
	m := &movie{defaults: map[uint32]sampleDefaults{}, timescale: 1000}
	// The timescale stands in mvhd, which the file may have behind its tracks.
	err := eachBox(b, func(kind fourCC, body []byte) error {
		if kind == cc("mvhd") {
			return m.parseHeader(body)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = eachBox(b, func(kind fourCC, body []byte) error {
		switch kind {
		case cc("trak"):
			return m.parseTrack(body)
		case cc("mvex"):
			m.fragmented = true
			return eachBox(body, m.parseExtends)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (m *movie) parseHeader(body []byte) error {
	c := cursor{b: body}
	version, _ := c.full()
	c.sized(version) // creation time
	c.sized(version) // modification time
	m.timescale = c.u32()
	if m.timescale == 0 {
		return errors.New("the movie has no timescale")
	}
	return c.err()
}

func (m *movie) parseExtends(kind fourCC, body []byte) error {
	if kind != cc("trex") {
		return nil
	}
	c := cursor{b: body}
	c.full()
	id := c.u32()
	c.u32() // sample description
	m.defaults[id] = sampleDefaults{duration: c.u32(), size: c.u32(), flags: c.u32()}
	if len(m.defaults) > MaxTracks {
		return fmt.Errorf("more than %d tracks", MaxTracks)
	}
	return c.err()
}

func (m *movie) parseTrack(body []byte) error {
	var t Track
	err := eachBox(body, func(kind fourCC, body []byte) error {
		switch kind {
		case cc("tkhd"):
			c := cursor{b: body}
			version, _ := c.full()
			c.sized(version)
			c.sized(version)
			t.ID = c.u32()
			return c.err()
		case cc("edts"):
			return eachBox(body, func(kind fourCC, body []byte) error {
				if kind == cc("elst") {
					return m.parseEdits(&t, body)
				}
				return nil
			})
		case cc("mdia"):
			return eachBox(body, func(kind fourCC, body []byte) error { return m.parseMedia(&t, kind, body) })
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case t.ID == 0:
		return errors.New("a track has no number")
	case t.Timescale == 0:
		return fmt.Errorf("track %d has no timescale", t.ID)
	case len(t.Entry) == 0:
		return fmt.Errorf("track %d has no sample description", t.ID)
	case len(m.tracks) == MaxTracks:
		return fmt.Errorf("more than %d tracks", MaxTracks)
	}
	for _, other := range m.tracks {
		if other.ID == t.ID {
			return fmt.Errorf("two tracks have the number %d", t.ID)
		}
	}
	m.tracks = append(m.tracks, t)
	return nil
}

// parseEdits reads an edit list: empty edits, then the one that says where the
// presentation begins. Further ones, which cut and repeat, have no meaning for
// a live stream.
func (m *movie) parseEdits(t *Track, body []byte) error {
	const empty = math.MaxUint64
	c := cursor{b: body}
	version, _ := c.full()
	count := c.u32()
	for range count {
		duration, start := c.sized(version), c.sized(version)
		if version == 0 && start == math.MaxUint32 {
			start = empty
		}
		c.u32() // rate
		if c.bad {
			break
		}
		if start != empty {
			t.Start = start
			break
		}
		delay := float64(duration) / float64(m.timescale)
		if delay > 1e6 {
			return errors.New("the track begins too late")
		}
		t.Delay += time.Duration(delay * float64(time.Second))
	}
	if t.Start > math.MaxInt64 {
		return errors.New("wrong start of the presentation")
	}
	return c.err()
}

func (m *movie) parseMedia(t *Track, kind fourCC, body []byte) error {
	c := cursor{b: body}
	switch kind {
	case cc("mdhd"):
		version, _ := c.full()
		c.sized(version)
		c.sized(version)
		t.Timescale = c.u32()
		return c.err()
	case cc("hdlr"):
		c.full()
		c.u32()
		switch fourCC(c.take(4)) {
		case cc("vide"):
			t.Kind = Video
		case cc("soun"):
			t.Kind = Audio
		}
		return c.err()
	case cc("minf"):
		return eachBox(body, func(kind fourCC, body []byte) error {
			if kind != cc("stbl") {
				return nil
			}
			return eachBox(body, func(kind fourCC, body []byte) error { return m.parseTable(t, kind, body) })
		})
	}
	return nil
}

func (m *movie) parseTable(t *Track, kind fourCC, body []byte) error {
	c := cursor{b: body}
	switch kind {
	case cc("stsz"):
		c.full()
		c.u32()
		m.indexed = m.indexed || c.u32() > 0
		return c.err()
	case cc("stsd"):
		c.full()
		if count := c.u32(); count != 1 {
			return fmt.Errorf("the track has %d sample descriptions instead of one", count)
		}
		_, _, rest, err := consumeBox(c.b)
		if err != nil {
			return err
		}
		t.Entry = append([]byte(nil), c.b[:len(c.b)-len(rest)]...)
	}
	return nil
}
