package moqlite

import "github.com/moqrelay/moqrelay/relay/wire"

// Subscribe is SUBSCRIBE: the peer is asked for the groups of a track. Lite-01
// and lite-02 carry nothing behind the priority.
type Subscribe struct {
	ID       uint64 // chosen by the subscriber, for the session
	Path     []string
	Track    string
	Priority uint8  // higher is sent first
	Ordered  bool   // lite-03 to lite-05: the oldest group first
	MaxAge   uint64 // milliseconds
	// Start and End are the first and last group that is wanted. Without Start
	// it is the latest up to lite-05. From lite-06 on Start is only a floor, and
	// one of 0 the same as none.
	Start, End *uint64
	// FrameStart is the first frame wanted of group Start, FrameEnd the last of
	// group End: lite-06. There is no FrameEnd without End.
	FrameStart uint64
	FrameEnd   *uint64
}

// Append adds the message's bytes to b.
func (m Subscribe) Append(b []byte, v Version) []byte {
	start := len(b)
	b = wire.AppendVarint(b, m.ID)
	b = appendPath(b, m.Path)
	b = wire.AppendString(b, m.Track)
	if v.HasUpdate() {
		b = m.wish().append(b, v)
	} else {
		b = append(b, m.Priority)
	}
	return seal(b, start)
}

// wish returns what can be changed later.
func (m Subscribe) wish() SubscribeUpdate {
	return SubscribeUpdate{m.Priority, m.Ordered, m.MaxAge, m.Start, m.End, m.FrameStart, m.FrameEnd}
}

// ConsumeSubscribe takes a SUBSCRIBE from the front of b.
func (v Version) ConsumeSubscribe(b []byte) (Subscribe, int, error) {
	d := open(b)
	m := Subscribe{ID: d.Varint(), Path: d.path(), Track: d.track()}
	if v.HasUpdate() {
		w := d.update(v)
		m.Priority, m.Ordered, m.MaxAge = w.Priority, w.Ordered, w.MaxAge
		m.Start, m.End, m.FrameStart, m.FrameEnd = w.Start, w.End, w.FrameStart, w.FrameEnd
	} else {
		m.Priority = d.Byte()
	}
	return finish(&d, m)
}

// SubscribeUpdate is SUBSCRIBE_UPDATE, from lite-03 on: all that is wanted of a
// running subscription, in place of what was wanted. The fields are those of
// [Subscribe].
type SubscribeUpdate struct {
	Priority   uint8
	Ordered    bool
	MaxAge     uint64
	Start, End *uint64
	FrameStart uint64
	FrameEnd   *uint64
}

// Append adds the message's bytes to b.
func (m SubscribeUpdate) Append(b []byte, v Version) []byte {
	v.mustHave(v.HasUpdate(), "SUBSCRIBE_UPDATE")
	return seal(m.append(b, v), len(b))
}

// append adds the fields as they stand in SUBSCRIBE, too.
func (m SubscribeUpdate) append(b []byte, v Version) []byte {
	b = append(b, m.Priority)
	if v.hasOrdered() {
		b = appendBool(b, m.Ordered)
	}
	b = wire.AppendVarint(b, m.MaxAge)
	if !v.HasCosts() {
		b = wire.AppendOptSeq(b, m.Start)
		return wire.AppendOptSeq(b, m.End)
	}
	b = wire.AppendVarint(b, floor(m.Start))
	b = wire.AppendOptSeq(b, m.End)
	b = wire.AppendVarint(b, m.FrameStart)
	return wire.AppendOptSeq(b, m.FrameEnd)
}

// floor returns the number that stands for no floor where there is none.
func floor(start *uint64) uint64 {
	if start == nil {
		return 0
	}
	return *start
}

// ConsumeSubscribeUpdate takes a SUBSCRIBE_UPDATE from the front of b.
func (v Version) ConsumeSubscribeUpdate(b []byte) (SubscribeUpdate, int, error) {
	d := open(b)
	if !v.HasUpdate() {
		d.Fail("%s has no SUBSCRIBE_UPDATE", v)
	}
	return finish(&d, d.update(v))
}

func (d *decoder) update(v Version) SubscribeUpdate {
	m := SubscribeUpdate{Priority: d.Byte()}
	if v.hasOrdered() {
		m.Ordered = d.bool("ordered")
	}
	m.MaxAge = d.Varint()
	if !v.HasCosts() {
		m.Start = d.OptSeq()
		m.End = d.OptSeq()
		return m
	}
	if start := d.Varint(); start > 0 {
		m.Start = new(start)
	}
	m.End = d.OptSeq()
	m.FrameStart = d.Varint()
	m.FrameEnd = d.OptSeq()
	if m.FrameEnd != nil && m.End == nil {
		d.Fail("last frame of no last group")
	}
	return m
}
