package transfork

import (
	"math"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// Info is INFO, the answer to SUBSCRIBE and INFO_REQUEST.
type Info struct {
	Priority int8
	Order    Order
	Expires  uint64 // milliseconds, 0 for never
	Latest   uint64 // newest group, 0 also if there is none yet
}

// Append adds the message's bytes to b.
func (m Info) Append(b []byte) []byte {
	b = appendPrio(b, m.Priority)
	b = wire.AppendVarint(b, uint64(m.Order))
	b = wire.AppendVarint(b, m.Expires)
	return wire.AppendVarint(b, m.Latest)
}

// ConsumeInfo takes an INFO from the front of b.
func ConsumeInfo(b []byte) (Info, int, error) {
	d := decode(b)
	return finish(&d, Info{
		Priority: d.prio(),
		Order:    d.order(),
		Expires:  d.Varint(),
		Latest:   d.Varint(),
	})
}

// InfoRequest is INFO_REQUEST: the peer is asked what it knows of a track.
type InfoRequest struct {
	Path []string
}

// Append adds the message's bytes to b.
func (m InfoRequest) Append(b []byte) []byte { return appendPath(b, m.Path) }

// ConsumeInfoRequest takes an INFO_REQUEST from the front of b.
func ConsumeInfoRequest(b []byte) (InfoRequest, int, error) {
	d := decode(b)
	return finish(&d, InfoRequest{Path: d.path()})
}

// GroupDrop is GROUP_DROP: the groups First to First+Extra of a subscription
// will not be delivered, or not to their end.
type GroupDrop struct {
	First uint64
	Extra uint64 // further groups after the first
	Code  Code
}

// Append adds the message's bytes to b.
func (m GroupDrop) Append(b []byte) []byte {
	b = wire.AppendVarint(b, m.First)
	b = wire.AppendVarint(b, m.Extra)
	return wire.AppendVarint(b, uint64(m.Code))
}

// ConsumeGroupDrop takes a GROUP_DROP from the front of b.
func ConsumeGroupDrop(b []byte) (GroupDrop, int, error) {
	d := decode(b)
	return finish(&d, GroupDrop{
		First: d.Varint(),
		Extra: d.Varint(),
		Code:  Code(d.Bounded("code", math.MaxUint32)),
	})
}
