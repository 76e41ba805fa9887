// Package qmux turns QMux frames into bytes and back: QUIC's streams, credit
// and codes over one ordered channel, here the binary messages of a WebSocket.
// It knows the wire versions qmux-00, qmux-01 and qmux-02, and the framing
// without flow control that came before them and is offered as "webtransport".
// It does no I/O, starts no goroutine and keeps no state of a connection.
//
// In qmux-01 and qmux-02 a message is a record of one or more frames back to
// back, in the other two exactly one frame. A frame begins with a varint [Type].
//
// What always holds: Consume never panics and never allocates by a length it
// has not checked; its errors wrap [ErrShort] for a frame that the message cuts
// off and [ErrMalformed] for one that no further bytes can repair; what it
// returns is appended as bytes that it reads as the same frame again.
package qmux
