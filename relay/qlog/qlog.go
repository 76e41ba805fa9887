// Package qlog writes down what happens on connections: a file for each session,
// with the events of QUIC and those of MoQ in the order of their time, as tools
// such as qvis read it. It stands at the very bottom, knows neither QUIC nor a
// protocol, and gets events of both from transport and session.
//
// What always holds: whoever records an event never waits, neither for the disk
// nor for another connection. Files, their bytes and the events that wait to be
// written have bounds; what is beyond them is dropped and counted by reason. A
// disk that is slow, full or gone costs events and never a session. A connection
// that no session came of leaves no file.
//
// A [Trace] collects the events of one connection. One goroutine, that of
// [Directory.Run], takes them from all traces, encodes them and writes them.
package qlog

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxTraces is how many connections are traced at a time. Each has a file open,
	// and a process may open 1024 on many a machine.
	maxTraces = 256
	// maxQueued is how many events of all traces wait to be written: some megabytes.
	maxQueued = 16 << 10
	// maxFile is how large a file becomes.
	maxFile = 32 << 20
	// passInterval is the time between two passes over all traces, and wakeAt the
	// events of one trace for which a pass comes early.
	passInterval = 100 * time.Millisecond
	wakeAt       = maxQueued / 16
)

// Extension is how the names of files end, behind the id of the session.
const Extension = ".sqlog"

// DropReason says why an event is in no file.
type DropReason string

// The reasons.
const (
	DroppedQueue  DropReason = "queue"  // the disk is slower than the events
	DroppedLimit  DropReason = "limit"  // the file, or all of them, are as large as they may be
	DroppedDisk   DropReason = "disk"   // the file cannot be written
	DroppedEncode DropReason = "encode" // a bug in what encodes it
)

// Config says what is written, and where.
type Config struct {
	// Path is the directory. It is made if it is not there.
	Path string
	// Sample is the fraction of connections that are written, 0 to 1.
	Sample float64
	// MaxBytes bounds all files together that this process writes.
	MaxBytes int64
	// Log gets a line when files cannot be written, and when MaxBytes is reached.
	Log *slog.Logger
	// Dropped counts an event. It is called from any goroutine and must not block.
	Dropped func(DropReason)
	// Create makes a file that is not there yet. Nil: on disk.
	Create func(path string) (io.WriteCloser, error)
}

// Directory is where files are written.
type Directory struct {
	// Static after Open.
	config Config
	wake   chan struct{} // holds 1: a pass is due

	queued atomic.Int64 // events of all traces
	isFull atomic.Bool  // MaxBytes is reached

	mu     sync.Mutex
	traces map[*Trace]struct{} // nil once Run has ended

	// Owned by Run.
	written  int64
	warnedAt time.Time
}

// Open returns a directory that Run writes to, or why that cannot be done.
func Open(c Config) (*Directory, error) {
	if err := os.MkdirAll(c.Path, 0o700); err != nil {
		return nil, err
	}
	probe, err := os.CreateTemp(c.Path, ".probe-")
	if err != nil {
		return nil, err
	}
	_ = probe.Close() // nothing was written
	if err := os.Remove(probe.Name()); err != nil {
		return nil, err
	}
	if c.Create == nil {
		c.Create = create
	}
	return &Directory{config: c, wake: make(chan struct{}, 1), traces: make(map[*Trace]struct{})}, nil
}

// create makes a file that only this user reads: it tells who watched what.
func create(path string) (io.WriteCloser, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// Begin returns the trace of a connection that has just begun, nil if it is not
// to be written. id is that of the session to be, and group what tells this
// connection from others at both of its ends.
func (d *Directory) Begin(id string, isClient bool, group string) *Trace {
	if d == nil || d.isFull.Load() || rand.Float64() >= d.config.Sample {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.traces == nil || len(d.traces) >= maxTraces {
		return nil
	}
	t := &Trace{id: id, isClient: isClient, group: group, began: time.Now(), directory: d}
	d.traces[t] = struct{}{}
	return t
}

// Run writes until ctx is done, and then what has been recorded by then.
func (d *Directory) Run(ctx context.Context) {
	ticker := time.NewTicker(passInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-d.wake:
		case <-ctx.Done():
			d.close()
			return
		}
		d.pass()
	}
}

// pass writes what the traces have, and forgets those that are over.
func (d *Directory) pass() {
	for _, t := range d.all() {
		b := t.take()
		d.write(t, b)
		if b.isOver {
			d.forget(t)
		}
	}
}

// close ends all traces, and writes what they have.
func (d *Directory) close() {
	for _, t := range d.all() {
		t.end()
	}
	d.pass()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.traces = nil
}

// all returns the traces, the oldest first.
func (d *Directory) all() []*Trace {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*Trace, 0, len(d.traces))
	for t := range d.traces {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *Trace) int { return a.began.Compare(b.began) })
	return all
}

func (d *Directory) forget(t *Trace) {
	d.mu.Lock()
	delete(d.traces, t)
	d.mu.Unlock()
	if t.file != nil {
		if err := t.file.Close(); err != nil {
			d.warn(err)
		}
	}
}

// path is that of the file of a trace.
func (d *Directory) path(t *Trace) string { return filepath.Join(d.config.Path, t.id+Extension) }

// warnInterval is the least time between two lines about the disk.
const warnInterval = time.Minute

// warn tells that a file cannot be written, once for all that fail in a while.
func (d *Directory) warn(err error) {
	if !d.warnedAt.IsZero() && time.Since(d.warnedAt) < warnInterval {
		return
	}
	d.warnedAt = time.Now()
	d.config.Log.Warn("qlog cannot be written; sessions go on without", "dir", d.config.Path, "error", err)
}

// fill notes that no byte more may be written.
func (d *Directory) fill() {
	if !d.isFull.Swap(true) {
		d.config.Log.Warn("qlog has as many bytes as it may; nothing more is written", "dir", d.config.Path, "bytes", d.written)
	}
}
