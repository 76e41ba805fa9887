package moq

import "encoding/binary"

// appendVarint appends n as a QUIC varint (RFC 9000, section 16).
func appendVarint(b []byte, n uint64) []byte {
	switch {
	case n < 1<<6:
		return append(b, byte(n))
	case n < 1<<14:
		return binary.BigEndian.AppendUint16(b, uint16(n)|1<<14)
	case n < 1<<30:
		return binary.BigEndian.AppendUint32(b, uint32(n)|2<<30)
	default:
		return binary.BigEndian.AppendUint64(b, n|3<<62)
	}
}

// zigzag makes small numbers of either sign small.
func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

// varintLen returns how many bytes appendVarint appends.
func varintLen(n uint64) int {
	switch {
	case n < 1<<6:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<30:
		return 4
	default:
		return 8
	}
}
