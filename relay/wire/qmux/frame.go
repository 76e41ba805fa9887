package qmux

import (
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// Type is the type of a frame.
type Type uint64

// The types. Those that differ in a few bits alone are one here: a [Stream] on
// the wire is anything from 0x08 to 0x0f, a [Datagram] 0x30 or 0x31.
const (
	Padding             Type = 0x00
	ResetStream         Type = 0x04
	StopSending         Type = 0x05
	Stream              Type = 0x08
	MaxData             Type = 0x10
	MaxStreamData       Type = 0x11
	MaxStreamsBidi      Type = 0x12
	MaxStreamsUni       Type = 0x13
	DataBlocked         Type = 0x14
	StreamDataBlocked   Type = 0x15
	StreamsBlockedBidi  Type = 0x16
	StreamsBlockedUni   Type = 0x17
	ConnectionClose     Type = 0x1c
	ApplicationClose    Type = 0x1d
	ResetStreamAt       Type = 0x24
	Datagram            Type = 0x30
	Ping                Type = 0x348c67529ef8c7bd
	PingResponse        Type = 0x348c67529ef8c7be
	TransportParameters Type = 0x3f5153300d0a0d0a
)

const (
	bitFin    = 0x01 // of Stream
	bitLength = 0x02 // of Stream; of Datagram it is the lowest
	bitOffset = 0x04 // of Stream
)

// MaxStreamCount bounds how many streams of a kind there can be, as their ids
// have 62 bits of which two say the kind.
const MaxStreamCount = 1 << 60

// MaxStreamHeader is more than what stands before a Stream's data.
const MaxStreamHeader = 1 + 3*8

// ErrShort says that the frame is longer than the message that holds it.
var ErrShort = wire.ErrShort

// ErrMalformed is wrapped by every other error of this package.
var ErrMalformed = wire.ErrMalformed

// Frame is one frame. Each type uses some of the fields.
type Frame struct {
	Type Type
	// ID is the stream's: of Stream, ResetStream, ResetStreamAt, StopSending,
	// MaxStreamData and StreamDataBlocked.
	ID uint64
	// Offset is where a Stream's data stands, if HasOffset. Data is always in order.
	Offset    uint64
	HasOffset bool
	// Fin says that nothing follows the data of a Stream.
	Fin bool
	// Data is what a Stream or a Datagram carries, and the encoded [Parameters] of a
	// TransportParameters. It is the caller's memory.
	Data []byte
	// Code is the error code of a reset, a stop or a close, unmapped.
	Code uint64
	// FinalSize is the length of a stream that was reset.
	FinalSize uint64
	// ReliableSize is how much of it a ResetStreamAt still delivers.
	ReliableSize uint64
	// FrameType is the one that a ConnectionClose complains about.
	FrameType uint64
	// Reason is the text of a close.
	Reason string
	// Limit is the value of the Max… and …Blocked types.
	Limit uint64
	// Sequence pairs a PingResponse with its Ping.
	Sequence uint64
}

// AppendStreamHeader writes all of a Stream frame up to its data, of which length
// bytes follow, to the end of the message in Legacy.
func AppendStreamHeader(b []byte, v Version, id, offset uint64, length int, fin bool) []byte {
	t := byte(Stream)
	if fin {
		t |= bitFin
	}
	if v == Legacy {
		return quicvarint.Append(append(b, t), id)
	}
	b = quicvarint.Append(append(b, t|bitOffset|bitLength), id)
	b = quicvarint.Append(b, offset)
	return quicvarint.Append(b, uint64(length))
}

// Append writes the frame as v has it.
func (f Frame) Append(b []byte, v Version) []byte {
	if f.Type == Stream {
		return f.appendStream(b, v)
	}
	if f.Type == Datagram { // always with its length
		f.Type |= 1
	}
	b = quicvarint.Append(b, uint64(f.Type))
	switch f.Type {
	case ResetStream, ResetStreamAt:
		b = quicvarint.Append(b, f.ID)
		b = quicvarint.Append(b, f.Code)
		if v != Legacy {
			b = quicvarint.Append(b, f.FinalSize)
		}
		if f.Type == ResetStreamAt {
			b = quicvarint.Append(b, f.ReliableSize)
		}
	case StopSending:
		b = quicvarint.Append(b, f.ID)
		b = quicvarint.Append(b, f.Code)
	case MaxStreamData, StreamDataBlocked:
		b = quicvarint.Append(b, f.ID)
		b = quicvarint.Append(b, f.Limit)
	case MaxData, MaxStreamsBidi, MaxStreamsUni, DataBlocked, StreamsBlockedBidi, StreamsBlockedUni:
		b = quicvarint.Append(b, f.Limit)
	case ConnectionClose, ApplicationClose:
		return f.appendClose(b, v)
	case Ping, PingResponse:
		b = quicvarint.Append(b, f.Sequence)
	case TransportParameters, Datagram | 1:
		b = quicvarint.Append(b, uint64(len(f.Data)))
		b = append(b, f.Data...)
	default: // Padding is its type alone
	}
	return b
}

func (f Frame) appendStream(b []byte, v Version) []byte {
	if v == Legacy || f.HasOffset {
		b = AppendStreamHeader(b, v, f.ID, f.Offset, len(f.Data), f.Fin)
		return append(b, f.Data...)
	}
	t := byte(Stream | bitLength)
	if f.Fin {
		t |= bitFin
	}
	b = quicvarint.Append(append(b, t), f.ID)
	b = quicvarint.Append(b, uint64(len(f.Data)))
	return append(b, f.Data...)
}

func (f Frame) appendClose(b []byte, v Version) []byte {
	b = quicvarint.Append(b, f.Code)
	if v == Legacy {
		return append(b, f.Reason...)
	}
	if f.Type == ConnectionClose {
		b = quicvarint.Append(b, f.FrameType)
	}
	b = quicvarint.Append(b, uint64(len(f.Reason)))
	return append(b, f.Reason...)
}

// Consume takes the frame from the front of a message, or of what is left of it,
// and says how many bytes it was.
func Consume(b []byte, v Version) (Frame, int, error) {
	d := &decoder{wire.NewDecoder(b)}
	f := d.frame(v)
	return wire.Finish(&d.Decoder, f)
}

func (d *decoder) frame(v Version) Frame {
	t := d.Varint()
	if d.Err() != nil {
		return Frame{}
	}
	if t&^uint64(bitFin|bitLength|bitOffset) == uint64(Stream) {
		return d.stream(v, t)
	}
	f := Frame{Type: Type(t)}
	if !f.Type.isKnown(v) {
		d.Fail("type %#x does not exist in %v", t, v)
		return Frame{}
	}
	switch f.Type {
	case ResetStream, ResetStreamAt:
		d.reset(&f, v)
	case StopSending:
		f.ID, f.Code = d.Varint(), d.Varint()
	case MaxStreamData, StreamDataBlocked:
		f.ID, f.Limit = d.Varint(), d.Varint()
	case MaxData, DataBlocked:
		f.Limit = d.Varint()
	case MaxStreamsBidi, MaxStreamsUni, StreamsBlockedBidi, StreamsBlockedUni:
		f.Limit = d.Bounded("streams", MaxStreamCount)
	case ConnectionClose, ApplicationClose:
		d.close(&f, v)
	case Ping, PingResponse:
		f.Sequence = d.Varint()
	case Datagram:
		f.Data = d.rest()
	case Datagram | 1:
		f.Type = Datagram
		f.Data = d.bytes()
	case TransportParameters:
		f.Data = d.bytes()
	default: // Padding is its type alone
	}
	return f
}

// isKnown says whether the type is one of v's.
func (t Type) isKnown(v Version) bool {
	switch t {
	case ResetStream, StopSending, ConnectionClose, ApplicationClose:
		return true
	case Padding, MaxData, MaxStreamData, MaxStreamsBidi, MaxStreamsUni,
		DataBlocked, StreamDataBlocked, StreamsBlockedBidi, StreamsBlockedUni, TransportParameters:
		return v != Legacy
	case Datagram, Datagram | 1, Ping, PingResponse:
		return v.HasRecords()
	case ResetStreamAt:
		return v == Version02
	default:
		return false
	}
}

func (d *decoder) stream(v Version, t uint64) Frame {
	f := Frame{Type: Stream, Fin: t&bitFin != 0}
	if v == Legacy && t&(bitLength|bitOffset) != 0 {
		d.Fail("type %#x does not exist in %v", t, v)
		return Frame{}
	}
	f.ID = d.Varint()
	if t&bitOffset != 0 {
		f.HasOffset = true
		f.Offset = d.Varint()
	}
	if t&bitLength != 0 {
		f.Data = d.bytes()
	} else {
		f.Data = d.rest()
	}
	return f
}

func (d *decoder) reset(f *Frame, v Version) {
	f.ID, f.Code = d.Varint(), d.Varint()
	if v != Legacy {
		f.FinalSize = d.Varint()
	}
	if f.Type == ResetStreamAt {
		f.ReliableSize = d.Bounded("reliable size", f.FinalSize)
	}
}

func (d *decoder) close(f *Frame, v Version) {
	f.Code = d.Varint()
	if v == Legacy {
		f.Reason = string(d.rest())
		return
	}
	if f.Type == ConnectionClose {
		f.FrameType = d.Varint()
	}
	f.Reason = string(d.bytes())
}

// decoder adds to [wire.Decoder] what frames are made of.
type decoder struct{ wire.Decoder }

// bytes reads a length and that many bytes, which stay the caller's.
func (d *decoder) bytes() []byte { return d.Take(int(d.Varint())) }

// rest takes all that is left.
func (d *decoder) rest() []byte { return d.Take(d.Len()) }
