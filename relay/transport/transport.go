package transport

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"time"

	"github.com/moqrelay/moqrelay/relay/qlog"
)

// Kind says what carries a connection.
type Kind uint8

// The kinds of connection.
const (
	// QUIC is a QUIC connection whose streams carry the protocol's bytes from the first one on.
	QUIC Kind = iota
	// WebTransport is a WebTransport session, alone on its HTTP/3 connection.
	WebTransport
	// WebSocket is QMux over a WebSocket: streams over TCP, where there is no UDP.
	WebSocket
)

// String returns "quic", "webtransport" or "websocket".
func (k Kind) String() string {
	switch k {
	case WebTransport:
		return "webtransport"
	case WebSocket:
		return "websocket"
	default:
		return "quic"
	}
}

// Protocol is one ALPN of raw QUIC.
type Protocol struct {
	// ALPN is the name that is negotiated, such as "moqf-02".
	ALPN string
	// MapStreamCodes says that RESET_STREAM and STOP_SENDING carry their codes
	// mapped into the range of WebTransport even though there is no HTTP/3, as
	// moq-relay 0.6.8 does on "moqf-02". Both forms are understood in any case.
	MapStreamCodes bool
}

// Conn is one connection to a peer, ready for streams. Its methods may be
// called concurrently.
type Conn interface {
	// Kind says what carries the connection.
	Kind() Kind
	// ID names the connection and its session in the log, at /sessions and in the
	// name of its qlog file. The peer does not know it.
	ID() string
	// Qlog is what is written down about the connection, nil if nothing is.
	Qlog() *qlog.Trace
	// Protocol is the ALPN on raw QUIC, on WebTransport the negotiated sub-protocol
	// or "", and on WebSocket the application's part of that or "".
	Protocol() string
	// Path is the escaped path?query of the WebTransport or WebSocket request, "" on
	// raw QUIC.
	Path() string
	// RemoteAddr is the peer's address.
	RemoteAddr() net.Addr
	// LocalAddr is our own address.
	LocalAddr() net.Addr
	// Since is when the first packet of a connection that was accepted came in, or
	// its WebSocket request, or when one that was dialed was ready.
	Since() time.Time
	// PeerCertificate is the leaf of the certificate that the peer presented and
	// that was verified, or nil.
	PeerCertificate() *x509.Certificate
	// PeerChain is PeerCertificate and the intermediates that came with it, or nil.
	PeerChain() []*x509.Certificate

	// AcceptStream waits for the next bidirectional stream of the peer.
	AcceptStream(ctx context.Context) (Stream, error)
	// OpenStream opens a bidirectional stream and waits for the credit to do so.
	// The peer learns of the stream with the first Write.
	OpenStream(ctx context.Context) (Stream, error)
	// AcceptUniStream waits for the next unidirectional stream of the peer.
	AcceptUniStream(ctx context.Context) (ReceiveStream, error)
	// OpenUniStream opens a unidirectional stream. It never waits: without credit
	// the error is [ErrNoCredit].
	OpenUniStream() (SendStream, error)

	// TakesDatagrams tells whether there are datagrams on this connection. Over
	// WebSocket there are none.
	TakesDatagrams() bool
	// SendDatagram sends one datagram, which may be lost. It waits for those before
	// it to leave. Where there are none, or none that large, the error is
	// [ErrNoDatagrams].
	SendDatagram(b []byte) error
	// ReceiveDatagram waits for the next datagram of the peer. Few are kept for who
	// does not call it in time.
	ReceiveDatagram(ctx context.Context) ([]byte, error)

	// CloseWithError ends the connection with an application code. Context is done
	// at once; the call returns when the peer has been told, which over WebTransport
	// and WebSocket can take a quarter of a second: close many connections at once, not
	// one after the other. Streams that were not closed are given up. Only the first
	// call has an effect.
	CloseWithError(code uint32, reason string) error
	// Context is done when the connection is gone: closed by either side, timed
	// out, or, on WebTransport, its CONNECT stream ended, on WebSocket its TCP
	// connection. context.Cause gives a
	// [*CloseError].
	Context() context.Context
	// Stats are the connection's counters.
	Stats() Stats
}

// SendStream is the sending side of a stream. Write and Close are for one
// goroutine, everything else may be called from any.
//
// An error of Write after the peer's STOP_SENDING is a [*StreamError].
type SendStream interface {
	io.Writer
	// Close finishes the stream: the peer reads all that was written, then the end.
	Close() error
	// CancelWrite resets the stream; a blocked Write returns. After Close it gives
	// up what has not been delivered.
	CancelWrite(code uint32)
	// SetPriority places the stream's data against that of the connection's other
	// streams: urgency 0 is sent first, 7 last. Streams of one urgency are sent in
	// the order they were opened, or, if incremental, in turns.
	//
	// On streams that the peer opened over WebTransport it has no effect: they
	// stand behind urgency 0 and at the side of urgency 1.
	SetPriority(urgency uint8, incremental bool)
	// SetWriteDeadline bounds this and later Writes.
	SetWriteDeadline(t time.Time) error
	// Stopped is closed when nothing more can be sent: the peer sent STOP_SENDING,
	// the stream was closed or reset here, or the connection is gone.
	Stopped() <-chan struct{}
	// StopCode says why Stopped is closed: a remote [*StreamError] if the peer asked
	// for it, the connection's [*CloseError] if that ended, nil if Stopped is open or
	// this side closed or reset the stream.
	StopCode() error
}

// ReceiveStream is the receiving side of a stream. Read is for one goroutine,
// everything else may be called from any.
//
// An error of Read after the peer's RESET_STREAM is a [*StreamError].
type ReceiveStream interface {
	io.Reader
	// CancelRead asks the peer to stop sending; a blocked Read returns.
	CancelRead(code uint32)
	// SetReadDeadline bounds this and later Reads.
	SetReadDeadline(t time.Time) error
}

// Stream is a bidirectional stream.
type Stream interface {
	SendStream
	ReceiveStream
}

// Stats are counters of one connection. Over WebSocket the packets are messages,
// and none is lost that one could see.
type Stats struct {
	SmoothedRTT   time.Duration
	PacketsSent   uint64
	PacketsLost   uint64
	BytesSent     uint64
	BytesReceived uint64
}
