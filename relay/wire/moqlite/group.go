package moqlite

import "github.com/moqrelay/moqrelay/relay/wire"

// Group is GROUP, the header of a Group stream.
type Group struct {
	ID         uint64 // of the subscription
	Sequence   uint64
	FrameStart uint64 // lite-06: which frame of the group comes first
}

// Append adds the message's bytes to b.
func (m Group) Append(b []byte, v Version) []byte {
	start := len(b)
	b = wire.AppendVarint(b, m.ID)
	b = wire.AppendVarint(b, m.Sequence)
	if v.HasCosts() {
		b = wire.AppendVarint(b, m.FrameStart)
	}
	return seal(b, start)
}

// ConsumeGroup takes a GROUP from the front of b.
func (v Version) ConsumeGroup(b []byte) (Group, int, error) {
	d := open(b)
	m := Group{ID: d.Varint(), Sequence: d.Varint()}
	if v.HasCosts() {
		m.FrameStart = d.Varint()
	}
	return finish(&d, m)
}

// The range of FrameHeader.Delta.
const (
	MinDelta = -1 << 61
	MaxDelta = 1<<61 - 1
)

// FrameHeader is what precedes the payload of a frame. It is no message: no
// length stands before it.
type FrameHeader struct {
	// Delta is the frame's timestamp less that of the frame before it on the
	// stream, or less 0, in units of the track's timescale. From lite-05 on.
	Delta int64
	Size  uint64 // bytes of the payload
}

// Append adds the header's bytes to b.
func (m FrameHeader) Append(b []byte, v Version) []byte {
	if v.HasTimestamps() {
		b = wire.AppendVarint(b, zigzag(min(max(m.Delta, MinDelta), MaxDelta)))
	}
	return wire.AppendVarint(b, m.Size)
}

// ConsumeFrameHeader takes the header of a frame from the front of b.
func (v Version) ConsumeFrameHeader(b []byte) (FrameHeader, int, error) {
	d := wire.NewDecoder(b)
	var m FrameHeader
	if v.HasTimestamps() {
		m.Delta = unzigzag(d.Varint())
	}
	m.Size = d.Varint()
	return wire.Finish(&d, m)
}

// zigzag makes small numbers of both signs small numbers: 0, −1, 1, −2 become
// 0, 1, 2, 3.
func zigzag(s int64) uint64 { return uint64(s)<<1 ^ uint64(s>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// Datagram is a datagram: a group of one frame.
type Datagram struct {
	ID        uint64 // of the subscription
	Sequence  uint64 // of the group
	Timestamp uint64 // in units of the track's timescale
	Payload   []byte
}

// Append adds the datagram's bytes to b.
func (m Datagram) Append(b []byte) []byte {
	b = wire.AppendVarint(b, m.ID)
	b = wire.AppendVarint(b, m.Sequence)
	b = wire.AppendVarint(b, m.Timestamp)
	return append(b, m.Payload...)
}

// ConsumeDatagram takes the whole of b apart. The payload stays part of it. As
// nothing can follow, a datagram that is too short is malformed.
func ConsumeDatagram(b []byte) (Datagram, int, error) {
	d := decoder{Decoder: wire.NewDecoder(b)}
	m := Datagram{ID: d.Varint(), Sequence: d.Varint(), Timestamp: d.Varint()}
	if d.Len() > MaxDatagram {
		d.Fail("payload of %d bytes", d.Len())
	}
	m.Payload = d.Take(d.Len())
	if err := d.end(); err != nil {
		return Datagram{}, 0, err
	}
	return m, len(b), nil
}
