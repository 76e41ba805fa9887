package transport

import (
	"time"

	"github.com/coder/websocket"

	"github.com/moqrelay/moqrelay/relay/wire/qmux"
)

const (
	// maxControl is more than any control frame takes but parameters and a close,
	// which stand alone at the two ends of a connection.
	maxControl = 40
	// minSlice is the least of a Write that is cut off to fill a record.
	minSlice = 256
)

// write hands one record after the other to the socket, and in the end what the
// library has to say.
func (c *qmuxConn) write() {
	c.writeRecords()
	close(c.told)
	for {
		select {
		case <-c.socket.wake:
		case <-c.socket.done:
			return
		}
		if c.socket.flush() != nil {
			return
		}
	}
}

// writeRecords returns when the last record has been sent, or when none can be.
func (c *qmuxConn) writeRecords() {
	record := make([]byte, 0, qmux.MaxRecord)
	for {
		c.mu.Lock()
		r, last := c.recordLocked(record[:0])
		c.mu.Unlock()
		var err error
		if len(r) > 0 {
			err = c.ws.Write(c.gone, websocket.MessageBinary, r) // the socket keeps it: this does not block
		}
		if err == nil {
			err = c.socket.flush()
		}
		if err != nil {
			c.cannotWrite(err)
			return
		}
		if last {
			return
		}
		if len(r) == 0 {
			<-c.socket.wake
		}
	}
}

// cannotWrite lets the reader say how the connection ended: what the peer sent
// before it ended the connection says more than that there is nobody to write to.
func (c *qmuxConn) cannotWrite(err error) {
	c.mu.Lock()
	c.writeErr = err
	c.mu.Unlock()
	notify(c.room)
	_ = c.socket.SetReadDeadline(time.Now().Add(closeLinger))
}

// recordLocked makes the next record of what is most urgent, empty if there is
// nothing to send. The last one says goodbye.
func (c *qmuxConn) recordLocked(b []byte) (record []byte, last bool) {
	if c.owes.isClosing {
		return append(b, c.owes.closing...), true
	}
	b = c.controlRecordLocked(b)
	if c.hasRoom(b, qmux.MaxStreamHeader+1) {
		b = c.dataRecordLocked(b)
	}
	if len(b) > 0 {
		c.records++
		c.lastSent = time.Now()
	}
	return b, false
}

// hasRoom says whether another frame of n bytes goes into the record.
func (c *qmuxConn) hasRoom(b []byte, n int) bool {
	return len(b) == 0 || c.version.HasRecords() && len(b)+n <= qmux.MaxRecord
}

// controlRecordLocked adds the control frames, first those of the connection.
func (c *qmuxConn) controlRecordLocked(b []byte) []byte {
	add := func(f qmux.Frame) bool {
		if !c.hasRoom(b, maxControl) {
			return false
		}
		b = f.Append(b, c.version)
		return true
	}
	owes := &c.owes
	if owes.parameters {
		owes.parameters = false
		return qmux.Frame{Type: qmux.TransportParameters, Data: c.parametersLocked().Append(nil)}.Append(b, c.version)
	}
	for len(owes.responses) > 0 && add(qmux.Frame{Type: qmux.PingResponse, Sequence: owes.responses[0]}) {
		owes.responses = owes.responses[1:]
	}
	if owes.ping && add(qmux.Frame{Type: qmux.Ping, Sequence: c.lastPing + 1}) {
		owes.ping = false
		c.lastPing++
		c.pingSent = time.Now()
	}
	if owes.maxData && add(qmux.Frame{Type: qmux.MaxData, Limit: c.recvLimit}) {
		owes.maxData = false
	}
	for dir, t := range [2]qmux.Type{qmux.MaxStreamsBidi, qmux.MaxStreamsUni} {
		if owes.maxStreams[dir] && add(qmux.Frame{Type: t, Limit: c.acceptLimit[dir]}) {
			owes.maxStreams[dir] = false
		}
	}
	for len(c.controls) > 0 && c.streamControlsLocked(c.controls[0], add) {
		c.controls[0].listed = false
		c.controls[0] = nil
		c.controls = c.controls[1:]
	}
	return b
}

// streamControlsLocked adds the control frames of one stream, and reports whether
// it could add all of them.
func (c *qmuxConn) streamControlsLocked(s *qmuxStream, add func(qmux.Frame) bool) bool {
	if s.recv.stop {
		if !add(qmux.Frame{Type: qmux.StopSending, ID: s.id, Code: uint64(s.recv.code)}) {
			return false
		}
		s.recv.stop = false
	}
	if s.recv.window {
		if !add(qmux.Frame{Type: qmux.MaxStreamData, ID: s.id, Limit: s.recv.limit}) {
			return false
		}
		s.recv.window = false
	}
	if s.send.reset {
		if !add(qmux.Frame{Type: qmux.ResetStream, ID: s.id, Code: uint64(s.send.code), FinalSize: s.send.sent}) {
			return false
		}
		s.send.reset = false
		c.finishSendLocked(s)
	}
	return true
}

// parametersLocked are what we allow the peer.
func (c *qmuxConn) parametersLocked() qmux.Parameters {
	p := qmux.Parameters{
		MaxData:           c.recvLimit,
		MaxStreamDataOwn:  c.limits.streamWindow,
		MaxStreamDataPeer: c.limits.streamWindow,
		MaxStreamDataUni:  c.limits.streamWindow,
		MaxStreamsBidi:    c.acceptLimit[bidi],
		MaxStreamsUni:     c.acceptLimit[uni],
	}
	if c.version.HasPings() {
		p.IdleTimeout = uint64(c.timeouts.idle.Milliseconds())
	}
	if c.version.HasRecords() {
		p.MaxRecord = qmux.MaxRecord
	}
	return p
}

// dataRecordLocked fills the record with data, always of the stream that is first
// in the queue.
func (c *qmuxConn) dataRecordLocked(b []byte) []byte {
	for {
		s := c.firstSendableLocked()
		if s == nil {
			return b
		}
		room := qmux.MaxRecord - qmux.MaxStreamHeader - len(b)
		if !c.hasRoom(b, qmux.MaxStreamHeader) || room < min(minSlice, len(s.send.pending)) {
			return b
		}
		b = c.streamFrameLocked(b, s, room)
	}
}

// firstSendableLocked returns the stream to send from. Those that lack credit
// leave the queue until they have some.
func (c *qmuxConn) firstSendableLocked() *qmuxStream {
	for len(c.queue) > 0 {
		s := c.queue[0]
		switch {
		case len(s.send.pending) == 0:
			return s // its end needs no credit
		case s.send.sent >= s.send.credit:
		case c.sent >= c.sendLimit:
			c.starved = true
		default:
			return s
		}
		c.queue.remove(s)
	}
	return nil
}

// streamFrameLocked adds data of one stream, up to room bytes, and its end.
func (c *qmuxConn) streamFrameLocked(b []byte, s *qmuxStream, room int) []byte {
	send := &s.send
	n := int(min(uint64(min(room, len(send.pending))), send.credit-send.sent, c.sendLimit-c.sent))
	fin := send.fin && n == len(send.pending)
	b = qmux.AppendStreamHeader(b, c.version, s.id, send.sent, n, fin)
	b = append(b, send.pending[:n]...)
	send.pending = send.pending[n:]
	send.sent += uint64(n)
	c.sent += uint64(n)
	if len(send.pending) == 0 {
		send.pending = nil
		c.queue.remove(s)
		notify(s.writable)
	}
	if fin {
		c.finishSendLocked(s)
	} else if send.incremental {
		send.turn = c.nextOrderLocked()
		c.queue.moved(s)
	}
	return b
}

// enqueueLocked lets a stream that has something to send wait for its turn.
func (c *qmuxConn) enqueueLocked(s *qmuxStream) {
	if c.cause != nil || s.send.done || s.send.err != nil || len(s.send.pending) == 0 && !s.send.fin {
		return
	}
	c.queue.add(s)
	c.socket.kick()
}

func (c *qmuxConn) dequeueLocked(s *qmuxStream) { c.queue.remove(s) }

// controlLocked lets a stream send its control frames.
func (c *qmuxConn) controlLocked(s *qmuxStream) {
	if c.cause != nil || s.listed {
		return
	}
	s.listed = true
	c.controls = append(c.controls, s)
	c.socket.kick()
}
