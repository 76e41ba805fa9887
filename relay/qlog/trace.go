package qlog

import (
	"io"
	"sync"
	"time"
)

// Event is something that happened on a connection. It is encoded later than
// recorded, by another goroutine.
type Event interface {
	// Name is that of the event, behind that of its schema and a colon.
	Name() string
	// AppendJSON adds the data of the event, an object, to b.
	AppendJSON(b []byte, at time.Time) ([]byte, error)
}

// headTimeout is how long a connection may take to become a session. It is
// beyond all that connections are given.
const headTimeout = time.Minute

// Trace is what is written about one connection. Its methods are for any
// goroutine; those of nil, which is the trace of a connection that is not
// written, do nothing.
type Trace struct {
	// Static after Begin.
	id        string
	isClient  bool
	group     string
	began     time.Time
	directory *Directory

	mu      sync.Mutex
	queue   []entry
	lost    int        // events that the queue had no room for, since the last pass
	holders int        // who may still record
	isOver  bool       // nobody records any more
	isKept  bool       // it became a session
	stopped DropReason // why nothing more is written; "" while it is

	// Owned by Run.
	file    io.WriteCloser // nil before the first byte is written
	size    int64          // of what was written
	pending []byte         // records that are to be written
}

// entry is an event in a queue.
type entry struct {
	at    time.Time
	event Event
}

// ID is the id of the session, which is also the name of its file.
func (t *Trace) ID() string {
	if t == nil {
		return ""
	}
	return t.id
}

// Keep says that the connection has become a session: now there is a file.
func (t *Trace) Keep() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.isKept = true
}

// Hold keeps the file open for one more that records, until it calls Release. It
// reports whether that is still possible.
func (t *Trace) Hold() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isOver {
		return false
	}
	t.holders++
	return true
}

// Release takes back a Hold. With the last one the trace is over.
func (t *Trace) Release() {
	t.mu.Lock()
	t.holders--
	isLast := t.holders == 0
	t.mu.Unlock()
	if isLast {
		t.end()
	}
}

// end has the next pass close the file.
func (t *Trace) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.isOver = true
}

// Record notes an event that happens now.
func (t *Trace) Record(e Event) {
	if t == nil {
		return
	}
	if reason := t.add(entry{time.Now(), e}); reason != "" {
		t.directory.config.Dropped(reason)
	}
}

// add returns why an event is dropped, "" if it is not.
func (t *Trace) add(e entry) DropReason {
	d := t.directory
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.isOver:
		return ""
	case t.stopped != "":
		return t.stopped
	case d.queued.Add(1) > maxQueued:
		d.queued.Add(-1)
		t.lost++
		return DroppedQueue
	}
	t.queue = append(t.queue, e)
	if len(t.queue) == wakeAt {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	return ""
}

// batch is what a pass takes from a trace.
type batch struct {
	entries        []entry
	lost           int
	isKept, isOver bool
}

// take empties the queue.
func (t *Trace) take() batch {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isKept && time.Since(t.began) > headTimeout {
		t.isOver = true
	}
	b := batch{t.queue, t.lost, t.isKept, t.isOver}
	t.queue, t.lost = nil, 0
	t.directory.queued.Add(-int64(len(b.entries)))
	return b
}

// stop has nothing more recorded, for a reason.
func (t *Trace) stop(reason DropReason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = reason
}

// stopReason returns why stop was called, "" if it was not.
func (t *Trace) stopReason() DropReason {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopped
}
