package moq

import (
	"sync/atomic"
	"time"
)

const (
	// firstPiece and provenPiece bound what a frame's declared size allocates
	// before its first byte: the latter once a frame of the track was that large.
	firstPiece  = 4 << 10
	provenPiece = 64 << 10

	// Further pieces are as large as what has arrived of the frame, within these.
	minNextPiece = 16 << 10
	maxNextPiece = 1 << 20

	// pieceOverhead is charged for a piece beside its bytes, so that a million
	// frames of one byte are not free.
	pieceOverhead = 160
)

// piece is a contiguous part of a frame in its group: all of it, unless the
// frame is large and arrived slowly. Its bytes up to filled never change.
// Readers follow next without a lock.
type piece struct {
	// buf is payload; if the frame starts here, behind what goes before it on the
	// wire: the distance of its timestamp to that of the frame before it, and its
	// length.
	buf       []byte
	stamp     int    // bytes of the distance, 0 in further pieces
	prefix    int    // bytes of distance and length
	size      uint64 // declared size of the frame's payload
	last      bool   // the frame ends with buf
	timestamp uint64
	arrived   time.Time

	filled atomic.Int64 // bytes of buf that readers may take
	next   atomic.Pointer[piece]
}

// newFirstPiece returns the piece at the start of a frame, with room for so
// many bytes of its payload.
func newFirstPiece(f frameHeader, room int) *piece {
	buf := appendVarint(make([]byte, 0, f.len()+room), zigzag(f.distance))
	stamp := len(buf)
	buf = appendVarint(buf, f.size)
	prefix := len(buf)
	return &piece{
		buf: buf[:prefix+room], stamp: stamp, prefix: prefix,
		size: f.size, last: uint64(room) == f.size, timestamp: f.timestamp, arrived: f.arrived,
	}
}

// frameHeader is what is known of a frame before its payload.
type frameHeader struct {
	size      uint64
	timestamp uint64
	distance  int64 // of the timestamp to that of the frame before it in the group, or to 0
	arrived   time.Time
}

// len returns how many bytes go before the payload.
func (f frameHeader) len() int { return varintLen(zigzag(f.distance)) + varintLen(f.size) }

// nextPiece returns a piece to follow p in the same frame.
func (p *piece) nextPiece(room int, last bool) *piece {
	return &piece{buf: make([]byte, room), size: p.size, last: last, timestamp: p.timestamp, arrived: p.arrived}
}

// Chunk is the next contiguous part of a frame that a [GroupReader] came to: as
// much as has arrived, often the whole frame. Its bytes are shared by all
// readers and must not be changed; they stay valid after the reader is closed.
type Chunk struct {
	piece    *piece
	from, to int
}

// Prefixed returns the bytes of the chunk, behind the length of the frame as a
// QUIC varint if the frame starts here.
func (c Chunk) Prefixed() []byte {
	return c.piece.buf[max(c.from, c.piece.stamp):c.to:c.to]
}

// Stamped returns the bytes of the chunk; if the frame starts here, behind the
// distance of its timestamp to that of the frame before it in the group, or to
// 0, as a zigzag QUIC varint, and the length of the frame as a QUIC varint.
func (c Chunk) Stamped() []byte {
	return c.piece.buf[c.from:c.to:c.to]
}

// Timestamp returns when the frame is to be presented, in the units of the
// track's [Info].
func (c Chunk) Timestamp() uint64 {
	return c.piece.timestamp
}

// Payload returns the bytes of the payload in the chunk.
func (c Chunk) Payload() []byte {
	return c.piece.buf[max(c.from, c.piece.prefix):c.to:c.to]
}

// Start tells whether the frame starts with this chunk.
func (c Chunk) Start() bool {
	return c.from < c.piece.prefix
}

// End tells whether the frame is complete with this chunk.
func (c Chunk) End() bool {
	return c.piece.last && c.to == len(c.piece.buf)
}

// Size returns the size of the frame's payload as its publisher declared it.
func (c Chunk) Size() uint64 {
	return c.piece.size
}

// Arrived returns the time when the frame's header was complete.
func (c Chunk) Arrived() time.Time {
	return c.piece.arrived
}
