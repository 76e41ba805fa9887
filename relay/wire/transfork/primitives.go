package transfork

import "github.com/moqrelay/moqrelay/relay/wire"

// Limits on what is accepted. The protocol itself has none.
const (
	// MaxMessage is the limit of all protocols, for those who read messages.
	MaxMessage = wire.MaxMessage
	// MaxVersions bounds the versions a client offers.
	MaxVersions = 64
	// MaxExtensions and MaxExtensionBytes bound the extensions of a handshake
	// and the sum of their values.
	MaxExtensions     = 64
	MaxExtensionBytes = 16 << 10
)

// ErrShort and ErrMalformed are those of all protocols. The code for the second
// is [CodeDecode].
var (
	ErrShort     = wire.ErrShort
	ErrMalformed = wire.ErrMalformed
)

// SubscribeID names a subscription within a session. The subscriber chooses it.
type SubscribeID uint64

// Order says which of several groups of a track is sent first.
type Order uint8

// The orders. Ascending is the zero value, but Descending is what clients use.
const (
	Ascending  Order = 0 // the oldest group first
	Descending Order = 1 // the newest group first
)

// jsDescending is what the JavaScript client 0.1.4 writes for descending.
const jsDescending = 2

// prioBias makes a signed priority one unsigned byte.
const prioBias = 128

func appendPrio(b []byte, p int8) []byte { return append(b, byte(int(p)+prioBias)) }

func appendPath(b []byte, path []string) []byte {
	b = wire.AppendVarint(b, uint64(len(path)))
	for _, part := range path {
		b = wire.AppendString(b, part)
	}
	return b
}

// decoder adds to the decoder of all protocols what this one alone has.
type decoder struct{ wire.Decoder }

func decode(b []byte) decoder { return decoder{wire.NewDecoder(b)} }

// finish returns what a Consume function has read with d.
func finish[T any](d *decoder, message T) (T, int, error) {
	return wire.Finish(&d.Decoder, message)
}

func (d *decoder) prio() int8 {
	b := d.Byte()
	if d.Err() != nil {
		return 0
	}
	return int8(int(b) - prioBias)
}

// order reads the JavaScript client's 2 as descending.
func (d *decoder) order() Order {
	v := d.Varint()
	switch {
	case d.Err() != nil:
	case v == jsDescending:
		return Descending
	case v > uint64(Descending):
		d.Fail("order %d", v)
	default:
		return Order(v)
	}
	return 0
}

func (d *decoder) path() []string {
	count := d.Count("path parts", wire.MaxPathParts)
	if count == 0 || d.Err() != nil {
		return nil
	}
	path := make([]string, 0, count)
	room := wire.MaxPathBytes
	for range count {
		part := d.String("path part", room)
		if d.Err() != nil {
			return nil
		}
		room -= len(part)
		path = append(path, part)
	}
	return path
}
