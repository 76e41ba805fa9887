package moqlite

import "github.com/moqrelay/moqrelay/relay/wire"

// NoMaxAge and everything above it, as the age of a group, is no limit.
const NoMaxAge = 1<<53 - 1

// Track is TRACK: the peer is asked what does not change about a track.
type Track struct {
	Path  []string
	Track string
}

// Append adds the message's bytes to b.
func (m Track) Append(b []byte) []byte {
	start := len(b)
	b = appendPath(b, m.Path)
	b = wire.AppendString(b, m.Track)
	return seal(b, start)
}

// ConsumeTrack takes a TRACK from the front of b.
func ConsumeTrack(b []byte) (Track, int, error) {
	d := open(b)
	return finish(&d, Track{Path: d.path(), Track: d.track()})
}

// TrackInfo is TRACK_INFO, the answer to TRACK.
type TrackInfo struct {
	Priority  uint8
	Ordered   bool   // lite-05
	MaxAge    uint64 // milliseconds for which groups are kept
	Timescale uint64 // units of timestamps per second, never 0
}

// Append adds the message's bytes to b.
func (m TrackInfo) Append(b []byte, v Version) []byte {
	start := len(b)
	b = append(b, m.Priority)
	if v.hasOrdered() {
		b = appendBool(b, m.Ordered)
	}
	b = wire.AppendVarint(b, m.MaxAge)
	b = wire.AppendVarint(b, m.Timescale)
	return seal(b, start)
}

// ConsumeTrackInfo takes a TRACK_INFO from the front of b.
func (v Version) ConsumeTrackInfo(b []byte) (TrackInfo, int, error) {
	d := open(b)
	m := TrackInfo{Priority: d.Byte()}
	if v.hasOrdered() {
		m.Ordered = d.bool("ordered")
	}
	m.MaxAge = d.Varint()
	m.Timescale = d.Varint()
	if m.Timescale == 0 {
		d.Fail("timescale 0")
	}
	return finish(&d, m)
}

// Fetch is FETCH: the peer is asked for the frames of one group.
type Fetch struct {
	Path     []string
	Track    string
	Priority uint8
	Group    uint64
	// FrameStart and FrameEnd are the first and the last frame that is wanted,
	// in lite-06. Without FrameEnd it is all to the end.
	FrameStart uint64
	FrameEnd   *uint64
}

// Append adds the message's bytes to b.
func (m Fetch) Append(b []byte, v Version) []byte {
	start := len(b)
	b = appendPath(b, m.Path)
	b = wire.AppendString(b, m.Track)
	b = append(b, m.Priority)
	b = wire.AppendVarint(b, m.Group)
	if v.HasCosts() {
		b = wire.AppendVarint(b, m.FrameStart)
		b = wire.AppendOptSeq(b, m.FrameEnd)
	}
	return seal(b, start)
}

// ConsumeFetch takes a FETCH from the front of b.
func (v Version) ConsumeFetch(b []byte) (Fetch, int, error) {
	d := open(b)
	m := Fetch{Path: d.path(), Track: d.track(), Priority: d.Byte(), Group: d.Varint()}
	if v.HasCosts() {
		m.FrameStart = d.Varint()
		m.FrameEnd = d.OptSeq()
	}
	return finish(&d, m)
}
