// Package transport gives a session the few things it needs of QUIC and
// WebTransport: streams with priorities, stream and session codes, and the
// certificate the peer proved. It is the only package that imports quic-go and
// webtransport-go, and it knows nothing of the protocols spoken on its streams.
//
// An [Endpoint] owns one UDP socket. It accepts connections, HTTP/3 ones as
// WebTransport sessions and all others by their ALPN, and dials from the same
// socket. [Dial] opens a socket of its own.
//
// What always holds: a connection that is slow or broken never delays another;
// everything up to the answered CONNECT happens within one HandshakeTimeout; a
// [Conn] whose peer is gone, by whichever of the ways QUIC and WebTransport
// have for it, has a Context that is done and says why with a [*CloseError].
package transport
