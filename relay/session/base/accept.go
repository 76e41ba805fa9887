package base

import "github.com/moqrelay/moqrelay/relay/transport"

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
