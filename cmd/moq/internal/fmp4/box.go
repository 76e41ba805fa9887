package fmp4

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A fourCC is the type of a box.
type fourCC [4]byte

func cc(s string) fourCC { return fourCC([]byte(s)) }

// String returns the type as text; what is not printable is shown as '?'.
func (c fourCC) String() string {
	b := c
	for i, x := range b {
		if x < 0x20 || x > 0x7e {
			b[i] = '?'
		}
	}
	return string(b[:])
}

var errShortBox = errors.New("a box ends too early")

// consumeBox takes the first box of b.
func consumeBox(b []byte) (kind fourCC, body, rest []byte, err error) {
	if len(b) < 8 {
		return kind, nil, nil, errShortBox
	}
	kind = fourCC(b[4:8])
	size, header := uint64(binary.BigEndian.Uint32(b)), uint64(8)
	switch size {
	case 0:
		size = uint64(len(b)) // to the end of what holds it
	case 1:
		if len(b) < 16 {
			return kind, nil, nil, errShortBox
		}
		size, header = binary.BigEndian.Uint64(b[8:]), 16
	}
	if size < header || size > uint64(len(b)) {
		return kind, nil, nil, fmt.Errorf("box %v has a wrong size", kind)
	}
	return kind, b[header:size], b[size:], nil
}

// eachBox calls f with every box of b.
func eachBox(b []byte, f func(kind fourCC, body []byte) error) error {
	for len(b) > 0 {
		kind, body, rest, err := consumeBox(b)
		if err != nil {
			return err
		}
		if err := f(kind, body); err != nil {
			return fmt.Errorf("%v: %w", kind, err)
		}
		b = rest
	}
	return nil
}

// A cursor reads the fields of a box. The first read beyond the end makes all
// that follow return 0; err tells.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.bad, c.b = true, nil
		return make([]byte, n)
	}
	taken := c.b[:n]
	c.b = c.b[n:]
	return taken
}

func (c *cursor) u8() uint8   { return c.take(1)[0] }
func (c *cursor) u16() uint16 { return binary.BigEndian.Uint16(c.take(2)) }
func (c *cursor) u32() uint32 { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) u64() uint64 { return binary.BigEndian.Uint64(c.take(8)) }

// full reads the header of a full box.
func (c *cursor) full() (version uint8, flags uint32) {
	v := c.u32()
	return uint8(v >> 24), v & 0xffffff
}

// sized reads a number whose width depends on the version of the box.
func (c *cursor) sized(version uint8) uint64 {
	if version == 0 {
		return uint64(c.u32())
	}
	return c.u64()
}

func (c *cursor) err() error {
	if c.bad {
		return errShortBox
	}
	return nil
}

// appendBox appends a box whose body is written by f.
func appendBox(b []byte, kind string, f func(b []byte) []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = append(b, kind...)
	b = f(b)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// appendFull appends a box with version and flags.
func appendFull(b []byte, kind string, version uint8, flags uint32, f func(b []byte) []byte) []byte {
	return appendBox(b, kind, func(b []byte) []byte {
		b = u32(b, uint32(version)<<24|flags)
		return f(b)
	})
}

func u16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func u32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func u64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }
func zeros(b []byte, n int) []byte  { return append(b, make([]byte, n)...) }
func nothing(b []byte) []byte       { return b }
func u32s(b []byte, v ...uint32) []byte {
	for _, v := range v {
		b = u32(b, v)
	}
	return b
}
