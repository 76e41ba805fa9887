package base

import (
	"errors"
	"io"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// AcceptRequests serves the peer's bidirectional streams, each by a goroutine of
// its own, until the connection ends.
func (b *Base) AcceptRequests(serve func(transport.Stream)) {
	ctx := b.Conn.Context()
	for {
		stream, err := b.Conn.AcceptStream(ctx)
		if err != nil {
			b.AwaitEnd()
			return
		}
		if !b.Spawn(func() { serve(stream) }) {
			return
		}
	}
}

// AcceptUni receives the peer's unidirectional streams, each by a goroutine of its
// own, until the connection ends.
func (b *Base) AcceptUni(receive func(transport.ReceiveStream)) {
	ctx := b.Conn.Context()
	for {
		stream, err := b.Conn.AcceptUniStream(ctx)
		if err != nil {
			return
		}
		if !b.Spawn(func() { receive(stream) }) {
			return
		}
	}
}

// Request reads the message that a stream begins with. If there is none, the
// stream is refused.
func Request[T any](b *Base, stream transport.Stream, r *Reader, consume func([]byte) (T, int, error)) (T, bool) {
	message, err := Next(r, consume)
	if err != nil {
		b.RefuseRequest(stream, err)
		return message, false
	}
	_ = stream.SetReadDeadline(time.Time{}) // a stream that is gone fails at the next use
	return message, true
}

// RefuseRequest ends a stream that did not say what it is for. Streams that die
// before their first byte are no one's fault.
func (b *Base) RefuseRequest(stream transport.Stream, err error) {
	if errors.Is(err, io.EOF) {
		_ = stream.Close() // nothing was asked for
		return
	}
	b.Log.Debug("stream refused", "error", err)
	if e, ok := errors.AsType[*transport.StreamError](err); ok && e.Remote {
		err = moq.ErrCancelled
	}
	b.Refuse(stream, err)
}

// SetDeadline bounds both directions of a stream.
func SetDeadline(stream transport.Stream, t time.Time) error {
	return errors.Join(stream.SetReadDeadline(t), stream.SetWriteDeadline(t))
}
