package qlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is where the files of a test are.
type disk struct {
	gate chan struct{} // if not nil, every write waits until it is closed

	mu    sync.Mutex
	files map[string]*bytes.Buffer // by path
	room  int                      // bytes until the disk is full
}

var errFull = errors.New("disk full")

func newDisk() *disk { return &disk{files: make(map[string]*bytes.Buffer), room: 1 << 40} }

func (d *disk) create(path string) (io.WriteCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := new(bytes.Buffer)
	d.files[path] = b
	return &file{d, b}, nil
}

// content returns the only file.
func (d *disk) content(t *testing.T) []byte {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.files) != 1 {
		t.Fatalf("there are %d files, want one", len(d.files))
	}
	for _, b := range d.files {
		return b.Bytes()
	}
	return nil
}

func (d *disk) bytes() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.files {
		n += b.Len()
	}
	return n
}

type file struct {
	disk *disk
	*bytes.Buffer
}

func (f *file) Write(p []byte) (int, error) {
	if f.disk.gate != nil {
		<-f.disk.gate
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if len(p) > f.disk.room {
		return 0, errFull
	}
	f.disk.room -= len(p)
	return f.Buffer.Write(p)
}

func (f *file) Close() error { return nil }

// running is a directory that is written to.
type running struct {
	*Directory
	lines *bytes.Buffer // of the log
	stop  func()

	mu      sync.Mutex
	dropped map[DropReason]int
}

// run writes to a disk until stop, in a bubble.
func run(t *testing.T, d *disk, maxBytes int64) *running {
	t.Helper()
	r := &running{lines: new(bytes.Buffer), dropped: make(map[DropReason]int)}
	var err error
	r.Directory, err = Open(Config{
		Path: t.TempDir(), Sample: 1, MaxBytes: maxBytes, Create: d.create,
		Log: slog.New(slog.NewTextHandler(r.lines, nil)),
		Dropped: func(reason DropReason) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.dropped[reason]++
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	r.stop = func() {
		cancel()
		running.Wait()
	}
	return r
}

// settle waits until Run has done what is due within d.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// session begins a trace that is held and kept.
func (r *running) session(t *testing.T, id string) *Trace {
	t.Helper()
	trace := r.Begin(id, false, "c0ffee")
	if trace == nil {
		t.Fatal("the connection is not written")
	}
	trace.Hold()
	trace.Keep()
	return trace
}

// record is a record of a file.
type record struct {
	Name string         `json:"name"`
	Time *float64       `json:"time"`
	Data map[string]any `json:"data"`
}

// parse holds that a file is a JSON text sequence with a header, and returns the
// records behind that.
func parse(t *testing.T, content []byte) []record {
	t.Helper()
	var records []record
	for i, text := range bytes.Split(content, []byte{recordSeparator}) {
		if i == 0 {
			if len(text) != 0 {
				t.Fatalf("the file begins with %q", text)
			}
			continue
		}
		if !bytes.HasSuffix(text, []byte("\n")) {
			t.Errorf("record %d does not end with a line feed", i)
		}
		var head header
		var r record
		into := any(&r)
		if i == 1 {
			into = &head
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("record %d: %v in %q", i, err, text)
		}
		if i == 1 {
			if head.SerializationFormat != "application/qlog+json-seq" {
				t.Errorf("the header is %s", text)
			}
			continue
		}
		if r.Name == "" || r.Time == nil || r.Data == nil {
			t.Errorf("record %d lacks a field: %s", i, text)
		}
		records = append(records, r)
	}
	return records
}

func names(records []record) string {
	var all []string
	for _, r := range records {
		all = append(all, r.Name)
	}
	return strings.Join(all, " ")
}

// text is an event with some text.
type text string

func (text) Name() string { return "test:text" }
func (e text) AppendJSON(b []byte, _ time.Time) ([]byte, error) {
	return append(append(append(b, `{"text":"`...), e...), `"}`+"\n"...), nil
}
