package transfork

import (
	"math"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// Subscribe is SUBSCRIBE: the peer is asked for the groups of a track.
type Subscribe struct {
	ID       SubscribeID
	Path     []string
	Priority int8
	Order    Order
	Expires  uint64  // milliseconds after which a group is of no use, 0 for never
	Min, Max *uint64 // first and last group that is wanted
}

// Append adds the message's bytes to b.
func (m Subscribe) Append(b []byte) []byte {
	b = wire.AppendVarint(b, uint64(m.ID))
	b = appendPath(b, m.Path)
	b = appendPrio(b, m.Priority)
	b = wire.AppendVarint(b, uint64(m.Order))
	b = wire.AppendVarint(b, m.Expires)
	b = wire.AppendOptSeq(b, m.Min)
	return wire.AppendOptSeq(b, m.Max)
}

// ConsumeSubscribe takes a SUBSCRIBE from the front of b.
func ConsumeSubscribe(b []byte) (Subscribe, int, error) {
	d := decode(b)
	return finish(&d, Subscribe{
		ID:       SubscribeID(d.Varint()),
		Path:     d.path(),
		Priority: d.prio(),
		Order:    d.order(),
		Expires:  d.Varint(),
		Min:      d.OptSeq(),
		Max:      d.OptSeq(),
	})
}

// SubscribeUpdate is SUBSCRIBE_UPDATE: the parameters of a running subscription
// change.
//
// Its priority is a varint, unlike that of SUBSCRIBE. Nothing says how it would
// carry a negative one; here those are the numbers 128 to 255, as in two's
// complement.
type SubscribeUpdate struct {
	Priority int8
	Order    Order
	Expires  uint64
	Min, Max *uint64
}

// Append adds the message's bytes to b, all five fields.
func (m SubscribeUpdate) Append(b []byte) []byte {
	b = wire.AppendVarint(b, uint64(uint8(m.Priority)))
	b = wire.AppendVarint(b, uint64(m.Order))
	b = wire.AppendVarint(b, m.Expires)
	b = wire.AppendOptSeq(b, m.Min)
	return wire.AppendOptSeq(b, m.Max)
}

// ConsumeSubscribeUpdate takes a SUBSCRIBE_UPDATE of five fields from the front
// of b.
func ConsumeSubscribeUpdate(b []byte) (SubscribeUpdate, int, error) {
	d := decode(b)
	return finish(&d, SubscribeUpdate{
		Priority: d.updatePriority(),
		Order:    d.order(),
		Expires:  d.Varint(),
		Min:      d.OptSeq(),
		Max:      d.OptSeq(),
	})
}

// ConsumeShortSubscribeUpdate takes a SUBSCRIBE_UPDATE as the writer of
// moq-relay 0.6.8 would produce it, without Expires. The two forms look alike,
// so this is for bytes that nothing follows.
func ConsumeShortSubscribeUpdate(b []byte) (SubscribeUpdate, int, error) {
	d := decode(b)
	return finish(&d, SubscribeUpdate{
		Priority: d.updatePriority(),
		Order:    d.order(),
		Min:      d.OptSeq(),
		Max:      d.OptSeq(),
	})
}

func (d *decoder) updatePriority() int8 {
	return int8(uint8(d.Bounded("priority", math.MaxUint8)))
}
