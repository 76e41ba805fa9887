package transfork

import "github.com/moqrelay/moqrelay/relay/wire"

// Group is GROUP, the header of a Group stream.
type Group struct {
	ID       SubscribeID
	Sequence uint64
}

// Append adds the message's bytes to b.
func (m Group) Append(b []byte) []byte {
	b = wire.AppendVarint(b, uint64(m.ID))
	return wire.AppendVarint(b, m.Sequence)
}

// ConsumeGroup takes a GROUP from the front of b.
func ConsumeGroup(b []byte) (Group, int, error) {
	d := decode(b)
	return finish(&d, Group{ID: SubscribeID(d.Varint()), Sequence: d.Varint()})
}

// FrameHeader is what precedes the payload of a FRAME.
type FrameHeader struct {
	Size uint64 // bytes of the payload
}

// Append adds the header's bytes to b.
func (m FrameHeader) Append(b []byte) []byte { return wire.AppendVarint(b, m.Size) }

// ConsumeFrameHeader takes the header of a FRAME from the front of b.
func ConsumeFrameHeader(b []byte) (FrameHeader, int, error) {
	d := decode(b)
	return finish(&d, FrameHeader{Size: d.Varint()})
}

// Fetch is FETCH: the peer is asked for one group, from a byte of its Group
// stream on that is counted after the GROUP message.
type Fetch struct {
	Path     []string
	Priority int8
	Group    uint64
	Offset   uint64
}

// Append adds the message's bytes to b.
func (m Fetch) Append(b []byte) []byte {
	b = appendPath(b, m.Path)
	b = appendPrio(b, m.Priority)
	b = wire.AppendVarint(b, m.Group)
	return wire.AppendVarint(b, m.Offset)
}

// ConsumeFetch takes a FETCH from the front of b.
func ConsumeFetch(b []byte) (Fetch, int, error) {
	d := decode(b)
	return finish(&d, Fetch{
		Path:     d.path(),
		Priority: d.prio(),
		Group:    d.Varint(),
		Offset:   d.Varint(),
	})
}
