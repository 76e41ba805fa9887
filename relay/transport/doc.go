// Package transport gives a session the few things it needs of QUIC,
// WebTransport and, where neither is to be had, QMux over WebSocket: streams with
// priorities, stream and session codes, and the certificate the peer proved. It
// is the only package that imports quic-go, webtransport-go and coder/websocket,
// and it knows nothing of the protocols spoken on its streams.
//
// An [Endpoint] owns one UDP socket. It accepts connections, HTTP/3 ones as
// WebTransport sessions and all others by their ALPN, and dials from the same
// socket. [Dial] opens a socket of its own. WebSockets come from an HTTP server of
// somebody else, by [Endpoint.ServeWebSocket].
//
// What always holds: a connection that is slow or broken never delays another;
// everything up to the answered CONNECT happens within one HandshakeTimeout; a
// [Conn] whose peer is gone, by whichever of the ways its kind has for it, has a Context that is done and says why with a [*CloseError].
package transport
