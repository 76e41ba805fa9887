package moq

import (
	"fmt"
	"time"
)

// MaxTimestamp is the highest timestamp of a frame.
const MaxTimestamp = 1<<61 - 1

// Readers are woken at the end of a frame, when so many bytes have come, or so
// long after the first byte they do not know: not for each packet, which would
// double the cost of fan-out.
const (
	flushBytes = 8 << 10
	flushDelay = 3 * time.Millisecond
)

// GroupWriter fills one group of a track. Its methods are for one goroutine,
// except Abort and Closed. Any error of a write aborts the group, because a
// group with a hole must never look complete.
type GroupWriter struct {
	group  *group
	closed chan struct{}

	// Owned by the writing goroutine.
	frame FrameWriter
	bytes int64  // declared sizes of all frames
	last  uint64 // timestamp of the last frame

	// Guarded by track.mu.
	frames    int
	short     bool // the last frame is not complete
	tail      *piece
	written   int // valid bytes of tail, of which readers know tail.filled
	unflushed int // bytes that readers were not woken for
	timer     *time.Timer
	armed     bool
}

// Sequence returns the group's number.
func (w *GroupWriter) Sequence() uint64 {
	return w.group.seq
}

// Closed returns a channel that is closed when the group was aborted: by
// Abort, because the track ended, or because nobody can get it any more.
func (w *GroupWriter) Closed() <-chan struct{} {
	return w.closed
}

// WriteFrame writes a whole frame, whose timestamp is that of its arrival. The
// payload is copied.
func (w *GroupWriter) WriteFrame(payload []byte) error {
	return w.writeFrame(payload, w.group.track.arrival(time.Now()))
}

// WriteFrameAt writes a whole frame of the given timestamp. The payload is
// copied.
func (w *GroupWriter) WriteFrameAt(payload []byte, timestamp uint64) error {
	w.group.track.stamped.Store(true)
	return w.writeFrame(payload, timestamp)
}

func (w *GroupWriter) writeFrame(payload []byte, timestamp uint64) error {
	p, err := w.begin(uint64(len(payload)), len(payload), timestamp)
	if err != nil {
		return err
	}
	copy(p.buf[p.prefix:], payload)
	return w.commit(p, len(payload))
}

// NewFrame starts a frame of the given size, as it is said on the wire, whose
// timestamp is that of its arrival. Memory is allocated as its bytes arrive. The
// frame before must be complete; its FrameWriter must not be used any more.
func (w *GroupWriter) NewFrame(size uint64) (*FrameWriter, error) {
	return w.newFrame(size, w.group.track.arrival(time.Now()))
}

// NewFrameAt is NewFrame for a frame of the given timestamp.
func (w *GroupWriter) NewFrameAt(size, timestamp uint64) (*FrameWriter, error) {
	w.group.track.stamped.Store(true)
	return w.newFrame(size, timestamp)
}

func (w *GroupWriter) newFrame(size, timestamp uint64) (*FrameWriter, error) {
	p, err := w.begin(size, w.group.track.firstRoom(size), timestamp)
	if err != nil {
		return nil, err
	}
	w.frame = FrameWriter{writer: w, piece: p, rest: size, used: p.prefix}
	if size == 0 {
		return &w.frame, w.commit(p, 0)
	}
	return &w.frame, nil
}

// Finish closes the group as complete. If its last frame is not, the group is
// aborted instead and [ErrTruncated] returned.
func (w *GroupWriter) Finish() error {
	g := w.group
	g.track.mu.Lock()
	defer g.track.mu.Unlock()
	switch {
	case g.state != open:
		return g.err
	case w.short:
		g.abortLocked(ErrTruncated, UpstreamReset, time.Now())
		return ErrTruncated
	default:
		g.finishLocked(time.Now())
		return nil
	}
}

// Abort closes the group before its end: readers get what is there, and then
// err. A clean err, or none, becomes [ErrTruncated]. On a closed group it does
// nothing.
func (w *GroupWriter) Abort(err error) {
	if isClean(err) {
		err = ErrTruncated
	}
	w.abort(err, UpstreamReset)
}

// begin starts a frame with a piece that has room for so many of its bytes.
func (w *GroupWriter) begin(size uint64, room int, timestamp uint64) (*piece, error) {
	if err := w.checkLimits(size, timestamp); err != nil {
		w.Abort(err)
		return nil, err
	}
	header := frameHeader{size: size, timestamp: timestamp, distance: int64(timestamp) - int64(w.last), arrived: time.Now()}
	w.last = timestamp
	if err := w.reserve(header.len() + room); err != nil {
		return nil, err
	}
	p := newFirstPiece(header, room)

	t := w.group.track
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.short {
		w.group.abortLocked(ErrTruncated, UpstreamReset, p.arrived)
	}
	if err := w.writableLocked(); err != nil {
		return nil, err
	}
	w.appendLocked(p)
	w.written, w.short = p.prefix, true
	w.group.stampLocked(timestamp)
	w.frames++
	w.bytes += int64(size)
	return p, nil
}

func (w *GroupWriter) checkLimits(size, timestamp uint64) error {
	limits := w.group.track.limits
	switch {
	case timestamp > MaxTimestamp:
		return &EndError{Reason: Malformed, Detail: fmt.Sprintf("timestamp %d is above %d", timestamp, uint64(MaxTimestamp))}
	case size > uint64(limits.MaxFrameSize):
		return &EndError{Reason: TooLarge, Detail: fmt.Sprintf("a frame of %d bytes is above the limit of %d", size, limits.MaxFrameSize)}
	case int64(size) > limits.MaxGroupBytes-w.bytes:
		return &EndError{Reason: TooLarge, Detail: fmt.Sprintf("a group is above the limit of %d bytes", limits.MaxGroupBytes)}
	case w.frames >= limits.MaxGroupFrames:
		return &EndError{Reason: TooLarge, Detail: fmt.Sprintf("a group is above the limit of %d frames", limits.MaxGroupFrames)}
	}
	return nil
}

// reserve charges the budget for a piece of so many bytes, if the group takes
// any.
func (w *GroupWriter) reserve(bytes int) error {
	if err := w.writable(); err != nil {
		return err
	}
	err := w.group.track.budget.reserve(w.group, int64(bytes)+pieceOverhead)
	if err != nil {
		w.abort(err, Memory)
	}
	return err
}

func (w *GroupWriter) writable() error {
	t := w.group.track
	t.mu.Lock()
	defer t.mu.Unlock()
	return w.writableLocked()
}

func (w *GroupWriter) abort(err error, reason DropReason) {
	t := w.group.track
	t.mu.Lock()
	defer t.mu.Unlock()
	w.group.abortLocked(err, reason, time.Now())
}

// writableLocked returns why the group takes no more bytes, or nil.
func (w *GroupWriter) writableLocked() error {
	switch w.group.state {
	case finished:
		return ErrEnded
	case aborted:
		return w.group.err
	default:
		return nil
	}
}

// appendLocked puts p, of which no byte is valid yet, behind the last piece.
func (w *GroupWriter) appendLocked(p *piece) {
	w.tail.next.Store(p)
	w.tail, w.written = p, 0
}

// commit makes n further bytes of p valid and wakes readers if it is time.
func (w *GroupWriter) commit(p *piece, n int) error {
	t := w.group.track
	t.mu.Lock()
	if err := w.writableLocked(); err != nil {
		t.mu.Unlock()
		return err
	}
	w.written += n
	w.unflushed += n
	isFull := w.written == len(p.buf)
	if isFull && p.last {
		w.short = false
		t.proven.Store(max(t.proven.Load(), p.size))
	}
	var wake chan struct{}
	switch {
	case isFull || w.unflushed >= flushBytes:
		w.revealLocked(p.arrived)
		wake, w.group.wake = w.group.wake, nil
	case !w.armed:
		w.armLocked()
	}
	t.mu.Unlock()
	if wake != nil {
		close(wake)
	}
	return nil
}

// revealLocked lets readers take all valid bytes.
func (w *GroupWriter) revealLocked(now time.Time) {
	w.disarmLocked()
	w.unflushed = 0
	n := int64(w.written) - w.tail.filled.Load()
	if n == 0 || w.short && w.written == w.tail.prefix {
		return // no byte of payload to show
	}
	g := w.group
	w.tail.filled.Store(int64(w.written))
	g.published.Add(n)
	g.track.reachedLocked(Location{g.seq, uint64(w.frames - 1)})
	if !g.shown {
		g.track.showLocked(g, now)
	}
	g.track.publishedLocked(n)
}

func (w *GroupWriter) armLocked() {
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(flushDelay, w.flush)
	} else {
		w.timer.Reset(flushDelay)
	}
}

func (w *GroupWriter) disarmLocked() {
	if w.armed {
		w.armed = false
		w.timer.Stop()
	}
}

// flush is called by the timer.
func (w *GroupWriter) flush() {
	t := w.group.track
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.armed {
		w.revealLocked(time.Now())
		w.group.wakeLocked()
	}
}
