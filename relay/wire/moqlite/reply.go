package moqlite

import (
	"math"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// SubscribeReplyType says what a publisher tells of a subscription.
type SubscribeReplyType uint8

// The replies.
const (
	ReplyOK   SubscribeReplyType = iota // up to lite-04: accepted; later: where it starts
	ReplyEnd                            // from lite-05 on: where it ends
	ReplyDrop                           // from lite-03 on: what will be missing
)

// SubscribeReply is what a publisher writes on a Subscribe stream: SUBSCRIBE_OK,
// SUBSCRIBE_END or SUBSCRIBE_DROP.
type SubscribeReply struct {
	Type SubscribeReplyType
	// Group is, from lite-05 on, the first group that will come in OK and the
	// first that will not in End.
	Group uint64
	// Priority is, in OK of lite-01, lite-03 and lite-04, the one asked for. The
	// four fields after it are in OK of lite-03 and lite-04 only, where the
	// reference relay leaves them zero.
	Priority   uint8
	Ordered    bool
	MaxAge     uint64 // milliseconds
	Start, End *uint64
	// First and Last are the groups that will be missing in Drop, both of them
	// included, and Code is the reason.
	First, Last uint64
	Code        Code
}

// The types of the replies on the wire. Lite-01 and lite-02 have none.
const (
	typeSubscribeOK   = 0
	typeSubscribeEnd  = 1 // from lite-05 on
	typeSubscribeDrop = 2 // from lite-05 on

	typeSubscribeDropOld = 1 // lite-03 and lite-04
)

// Append adds the message's bytes to b.
func (m SubscribeReply) Append(b []byte, v Version) []byte {
	switch m.Type {
	case ReplyEnd:
		v.mustHave(v >= Version05, "SUBSCRIBE_END")
		b = append(b, typeSubscribeEnd)
		return seal(wire.AppendVarint(b, m.Group), len(b))
	case ReplyDrop:
		v.mustHave(v >= Version03, "SUBSCRIBE_DROP")
		return m.appendDrop(b, v)
	default:
		return m.appendOK(b, v)
	}
}

func (m SubscribeReply) appendOK(b []byte, v Version) []byte {
	if v >= Version03 {
		b = append(b, typeSubscribeOK)
	}
	start := len(b)
	switch v {
	case Version01:
		b = append(b, m.Priority)
	case Version02: // an empty body
	case Version03, Version04:
		b = append(b, m.Priority)
		b = appendBool(b, m.Ordered)
		b = wire.AppendVarint(b, m.MaxAge)
		b = wire.AppendOptSeq(b, m.Start)
		b = wire.AppendOptSeq(b, m.End)
	default:
		b = wire.AppendVarint(b, m.Group)
	}
	return seal(b, start)
}

func (m SubscribeReply) appendDrop(b []byte, v Version) []byte {
	if v >= Version05 {
		b = append(b, typeSubscribeDrop)
	} else {
		b = append(b, typeSubscribeDropOld)
	}
	start := len(b)
	b = wire.AppendVarint(b, m.First)
	b = wire.AppendVarint(b, m.Last)
	b = wire.AppendVarint(b, uint64(m.Code))
	return seal(b, start)
}

// ConsumeSubscribeReply takes a SUBSCRIBE_OK, SUBSCRIBE_END or SUBSCRIBE_DROP
// from the front of b.
func (v Version) ConsumeSubscribeReply(b []byte) (SubscribeReply, int, error) {
	if v < Version03 {
		d := open(b)
		var m SubscribeReply
		if v == Version01 {
			m.Priority = d.Byte()
		}
		return finish(&d, m)
	}
	typ, d := openTyped(b)
	var m SubscribeReply
	switch {
	case typ == typeSubscribeOK && v >= Version05:
		m.Group = d.Varint()
	case typ == typeSubscribeOK:
		m = SubscribeReply{
			Priority: d.Byte(),
			Ordered:  d.bool("ordered"),
			MaxAge:   d.Varint(),
			Start:    d.OptSeq(),
			End:      d.OptSeq(),
		}
	case typ == typeSubscribeEnd && v >= Version05:
		m = SubscribeReply{Type: ReplyEnd, Group: d.Varint()}
	case typ == typeSubscribeDrop && v >= Version05, typ == typeSubscribeDropOld && v < Version05:
		m = SubscribeReply{
			Type:  ReplyDrop,
			First: d.Varint(),
			Last:  d.Varint(),
			Code:  Code(d.Bounded("code", math.MaxUint32)),
		}
	default:
		d.Fail("subscribe reply of type %d", typ)
	}
	return finish(&d, m)
}
