package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func TestVarint(t *testing.T) {
	// RFC 9000, appendix A.1, and the ends of the four lengths.
	varints := map[uint64]string{
		0: "00", 37: "25", 63: "3f",
		64: "40 40", 15293: "7b bd", 16383: "7f ff",
		16384: "80 00 40 00", 494878333: "9d 7f 3e 7d", 1<<30 - 1: "bf ff ff ff",
		1 << 30: "c0 00 00 00 40 00 00 00", 151288809941952652: "c2 19 7c 5e ff 14 e8 8c",
		MaxVarint: "ff ff ff ff ff ff ff ff",
	}
	for v, s := range varints {
		want, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendVarint(nil, v); !bytes.Equal(got, want) {
			t.Errorf("varint %d: appended % x, want % x", v, got, want)
		}
		if got := new(NewDecoder(want)).Varint(); got != v {
			t.Errorf("varint % x: read %d, want %d", want, got, v)
		}
	}
	if got := AppendVarint(nil, 1<<64-1); !bytes.Equal(got, AppendVarint(nil, MaxVarint)) {
		t.Errorf("a number beyond the largest is appended as % x", got)
	}
}

// TestDecoder holds that the first error stays and that nothing is taken with
// or after it.
func TestDecoder(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		read func(*Decoder)
		want error
	}{
		{"nothing", nil, func(d *Decoder) { d.Varint() }, ErrShort},
		{"half a number", []byte{0x40}, func(d *Decoder) { d.Varint() }, ErrShort},
		{"half a string", []byte{2, 'a'}, func(d *Decoder) { d.String("s", 2) }, ErrShort},
		{"string over its limit", []byte{3, 'a'}, func(d *Decoder) { d.String("s", 2) }, ErrMalformed},
		{"string that is not UTF-8", []byte{2, 0xc3, 0x28}, func(d *Decoder) { d.String("s", 2) }, ErrMalformed},
		{"failed on purpose", []byte{1}, func(d *Decoder) { d.Fail("because") }, ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDecoder(tt.b)
			tt.read(&d)
			first := d.Err()
			if !errors.Is(first, tt.want) {
				t.Fatalf("error %v, want %v", first, tt.want)
			}
			taken := d.Offset()
			d.Fail("later")
			if v, s, seq := d.Varint(), d.String("s", 1), d.OptSeq(); v != 0 || s != "" || seq != nil || d.Byte() != 0 || d.Take(0) != nil {
				t.Errorf("read something after an error: %d %q %v", v, s, seq)
			}
			if d.Err() != first || d.Offset() != taken {
				t.Errorf("error %v at %d after %v at %d", d.Err(), d.Offset(), first, taken)
			}
			if _, n, err := Finish(&d, 1); n != 0 || err != first {
				t.Errorf("finished with %d bytes, %v", n, err)
			}
		})
	}
}

// TestS17DeclaredLength holds that a length costs nothing before its bytes are
// there.
func TestS17DeclaredLength(t *testing.T) {
	b := AppendVarint(nil, MaxMessage)
	allocs := testing.AllocsPerRun(100, func() {
		d := NewDecoder(b)
		d.String("s", MaxMessage)
		if !errors.Is(d.Err(), ErrShort) {
			t.Fatal(d.Err())
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a string that is not there", allocs)
	}
}
