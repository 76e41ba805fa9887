package wire

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/quic-go/quic-go/quicvarint"
)

// Limits on what is accepted, by every protocol.
const (
	// MaxMessage is more than any message within the other limits takes, so a
	// reader that holds this many bytes and still lacks some has been fooled.
	MaxMessage = 64 << 10
	// MaxPathParts and MaxPathBytes bound a path; the bytes are those of its
	// parts.
	MaxPathParts = 32
	MaxPathBytes = 1024
)

// MaxVarint is the largest number that the wire carries.
const MaxVarint = 1<<62 - 1

// ErrShort says that the message is longer than the bytes that are there.
var ErrShort = errors.New("message is not complete")

// ErrMalformed is wrapped by every other error of a codec: the bytes are no
// message, whatever follows them.
var ErrMalformed = errors.New("malformed message")

// AppendVarint writes a number; one that the wire cannot carry becomes
// [MaxVarint].
func AppendVarint(b []byte, v uint64) []byte {
	return quicvarint.Append(b, min(v, MaxVarint))
}

// AppendString writes the length of s and its bytes.
func AppendString(b []byte, s string) []byte {
	b = AppendVarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendOptSeq writes an optional sequence number: 0 for none, else one more.
func AppendOptSeq(b []byte, seq *uint64) []byte {
	if seq == nil {
		return append(b, 0)
	}
	return AppendVarint(b, min(*seq, MaxVarint-1)+1)
}

// Decoder takes primitives from the front of a slice. After the first error it
// returns zero values, so that a message is read in one expression.
type Decoder struct {
	b   []byte
	off int
	err error
}

// NewDecoder returns a decoder at the front of b.
func NewDecoder(b []byte) Decoder { return Decoder{b: b} }

// Finish returns what a Consume function has read with d.
func Finish[T any](d *Decoder, message T) (T, int, error) {
	if d.err != nil {
		var none T
		return none, 0, d.err
	}
	return message, d.off, nil
}

// Err returns the first error.
func (d *Decoder) Err() error { return d.err }

// Offset returns how many bytes were taken.
func (d *Decoder) Offset() int { return d.off }

// Len returns how many bytes are left.
func (d *Decoder) Len() int { return len(d.b) - d.off }

// Fail makes bytes that were read malformed, unless there was an error before.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

// Take returns the next n bytes, which stay those of the caller of Consume.
func (d *Decoder) Take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if d.Len() < n {
		d.err = ErrShort
		return nil
	}
	d.off += n
	return d.b[d.off-n : d.off]
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	b := d.Take(1)
	if d.err != nil {
		return 0
	}
	return b[0]
}

// Varint reads a number, in any of the forms that it may have.
func (d *Decoder) Varint() uint64 {
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

// Bounded reads a number that must not exceed limit.
func (d *Decoder) Bounded(what string, limit uint64) uint64 {
	v := d.Varint()
	if d.err == nil && v > limit {
		d.Fail("%s: %d exceeds %d", what, v, limit)
	}
	if d.err != nil {
		return 0
	}
	return v
}

// Count reads the number of things that follow.
func (d *Decoder) Count(what string, limit int) int {
	return int(d.Bounded(what, uint64(limit)))
}

// String reads a string of at most limit bytes, which must be UTF-8.
func (d *Decoder) String(what string, limit int) string {
	s := d.Take(d.Count(what, limit))
	if d.err == nil && !utf8.Valid(s) {
		d.Fail("%s: not UTF-8", what)
	}
	if d.err != nil {
		return ""
	}
	return string(s)
}

// OptSeq reads an optional sequence number.
func (d *Decoder) OptSeq() *uint64 {
	v := d.Varint()
	if d.err != nil || v == 0 {
		return nil
	}
	return new(v - 1)
}
