package transport

import (
	"errors"
	"io"
	"math"
	"os"
	"time"

	"github.com/moqrelay/moqrelay/relay/wire/qmux"
)

var errWriteAfterClose = errors.New("write on closed stream")

// Direction of a stream, and what it is counted by.
const (
	bidi = 0
	uni  = 1
)

// qmuxStream is a stream of a qmuxConn. One that goes one way uses one half only.
type qmuxStream struct {
	// Static after construction.
	conn     *qmuxConn
	id       uint64
	dir      int
	ours     bool   // we opened it
	order    uint64 // among all streams of the connection, by when they came to be
	readable chan struct{}
	writable chan struct{}
	stopped  chan struct{}

	// Guarded by conn.mu.
	accepted bool // given out by Accept, or ours
	listed   bool // among those that have control frames to send
	send     qmuxSend
	recv     qmuxReceive
}

var _ Stream = (*qmuxStream)(nil)

// qmuxSend is the sending half.
type qmuxSend struct {
	pending  []byte // of the Write that waits
	sent     uint64 // bytes handed to the writer
	credit   uint64 // how many the peer takes
	fin      bool   // closed here
	done     bool   // FIN or reset were handed to the writer, or there is no such half
	err      error  // of further Writes
	stopCode error  // what StopCode says once stopped is closed
	isStop   bool   // stopped is closed
	reset    bool   // RESET_STREAM is to be sent
	code     uint32 // with this code
	deadline deadline

	urgency     uint8
	incremental bool
	turn        uint64 // place among streams of one urgency
	index       int    // in the queue of streams, -1 outside
}

// qmuxReceive is the receiving half.
type qmuxReceive struct {
	buf      []byte // received and not read, from off on
	off      int
	received uint64
	limit    uint64 // how much the peer may send
	fin      bool   // nothing follows what was received
	done     bool   // nothing is to be received or read any more, or there is no such half
	err      error  // of further Reads
	stop     bool   // STOP_SENDING is to be sent
	code     uint32 // with this code
	window   bool   // MAX_STREAM_DATA is to be sent
	deadline deadline
}

func (r *qmuxReceive) buffered() int { return len(r.buf) - r.off }

// deadline of reads or writes, guarded by the connection's mu.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set has wake notified when the deadline has passed.
func (d *deadline) set(t time.Time, wake chan struct{}) {
	d.stop()
	d.at = t
	notify(wake) // it may have passed
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() { notify(wake) })
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) hasPassed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// Write returns when the last byte has been taken into a record, the one that is
// about to be handed to the socket. Nothing is taken while another one is still
// on its way there.
func (s *qmuxStream) Write(p []byte) (int, error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.writeErrorLocked(); err != nil || len(p) == 0 {
		return 0, err
	}
	s.send.pending = p
	c.enqueueLocked(s)
	for {
		c.mu.Unlock()
		<-s.writable
		c.mu.Lock()
		if len(s.send.pending) == 0 {
			return len(p), nil
		}
		if err := s.writeErrorLocked(); err != nil {
			n := len(p) - len(s.send.pending)
			s.send.pending = nil
			c.dequeueLocked(s)
			return n, err
		}
	}
}

func (s *qmuxStream) writeErrorLocked() error {
	switch {
	case s.send.err != nil:
		return s.send.err
	case s.send.fin:
		return errWriteAfterClose
	case s.send.deadline.hasPassed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close queues the end of the stream.
func (s *qmuxStream) Close() error {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.send.err != nil {
		return s.send.err
	}
	if !s.send.fin {
		s.send.fin = true
		s.stopLocked(nil)
		c.enqueueLocked(s)
	}
	return nil
}

// CancelWrite queues a reset in the place of all that was not sent.
func (s *qmuxStream) CancelWrite(code uint32) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resetLocked(s, code, &StreamError{Code: code, Raw: uint64(code)}, nil)
}

// stopLocked says that nothing more is sent, and why.
func (s *qmuxStream) stopLocked(why error) {
	s.send.deadline.stop()
	if !s.send.isStop {
		s.send.isStop = true
		s.send.stopCode = why
		close(s.stopped)
	}
}

// SetPriority takes effect on what is not in a record yet.
func (s *qmuxStream) SetPriority(urgency uint8, incremental bool) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	s.send.urgency, s.send.incremental = min(urgency, 7), incremental
	if !incremental {
		s.send.turn = s.order
	}
	c.queue.moved(s)
}

// SetWriteDeadline bounds this and later Writes.
func (s *qmuxStream) SetWriteDeadline(t time.Time) error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.send.deadline.set(t, s.writable)
	return nil
}

// Stopped is closed when nothing more can be sent.
func (s *qmuxStream) Stopped() <-chan struct{} { return s.stopped }

// StopCode says why Stopped is closed.
func (s *qmuxStream) StopCode() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.send.stopCode
}

// Read returns what has been received.
func (s *qmuxStream) Read(p []byte) (int, error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		r := &s.recv
		switch {
		case r.err != nil:
			return 0, r.err
		case r.buffered() > 0 && len(p) > 0:
			n := copy(p, r.buf[r.off:])
			r.off += n
			c.consumedLocked(s, n)
			return n, nil
		case r.buffered() == 0 && r.fin:
			return 0, io.EOF
		case r.deadline.hasPassed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		c.mu.Unlock()
		<-s.readable
		c.mu.Lock()
	}
}

// CancelRead drops what was received and queues a STOP_SENDING.
func (s *qmuxStream) CancelRead(code uint32) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.recv.done || s.recv.err != nil {
		return
	}
	s.recv.err = &StreamError{Code: code, Raw: uint64(code)}
	s.recv.deadline.stop()
	c.dropLocked(s)
	if !s.recv.done { // the FIN is still to come
		s.recv.stop, s.recv.code = true, code
		c.controlLocked(s)
	}
	notify(s.readable)
}

// SetReadDeadline bounds this and later Reads.
func (s *qmuxStream) SetReadDeadline(t time.Time) error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.recv.deadline.set(t, s.readable)
	return nil
}

// remoteError is what a code of the peer says about a stream.
func remoteError(code uint64) *StreamError {
	return &StreamError{Code: clipCode(code), Raw: code, Remote: true}
}

// clipCode returns an application's code, which has 32 bits here as elsewhere and
// is not mapped.
func clipCode(code uint64) uint32 { return uint32(min(code, math.MaxUint32)) }

// newStreamLocked returns a stream that the connection knows from now on.
func (c *qmuxConn) newStreamLocked(id uint64, ours bool) *qmuxStream {
	s := &qmuxStream{
		conn: c, id: id, dir: int(id >> 1 & 1), ours: ours, accepted: ours,
		order:    c.nextOrderLocked(),
		readable: make(chan struct{}, 1),
		writable: make(chan struct{}, 1),
		stopped:  make(chan struct{}),
	}
	s.send.index = -1
	s.send.urgency = peerStreamUrgency // as on QUIC, until SetPriority
	s.send.turn = s.order
	s.send.done = s.dir == uni && !ours
	s.recv.done = s.dir == uni && ours
	s.recv.limit = c.limits.streamWindow
	s.send.credit = c.firstCredit(s)
	c.streams[id] = s
	if !ours {
		c.held[s.dir]++
	}
	return s
}

// firstCredit is how much of a new stream the peer takes.
func (c *qmuxConn) firstCredit(s *qmuxStream) uint64 {
	switch {
	case !c.version.HasCredit():
		return qmuxUnlimited
	case s.dir == uni:
		return c.peer.MaxStreamDataUni
	case s.ours:
		return c.peer.MaxStreamDataPeer // we are the peer of the one who sent this
	default:
		return c.peer.MaxStreamDataOwn
	}
}

// consumedLocked gives credit back for n bytes that the application has read.
func (c *qmuxConn) consumedLocked(s *qmuxStream, n int) {
	r := &s.recv
	if r.buffered() == 0 {
		r.buf, r.off = r.buf[:0], 0
		if cap(r.buf) > qmux.MaxRecord {
			r.buf = nil
		}
		if r.fin {
			c.finishReceiveLocked(s)
		}
	}
	c.creditLocked(n)
	if !c.version.HasCredit() || r.fin || r.done {
		return
	}
	if taken := r.received - uint64(r.buffered()); r.limit-taken <= c.limits.streamWindow/2 {
		r.limit = taken + c.limits.streamWindow
		r.window = true
		c.controlLocked(s)
	}
}

// creditLocked gives back the connection's credit for n bytes.
func (c *qmuxConn) creditLocked(n int) {
	c.consumed += uint64(n)
	if !c.version.HasCredit() {
		notify(c.room)
		return
	}
	if c.recvLimit-c.consumed <= c.limits.connWindow/2 {
		c.recvLimit = c.consumed + c.limits.connWindow
		c.owes.maxData = true
		c.socket.kick()
	}
}

// dropLocked gives up what a stream has received and will receive.
func (c *qmuxConn) dropLocked(s *qmuxStream) {
	n := s.recv.buffered()
	s.recv.buf, s.recv.off = nil, 0
	c.creditLocked(n)
	if s.recv.fin {
		c.finishReceiveLocked(s)
	}
}

// finishReceiveLocked says that the receiving half needs nothing any more.
func (c *qmuxConn) finishReceiveLocked(s *qmuxStream) {
	if s.recv.done {
		return
	}
	s.recv.done = true
	s.recv.stop, s.recv.window = false, false
	s.recv.deadline.stop()
	c.forgetLocked(s)
}

// finishSendLocked says the same of the sending half.
func (c *qmuxConn) finishSendLocked(s *qmuxStream) {
	s.send.done = true
	s.send.deadline.stop()
	c.dequeueLocked(s)
	c.forgetLocked(s)
}

// forgetLocked ends what the connection knows of a stream if it needs neither
// half any more, and lets the peer open another one in its place. Streams that
// were not accepted count on: who resets them at once may not fill the queue.
func (c *qmuxConn) forgetLocked(s *qmuxStream) {
	if !s.send.done || !s.recv.done || !s.accepted || c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if s.ours {
		c.open[s.dir]--
		notify(c.credit)
		return
	}
	c.held[s.dir]--
	notify(c.room)
	if c.version.HasCredit() {
		c.acceptLimit[s.dir]++
		c.owes.maxStreams[s.dir] = true
		c.socket.kick()
	}
}

// resetLocked ends the sending half: err is for Writes, why for StopCode.
func (c *qmuxConn) resetLocked(s *qmuxStream, code uint32, err, why error) {
	if s.send.done || s.send.err != nil {
		return
	}
	s.send.err = err
	s.send.fin = false
	s.send.reset, s.send.code = true, code
	s.stopLocked(why)
	c.dequeueLocked(s)
	c.controlLocked(s)
	notify(s.writable)
}
