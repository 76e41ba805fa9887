package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coder/websocket"

	"github.com/moqrelay/moqrelay/relay/wire/qmux"
)

// Codes of a connection that the peer made us end (RFC 9000, section 20.1).
const (
	faultFlowControl = 0x03
	faultStreamLimit = 0x04
	faultStreamState = 0x05
	faultFinalSize   = 0x06
	faultEncoding    = 0x07
	faultParameters  = 0x08
	faultProtocol    = 0x0a
)

// qmuxFault is what a peer did wrong.
type qmuxFault struct {
	code uint64
	text string
}

// Error returns the text.
func (f *qmuxFault) Error() string { return f.text }

func fault(code uint64, format string, args ...any) error {
	return &qmuxFault{code, fmt.Sprintf(format, args...)}
}

// read takes one message after the other from the WebSocket. After the end it
// goes on, for the peer's half of the goodbye.
func (c *qmuxConn) read() {
	buf := make([]byte, 0, 4<<10)
	for {
		c.waitForRoom()
		typ, r, err := c.ws.Reader(context.Background()) // ends with the socket
		if err == nil && typ == websocket.MessageText {
			c.fail(&CloseError{Err: errors.New("peer sent text where QMux is binary")}, websocket.StatusUnsupportedData, nil)
			return
		}
		if err == nil {
			buf, err = readMessage(r, buf[:0], c.version.MaxMessage())
		}
		if err != nil {
			c.readFailed(err)
			return
		}
		if err := c.handleMessage(buf); err != nil {
			c.broken(err)
		}
	}
}

// readMessage reads to the end of a message into buf, which grows with what has
// arrived and not with what was announced.
func readMessage(r io.Reader, buf []byte, limit int) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(2*cap(buf), limit+1))
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) && len(buf) <= limit {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
		if len(buf) > limit {
			return buf, websocket.ErrMessageTooBig
		}
	}
}

// readFailed says how the WebSocket ended below us.
func (c *qmuxConn) readFailed(err error) {
	if e, ok := errors.AsType[websocket.CloseError](err); ok {
		cause := &CloseError{Reason: shortReason(e.Reason), Remote: true}
		switch e.Code {
		case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		default:
			cause = &CloseError{Remote: true, Err: fmt.Errorf("peer ended the WebSocket with status %d: %q", e.Code, shortReason(e.Reason))}
		}
		c.fail(cause, websocket.StatusNormalClosure, nil)
		return
	}
	if errors.Is(err, websocket.ErrMessageTooBig) {
		// The library has said so to the peer.
		c.fail(&CloseError{Err: fmt.Errorf("peer sent a message of more than %d bytes", c.version.MaxMessage())}, websocket.StatusMessageTooBig, nil)
		return
	}
	c.mu.Lock()
	if c.writeErr != nil {
		err = c.writeErr
	}
	c.mu.Unlock()
	c.fail(&CloseError{Err: fmt.Errorf("WebSocket ended: %w", err)}, 0, nil)
}

// broken ends the connection for what the peer did, and tells it.
func (c *qmuxConn) broken(err error) {
	frame := qmux.Frame{Type: qmux.ConnectionClose, Code: faultProtocol, Reason: shortReason(err.Error())}
	if f, ok := errors.AsType[*qmuxFault](err); ok {
		frame.Code = f.code
	}
	c.fail(&CloseError{Err: fmt.Errorf("peer broke QMux: %w", err)}, websocket.StatusProtocolError, frame.Append(nil, c.version))
}

// waitForRoom waits until there is room for another message. Only the framing
// without flow control can lack it.
func (c *qmuxConn) waitForRoom() {
	for {
		c.mu.Lock()
		isFull := c.isFullLocked()
		c.mu.Unlock()
		if !isFull {
			return
		}
		<-c.room
	}
}

// isFullLocked says that the peer, which knows no credit, is not listened to until
// the application has taken something.
func (c *qmuxConn) isFullLocked() bool {
	if c.version.HasCredit() || c.cause != nil || c.writeErr != nil {
		return false
	}
	if c.received-c.consumed >= c.limits.connWindow {
		return true
	}
	for dir, limit := range c.limits.streams {
		if c.heldLocked(dir) >= limit && len(c.incoming[dir]) > 0 {
			return true
		}
	}
	return false
}

// heldLocked counts the peer's streams that have not ended, with those that were
// passed over and may still come.
func (c *qmuxConn) heldLocked(dir int) uint64 { return c.held[dir] + uint64(len(c.skipped[dir])) }

// handleMessage does what the frames of a message say.
func (c *qmuxConn) handleMessage(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for first := true; len(b) > 0 || first && !c.version.HasRecords(); first = false {
		f, n, err := qmux.Consume(b, c.version)
		if err != nil {
			return &qmuxFault{faultEncoding, err.Error()}
		}
		b = b[n:]
		if len(b) > 0 && !c.version.HasRecords() {
			return fault(faultProtocol, "more than one frame in a message of %v", c.version)
		}
		if c.cause != nil {
			return nil // we listen for the end alone
		}
		if err := c.handleLocked(f); err != nil {
			return err
		}
	}
	return nil
}

func (c *qmuxConn) handleLocked(f qmux.Frame) error {
	if c.version == qmux.Version02 && !c.known && f.Type != qmux.TransportParameters {
		return fault(faultProtocol, "frame %#x before the transport parameters", f.Type)
	}
	switch f.Type {
	case qmux.Stream:
		return c.streamLocked(f)
	case qmux.ResetStream, qmux.ResetStreamAt:
		return c.resetStreamLocked(f)
	case qmux.StopSending:
		return c.stopSendingLocked(f)
	case qmux.MaxStreamData:
		return c.maxStreamDataLocked(f)
	case qmux.MaxData:
		c.maxDataLocked(f.Limit)
	case qmux.MaxStreamsBidi:
		c.maxStreamsLocked(bidi, f.Limit)
	case qmux.MaxStreamsUni:
		c.maxStreamsLocked(uni, f.Limit)
	case qmux.TransportParameters:
		return c.parametersReceivedLocked(f)
	case qmux.Ping:
		return c.pingedLocked(f)
	case qmux.PingResponse:
		return c.pongedLocked(f)
	case qmux.ApplicationClose, qmux.ConnectionClose:
		c.closedLocked(f)
	default: // padding, being blocked, and datagrams, which may always be lost
	}
	return nil
}

// closedLocked ends the connection because the peer did. ConnectionClose is its
// transport's complaint, and carries no code of the application.
func (c *qmuxConn) closedLocked(f qmux.Frame) {
	reason := shortReason(f.Reason)
	cause := &CloseError{Code: clipCode(f.Code), Reason: reason, Remote: true}
	if f.Type == qmux.ConnectionClose && c.version.HasCredit() {
		cause = &CloseError{Remote: true, Err: fmt.Errorf("peer ended the connection with QMux error %#x: %q", f.Code, reason)}
	}
	c.failLocked(cause, websocket.StatusNormalClosure, nil)
}

func (c *qmuxConn) parametersReceivedLocked(f qmux.Frame) error {
	if c.known {
		return fault(faultProtocol, "transport parameters twice")
	}
	p, err := qmux.ConsumeParameters(f.Data, c.version)
	if err != nil {
		return &qmuxFault{faultParameters, err.Error()}
	}
	c.known, c.peer = true, p
	if idle := time.Duration(min(p.IdleTimeout, uint64(time.Hour.Milliseconds()))) * time.Millisecond; idle > 0 && c.version.HasPings() {
		c.idle = min(c.idle, idle)
	}
	c.maxDataLocked(p.MaxData)
	c.maxStreamsLocked(bidi, p.MaxStreamsBidi)
	c.maxStreamsLocked(uni, p.MaxStreamsUni)
	for _, s := range c.streams { // of a peer that opened some before
		s.send.credit = max(s.send.credit, c.firstCredit(s))
		c.enqueueLocked(s)
	}
	if c.version.HasPings() && c.timeouts.keepAlive >= 0 {
		c.owes.ping = true // measures the round trip
		c.socket.kick()
	}
	notify(c.rewatch)
	close(c.ready)
	return nil
}

func (c *qmuxConn) maxDataLocked(limit uint64) {
	if limit <= c.sendLimit {
		return
	}
	c.sendLimit = limit
	if c.starved {
		c.starved = false
		for _, s := range c.streams {
			c.enqueueLocked(s)
		}
	}
}

func (c *qmuxConn) maxStreamsLocked(dir int, limit uint64) {
	if limit <= c.openLimit[dir] {
		return
	}
	c.openLimit[dir] = limit
	if dir == bidi {
		notify(c.credit)
	}
}

func (c *qmuxConn) maxStreamDataLocked(f qmux.Frame) error {
	s, err := c.streamOfLocked(f.ID, sendingHalf)
	if s == nil || err != nil {
		return err
	}
	if f.Limit > s.send.credit {
		s.send.credit = f.Limit
		c.enqueueLocked(s)
	}
	return nil
}

func (c *qmuxConn) pingedLocked(f qmux.Frame) error {
	if c.version == qmux.Version02 && f.Sequence < c.peerPing {
		return fault(faultProtocol, "ping %d does not come after the last one", f.Sequence)
	}
	c.peerPing = f.Sequence + 1
	if !c.pings.allow(time.Now()) {
		return fault(faultProtocol, "too many pings")
	}
	c.owes.responses = append(c.owes.responses, f.Sequence) // bounded by the limiter, see below
	if len(c.owes.responses) > pingBurst {
		return fault(faultProtocol, "too many pings that could not be answered")
	}
	c.socket.kick()
	return nil
}

func (c *qmuxConn) pongedLocked(f qmux.Frame) error {
	if c.version == qmux.Version02 && f.Sequence > c.lastPing {
		return fault(faultProtocol, "response to the ping %d, which was not sent", f.Sequence)
	}
	if f.Sequence == c.lastPing && c.lastPing > 0 {
		c.measuredLocked(time.Since(c.pingSent))
	}
	return nil
}

// onPing says whether a ping of the WebSocket is answered. It need not be while an
// earlier answer has not left, and too many end the connection.
func (c *qmuxConn) onPing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pings.allow(time.Now()) {
		c.failLocked(&CloseError{Err: errors.New("peer broke QMux: too many pings of the WebSocket")}, websocket.StatusPolicyViolation, nil)
		return false
	}
	return c.socket.unflushed() < maxUnflushed/2
}

// The halves of a stream that a frame can be about.
const (
	receivingHalf = iota
	sendingHalf
)

// streamOfLocked returns the stream that a frame is about, which it opens if the
// peer just did, or nil if neither side needs it any more.
func (c *qmuxConn) streamOfLocked(id uint64, half int) (*qmuxStream, error) {
	dir, index := int(id>>1&1), id>>2
	isOurs := id&1 == 0 == c.client
	if dir == uni && isOurs != (half == sendingHalf) {
		return nil, fault(faultStreamState, "frame for the other side of stream %d", id)
	}
	if s := c.streams[id]; s != nil {
		return s, nil
	}
	if isOurs {
		if index >= c.opened[dir] {
			return nil, fault(faultStreamState, "frame for stream %d, which was not opened", id)
		}
		return nil, nil //nolint:nilnil // has ended
	}
	if index < c.next[dir] {
		if _, isNew := c.skipped[dir][index]; !isNew {
			return nil, nil //nolint:nilnil // has ended
		}
		delete(c.skipped[dir], index)
	} else if err := c.advanceLocked(dir, index); err != nil {
		return nil, err
	}
	s := c.newStreamLocked(id, false)
	c.incoming[dir] = append(c.incoming[dir], s)
	notify(c.arrived[dir])
	return s, nil
}

// advanceLocked takes note of the stream with that index and of those before it
// that are still to come. A framing without credit may not have more of both than
// it could with it.
func (c *qmuxConn) advanceLocked(dir int, index uint64) error {
	limit := c.acceptLimit[dir]
	if !c.version.HasCredit() {
		// Streams that wait to be accepted hold up the reader; those that the
		// application has and that do not end are the peer's doing.
		limit = c.next[dir] + c.limits.streams[dir] - min(c.limits.streams[dir], c.heldLocked(dir))
	}
	if index >= limit {
		return fault(faultStreamLimit, "stream %d is beyond the limit of %d", index<<2|uint64(dir)<<1, limit)
	}
	for ; c.next[dir] < index; c.next[dir]++ {
		c.skipped[dir][c.next[dir]] = struct{}{}
	}
	c.next[dir]++
	return nil
}

func (c *qmuxConn) streamLocked(f qmux.Frame) error {
	s, err := c.streamOfLocked(f.ID, receivingHalf)
	if err != nil {
		return err
	}
	n := uint64(len(f.Data))
	if s == nil || s.recv.fin || s.recv.done {
		if n > 0 {
			return fault(faultFinalSize, "data after the end of stream %d", f.ID)
		}
		return nil
	}
	r := &s.recv
	if f.HasOffset && f.Offset != r.received {
		return fault(faultProtocol, "stream %d continues at %d instead of %d", f.ID, f.Offset, r.received)
	}
	if err := c.receivedLocked(s, n); err != nil {
		return err
	}
	r.fin = f.Fin
	if r.err != nil { // nobody reads it
		c.creditLocked(len(f.Data))
	} else {
		r.append(f.Data)
	}
	if r.fin && r.buffered() == 0 {
		c.finishReceiveLocked(s)
	}
	if n > 0 || r.fin {
		notify(s.readable)
	}
	return nil
}

// append keeps data to be read.
func (r *qmuxReceive) append(data []byte) {
	if r.off > 0 && len(r.buf)+len(data) > cap(r.buf) {
		r.buf = append(r.buf[:0], r.buf[r.off:]...)
		r.off = 0
	}
	r.buf = append(r.buf, data...)
}

// receivedLocked counts bytes of a stream against the credit for them.
func (c *qmuxConn) receivedLocked(s *qmuxStream, n uint64) error {
	if c.version.HasCredit() {
		if n > s.recv.limit-s.recv.received {
			return fault(faultFlowControl, "stream %d is beyond its credit of %d", s.id, s.recv.limit)
		}
		if n > c.recvLimit-c.received {
			return fault(faultFlowControl, "connection is beyond its credit of %d", c.recvLimit)
		}
	}
	s.recv.received += n
	c.received += n
	return nil
}

func (c *qmuxConn) resetStreamLocked(f qmux.Frame) error {
	s, err := c.streamOfLocked(f.ID, receivingHalf)
	if s == nil || err != nil {
		return err
	}
	r := &s.recv
	if r.done || r.fin {
		return nil // all of it is here
	}
	if c.version.HasCredit() {
		if f.FinalSize < r.received {
			return fault(faultFinalSize, "stream %d ends at %d after %d bytes", f.ID, f.FinalSize, r.received)
		}
		missing := f.FinalSize - r.received
		if err := c.receivedLocked(s, missing); err != nil {
			return err
		}
		c.creditLocked(int(missing))
	}
	c.dropLocked(s)
	if r.err == nil {
		r.err = remoteError(f.Code)
	}
	c.finishReceiveLocked(s)
	notify(s.readable)
	return nil
}

func (c *qmuxConn) stopSendingLocked(f qmux.Frame) error {
	s, err := c.streamOfLocked(f.ID, sendingHalf)
	if s == nil || err != nil {
		return err
	}
	why := remoteError(f.Code)
	c.resetLocked(s, clipCode(f.Code), why, why)
	return nil
}
