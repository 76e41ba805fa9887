package transfork

// Group is GROUP, the header of a Group stream.
type Group struct {
	ID       SubscribeID
	Sequence uint64
}

// Append adds the message's bytes to b.
func (m Group) Append(b []byte) []byte {
	b = appendVarint(b, uint64(m.ID))
	return appendVarint(b, m.Sequence)
}

// ConsumeGroup takes a GROUP from the front of b.
func ConsumeGroup(b []byte) (Group, int, error) {
	d := decoder{b: b}
	return finish(&d, Group{ID: SubscribeID(d.varint()), Sequence: d.varint()})
}

// FrameHeader is what precedes the payload of a FRAME.
type FrameHeader struct {
	Size uint64 // bytes of the payload
}

// Append adds the header's bytes to b.
func (m FrameHeader) Append(b []byte) []byte { return appendVarint(b, m.Size) }

// ConsumeFrameHeader takes the header of a FRAME from the front of b.
func ConsumeFrameHeader(b []byte) (FrameHeader, int, error) {
	d := decoder{b: b}
	return finish(&d, FrameHeader{Size: d.varint()})
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
	b = appendVarint(b, m.Group)
	return appendVarint(b, m.Offset)
}

// ConsumeFetch takes a FETCH from the front of b.
func ConsumeFetch(b []byte) (Fetch, int, error) {
	d := decoder{b: b}
	return finish(&d, Fetch{
		Path:     d.path(),
		Priority: d.prio(),
		Group:    d.varint(),
		Offset:   d.varint(),
	})
}
