package moq

import (
	"slices"
	"time"
)

// A group whose publisher is lost in the middle of it can be suspended: its
// readers wait, and whoever resumes the track goes on where it stopped.

// Suspend leaves an open group to be resumed within a time. The writer must not be
// used any more.
func (w *GroupWriter) Suspend(within time.Duration) {
	t := w.group.track
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.group.state != open {
		return
	}
	t.suspended = append(t.suspended, w)
	if t.err != nil {
		t.abandonLocked(func(seq uint64) bool { return seq == w.group.seq })
		return
	}
	time.AfterFunc(within, t.Abandon)
}

// Resume takes a suspended group back. It has so many whole frames, and of the next
// one the first part bytes of its payload; frame is what goes on with that, nil if
// it has not begun.
func (t *Track) Resume(seq uint64) (w *GroupWriter, frames int, part uint64, frame *FrameWriter, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.suspended, func(w *GroupWriter) bool { return w.group.seq == seq })
	if i < 0 {
		return nil, 0, 0, nil, false
	}
	w = t.suspended[i]
	t.suspended = slices.Delete(t.suspended, i, i+1)
	if w.group.state != open {
		return nil, 0, 0, nil, false
	}
	if !w.short {
		return w, w.frames, 0, nil, true
	}
	return w, w.frames - 1, w.frame.piece.size - w.frame.rest, &w.frame, true
}

// holes is how far behind the newest group one may be that has not come, and is
// still expected.
const holes = 16

// Unfinished returns the first group that is suspended or has been overtaken, or the
// one after the newest; false if the track has had no group.
func (t *Track) Unfinished() (uint64, bool) {
	newest, ok := t.Newest()
	t.mu.Lock()
	defer t.mu.Unlock()
	next := newest + 1
	if len(t.cache) > 0 && ok {
		first := max(t.cache[0].seq, newest-min(newest, holes))
		for _, r := range t.absentLocked(first, newest) {
			next = min(next, r.First)
		}
	}
	for _, w := range t.suspended {
		next = min(next, w.group.seq)
	}
	return next, ok
}

// Abandon gives up the groups that are suspended still.
func (t *Track) Abandon() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abandonLocked(func(uint64) bool { return true })
}

// abandonLocked gives up the suspended groups that match.
func (t *Track) abandonLocked(match func(seq uint64) bool) {
	now := time.Now()
	t.suspended = slices.DeleteFunc(t.suspended, func(w *GroupWriter) bool {
		if !match(w.group.seq) {
			return false
		}
		w.group.abortLocked(ErrTruncated, UpstreamReset, now)
		return true
	})
}
