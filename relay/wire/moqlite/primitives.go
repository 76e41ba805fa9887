package moqlite

import (
	"errors"
	"strings"

	"github.com/quic-go/quic-go/quicvarint"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// Limits on what is accepted, beside those of [wire].
const (
	// MaxHops bounds the hops of an announcement; a longer list is a loop.
	MaxHops = 32
	// MaxTrackBytes bounds the name of a track.
	MaxTrackBytes = wire.MaxPathBytes
	// MaxVersions bounds the versions in CLIENT_SETUP.
	MaxVersions = 64
	// MaxParameters bounds the parameters of SETUP.
	MaxParameters = 64
	// MaxRequestPath bounds the path in SETUP, whose query may hold a
	// credential; it is what an HTTP header may have.
	MaxRequestPath = 16 << 10
	// MaxNode bounds the name of a node.
	MaxNode = 256
	// MaxURI bounds the address in GOAWAY.
	MaxURI = 8192
	// MaxDatagram bounds the payload of a datagram.
	MaxDatagram = 1200
)

// maxPathString is the length of a path of wire.MaxPathBytes in
// wire.MaxPathParts parts: both protocols can carry the same paths.
const maxPathString = wire.MaxPathBytes + wire.MaxPathParts - 1

// A message stands behind its length, which is known when its body was written.
// seal puts the length of what follows start in b before it.
func seal(b []byte, start int) []byte {
	size := len(b) - start
	var length [8]byte
	b = append(b, length[:quicvarint.Len(uint64(size))]...)
	copy(b[len(b)-size:], b[start:start+size])
	wire.AppendVarint(b[:start], uint64(size))
	return b
}

// appendPath writes the parts of a path with slashes between them. Parts that
// are empty cannot be said and are left out, as a reader would.
func appendPath(b []byte, path []string) []byte {
	var s strings.Builder
	for _, part := range path {
		if part == "" {
			continue
		}
		if s.Len() > 0 {
			s.WriteByte('/')
		}
		s.WriteString(part)
	}
	return wire.AppendString(b, s.String())
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendHops(b []byte, hops []uint64) []byte {
	b = wire.AppendVarint(b, uint64(len(hops)))
	for _, hop := range hops {
		b = wire.AppendVarint(b, hop)
	}
	return b
}

// decoder reads the body of one message.
type decoder struct {
	wire.Decoder
	size int // bytes of the message with what precedes its body, 0 if it is not there
}

// open returns a decoder of the message at the front of b. If the message is
// not there to its end, the decoder has failed already.
func open(b []byte) decoder {
	head := wire.NewDecoder(b)
	body := head.Take(head.Count("message bytes", wire.MaxMessage))
	if head.Err() != nil {
		return decoder{Decoder: head}
	}
	return decoder{Decoder: wire.NewDecoder(body), size: head.Offset()}
}

// openTyped is open where the type of the message stands before its length.
func openTyped(b []byte) (typ uint64, d decoder) {
	head := wire.NewDecoder(b)
	typ = head.Varint()
	if head.Err() != nil {
		return 0, decoder{Decoder: head}
	}
	d = open(b[head.Offset():])
	if d.size > 0 {
		d.size += head.Offset()
	}
	return typ, d
}

// finish returns what a Consume function has read with d, which must be the
// body to its end and no more.
func finish[T any](d *decoder, message T) (T, int, error) {
	var none T
	if d.size == 0 {
		return none, 0, d.Err()
	}
	if err := d.end(); err != nil {
		return none, 0, err
	}
	return message, d.size, nil
}

// end returns the error of a body that was read. One that is too short for its
// fields is malformed: what follows it is another message.
func (d *decoder) end() error {
	switch err := d.Err(); {
	case errors.Is(err, wire.ErrShort):
		d.Decoder = wire.Decoder{}
		d.Fail("body ends within its fields")
	case err == nil && d.Len() > 0:
		d.Fail("%d bytes after the last field", d.Len())
	}
	return d.Err()
}

func (d *decoder) bool(what string) bool {
	v := d.Byte()
	if v > 1 {
		d.Fail("%s: %d is neither 0 nor 1", what, v)
	}
	return v == 1
}

// path reads a path without its empty parts.
func (d *decoder) path() []string {
	s := d.String("path", maxPathString)
	var path []string
	size := 0
	for part := range strings.SplitSeq(s, "/") {
		if part == "" {
			continue
		}
		if size += len(part); size > wire.MaxPathBytes || len(path) == wire.MaxPathParts {
			d.Fail("path of more than %d bytes or %d parts", wire.MaxPathBytes, wire.MaxPathParts)
			return nil
		}
		path = append(path, part)
	}
	return path
}

func (d *decoder) track() string { return d.String("track", MaxTrackBytes) }

// hops reads a list of hops.
func (d *decoder) hops() []uint64 {
	count := d.Count("hops", MaxHops)
	if count == 0 || d.Err() != nil {
		return nil
	}
	hops := make([]uint64, count)
	for i := range hops {
		hops[i] = d.Varint()
	}
	return hops
}
