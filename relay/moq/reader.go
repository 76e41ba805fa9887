package moq

import (
	"context"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// GroupReader reads one group from its first frame on. Next and NextFrame are
// for one goroutine, the other methods for any. It holds the group in memory
// until Close or Abort.
type GroupReader struct {
	group        *group
	subscription *Subscription // nil if the group was fetched
	done         chan struct{} // closed by dropLocked

	// Owned by the reading goroutine.
	piece *piece
	off   int   // bytes of piece that were taken
	taken int64 // bytes of the group that were taken

	sent    atomic.Int64 // bytes taken and done with
	dropped atomic.Bool  // reason is valid

	// Guarded by track.mu.
	slot   int // in group.readers
	closed bool
	reason DropReason // written before dropped
}

// Sequence returns the group's number.
func (r *GroupReader) Sequence() uint64 {
	return r.group.seq
}

// Done returns a channel that is closed when the reader is, or when the group is
// dropped for it, because too much is waiting for its subscription or because
// the relay is out of memory. A blocked write of its bytes should then be given
// up, and the reader closed.
func (r *GroupReader) Done() <-chan struct{} {
	return r.done
}

// Dropped returns why the group was dropped for this reader, and false if it was
// not.
func (r *GroupReader) Dropped() (DropReason, bool) {
	if !r.dropped.Load() {
		return 0, false
	}
	return r.reason, true
}

// Newest tells whether the group is the newest of its track.
func (r *GroupReader) Newest() bool {
	t := r.group.track
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest == r.group
}

// Age returns how long before now the first bytes of the group came.
func (r *GroupReader) Age(now time.Time) time.Duration {
	t := r.group.track
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(r.group.shownAt)
}

// Next waits for further bytes of the group and returns those that are there,
// up to the end of the current frame. With the call, those returned before
// count as sent. The error is [io.EOF] at the end of a finished group, what the
// group was aborted with after the last byte of an aborted one, or a
// [*DropError].
func (r *GroupReader) Next(ctx context.Context) (Chunk, error) {
	r.sent.Store(r.taken)
	for {
		if r.dropped.Load() {
			return Chunk{}, &DropError{r.reason}
		}
		if c, ok := r.take(); ok {
			return c, nil
		}
		if err := r.wait(ctx); err != nil {
			return Chunk{}, err
		}
	}
}

// Restart has Next begin again with the first frame, for a subscriber that did
// not take what it was sent. It is for the goroutine of Next.
func (r *GroupReader) Restart() {
	r.piece, r.off, r.taken = &r.group.start, 0, 0
	r.sent.Store(0)
}

// NextFrame waits for the next frame to be complete and returns its payload,
// which must not be changed. The errors are those of Next.
func (r *GroupReader) NextFrame(ctx context.Context) ([]byte, error) {
	c, err := r.Next(ctx)
	if err != nil {
		return nil, err
	}
	first := c.piece
	for !c.End() {
		if c, err = r.Next(ctx); err != nil {
			return nil, err
		}
	}
	if first.last {
		return first.buf[first.prefix:len(first.buf):len(first.buf)], nil
	}
	payload := slices.Grow([]byte(nil), int(first.size)) // all of it has arrived
	payload = append(payload, first.buf[first.prefix:]...)
	for p := first; !p.last; {
		p = p.next.Load()
		payload = append(payload, p.buf...)
	}
	return payload, nil
}

// Close gives up the group without a word: the subscriber got what it wanted.
func (r *GroupReader) Close() {
	t := r.group.track
	t.mu.Lock()
	defer t.mu.Unlock()
	r.closeLocked()
}

// Abort gives up the group and, unless it was dropped or closed before, tells
// the subscription's Dropped that it was not delivered.
func (r *GroupReader) Abort(reason DropReason) {
	t := r.group.track
	t.mu.Lock()
	defer t.mu.Unlock()
	r.dropLocked(reason)
	r.closeLocked()
}

// take returns the bytes that are there. It takes no lock.
func (r *GroupReader) take() (Chunk, bool) {
	if r.off == len(r.piece.buf) {
		next := r.piece.next.Load()
		if next == nil {
			return Chunk{}, false
		}
		r.piece, r.off = next, 0
	}
	filled := int(r.piece.filled.Load())
	if filled == r.off {
		return Chunk{}, false
	}
	c := Chunk{piece: r.piece, from: r.off, to: filled}
	r.taken += int64(filled - r.off)
	r.off = filled
	return c, true
}

// wait returns nil if there may be further bytes.
func (r *GroupReader) wait(ctx context.Context) error {
	wake, err := r.waiting()
	if wake == nil {
		return err
	}
	select {
	case <-wake:
		return nil
	case <-r.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// waiting returns a channel to wait for further bytes with, or nil if they are
// there already or, with an error, will not come.
func (r *GroupReader) waiting() (<-chan struct{}, error) {
	g := r.group
	g.track.mu.Lock()
	defer g.track.mu.Unlock()
	switch {
	case r.closed:
		return nil, ErrCancelled
	case r.taken < g.published.Load():
		return nil, nil
	case g.state == finished:
		return nil, io.EOF
	case g.state == aborted:
		return nil, g.err
	}
	if g.wake == nil {
		g.wake = make(chan struct{})
	}
	return g.wake, nil
}

// dropLocked tells the reader, and its subscription, that the group is dropped.
// The reader still has to be closed.
func (r *GroupReader) dropLocked(reason DropReason) {
	if r.closed || r.dropped.Load() {
		return
	}
	r.reason = reason
	r.dropped.Store(true)
	close(r.done)
	if r.subscription != nil {
		r.subscription.removeLocked(r)
		r.subscription.reportLocked(Range{r.group.seq, r.group.seq, reason})
	}
}

func (r *GroupReader) closeLocked() {
	if r.closed {
		return
	}
	r.closed = true
	if !r.dropped.Load() {
		close(r.done)
	}
	if r.subscription != nil {
		r.subscription.removeLocked(r)
		r.subscription.leaveLocked()
	}
	r.group.removeReaderLocked(r)
	r.group.unpinLocked()
}
