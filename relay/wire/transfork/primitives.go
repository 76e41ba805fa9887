package transfork

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/quic-go/quic-go/quicvarint"
)

// Limits on what is accepted. The protocol itself has none.
const (
	// MaxMessage is more than any message within the other limits takes, so a
	// reader that holds this many bytes and still lacks some has been fooled.
	MaxMessage = 64 << 10
	// MaxPathParts and MaxPathBytes bound a path, as the drafts do.
	MaxPathParts = 32
	MaxPathBytes = 1024
	// MaxVersions bounds the versions a client offers.
	MaxVersions = 64
	// MaxExtensions and MaxExtensionBytes bound the extensions of a handshake
	// and the sum of their values.
	MaxExtensions     = 64
	MaxExtensionBytes = 16 << 10
)

// MaxVarint is the largest number that the wire carries.
const MaxVarint = 1<<62 - 1

// ErrShort says that the message is longer than the bytes that are there.
var ErrShort = errors.New("message is not complete")

// ErrMalformed is wrapped by every other error of this package: the bytes are
// no message, whatever follows them. The protocol's code for it is [CodeDecode].
var ErrMalformed = errors.New("malformed message")

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

func appendVarint(b []byte, v uint64) []byte {
	return quicvarint.Append(b, min(v, MaxVarint))
}

func appendPrio(b []byte, p int8) []byte { return append(b, byte(int(p)+prioBias)) }

func appendString(b []byte, s string) []byte {
	b = appendVarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendPath(b []byte, path []string) []byte {
	b = appendVarint(b, uint64(len(path)))
	for _, part := range path {
		b = appendString(b, part)
	}
	return b
}

// appendOptSeq writes an optional sequence number: 0 for none, else one more.
func appendOptSeq(b []byte, seq *uint64) []byte {
	if seq == nil {
		return append(b, 0)
	}
	return appendVarint(b, min(*seq, MaxVarint-1)+1)
}

// decoder takes primitives from the front of a slice. After the first error it
// returns zero values, so that a message is read in one expression.
type decoder struct {
	b   []byte
	off int
	err error
}

// finish returns what a Consume function has read with d.
func finish[T any](d *decoder, message T) (T, int, error) {
	if d.err != nil {
		var none T
		return none, 0, d.err
	}
	return message, d.off, nil
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

// take returns the next n bytes, which stay those of the caller of Consume.
func (d *decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if len(d.b)-d.off < n {
		d.err = ErrShort
		return nil
	}
	d.off += n
	return d.b[d.off-n : d.off]
}

func (d *decoder) byte() byte {
	b := d.take(1)
	if d.err != nil {
		return 0
	}
	return b[0]
}

func (d *decoder) varint() uint64 {
	if d.err != nil {
		return 0
	}
	v, n, err := quicvarint.Parse(d.b[d.off:])
	if err != nil {
		d.err = ErrShort
		return 0
	}
	d.off += n
	return v
}

// bounded reads a number that must not exceed limit.
func (d *decoder) bounded(what string, limit uint64) uint64 {
	v := d.varint()
	if d.err == nil && v > limit {
		d.fail("%s: %d exceeds %d", what, v, limit)
	}
	if d.err != nil {
		return 0
	}
	return v
}

// count reads the number of things that follow.
func (d *decoder) count(what string, limit int) int {
	return int(d.bounded(what, uint64(limit)))
}

func (d *decoder) prio() int8 {
	b := d.byte()
	if d.err != nil {
		return 0
	}
	return int8(int(b) - prioBias)
}

// order reads the JavaScript client's 2 as descending.
func (d *decoder) order() Order {
	v := d.varint()
	switch {
	case d.err != nil:
	case v == jsDescending:
		return Descending
	case v > uint64(Descending):
		d.fail("order %d", v)
	default:
		return Order(v)
	}
	return 0
}

func (d *decoder) optSeq() *uint64 {
	v := d.varint()
	if d.err != nil || v == 0 {
		return nil
	}
	v--
	return &v
}

func (d *decoder) path() []string {
	count := d.count("path parts", MaxPathParts)
	if count == 0 || d.err != nil {
		return nil
	}
	path := make([]string, 0, count)
	room := MaxPathBytes
	for range count {
		part := d.take(d.count("path bytes", room))
		if d.err != nil {
			return nil
		}
		if !utf8.Valid(part) {
			d.fail("path part is not UTF-8")
			return nil
		}
		room -= len(part)
		path = append(path, string(part))
	}
	return path
}
