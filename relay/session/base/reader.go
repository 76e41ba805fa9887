package base

import (
	"errors"
	"fmt"
	"io"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// smallBuffer is what a stream costs until more than that has arrived.
const smallBuffer = 64

// Reader reads messages, and what lies between them, from a stream. It holds no
// more than it was sent: a stream that stops after one byte stays cheap.
type Reader struct {
	stream io.Reader
	buf    []byte // read from the stream, not yet consumed from off on
	off    int
	small  [smallBuffer]byte
}

// NewReader returns a reader of what comes on a stream.
func NewReader(stream io.Reader) *Reader {
	r := &Reader{stream: stream}
	r.buf = r.small[:0]
	return r
}

// Next waits for a message. The error is [io.EOF] if the stream ended before
// it, [io.ErrUnexpectedEOF] if it ended inside.
func Next[T any](r *Reader, consume func([]byte) (T, int, error)) (T, error) {
	for {
		message, n, err := consume(r.buf[r.off:])
		if err == nil {
			r.off += n
			return message, nil
		}
		if errors.Is(err, wire.ErrShort) {
			err = r.Fill()
		}
		if err != nil {
			var none T
			return none, err
		}
	}
}

// Fill reads what has arrived behind what is buffered.
func (r *Reader) Fill() error {
	pending := copy(r.buf, r.buf[r.off:])
	r.buf, r.off = r.buf[:pending], 0
	if pending >= wire.MaxMessage {
		return fmt.Errorf("%w: longer than %d bytes", wire.ErrMalformed, wire.MaxMessage)
	}
	if pending == cap(r.buf) {
		r.buf = append(make([]byte, 0, 4*pending), r.buf...)
	}
	n, err := r.stream.Read(r.buf[pending:cap(r.buf)])
	r.buf = r.buf[:pending+n]
	switch {
	case n > 0:
		return nil
	case errors.Is(err, io.EOF) && pending > 0:
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}

// Read takes what is buffered and then reads from the stream itself.
func (r *Reader) Read(p []byte) (int, error) {
	if r.off < len(r.buf) {
		n := copy(p, r.buf[r.off:])
		r.off += n
		return n, nil
	}
	return r.stream.Read(p)
}

// Buffered returns what was read and not yet consumed.
func (r *Reader) Buffered() []byte { return r.buf[r.off:] }

// Skip consumes n of the bytes that are buffered.
func (r *Reader) Skip(n int) { r.off += n }
