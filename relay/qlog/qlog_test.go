package qlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFile: what is recorded is in the file of the session, with its time.
func TestFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		r := run(t, d, 1<<30)
		trace := r.Begin("0a1b2c", true, "c0ffee")
		trace.Hold()
		trace.Record(text("in the handshake"))
		settle(time.Second)
		if len(d.files) != 0 {
			t.Error("there is a file before there is a session")
		}
		trace.Keep()
		trace.Record(SessionStarted{"moq-lite-06", "quic", "client"})
		trace.Hold()
		trace.Release()
		time.Sleep(2500 * time.Microsecond)
		trace.Record(SessionEnded{`"quoted"`})
		trace.Release()
		trace.Record(text("after the end"))
		settle(time.Second)
		r.stop()

		at := []float64{0, 1000, 1002.5}
		want := []record{
			{"test:text", &at[0], map[string]any{"text": "in the handshake"}},
			{"moq:session_started", &at[1], map[string]any{"protocol": "moq-lite-06", "transport": "quic", "peer": "client"}},
			{"moq:session_ended", &at[2], map[string]any{"reason": `"quoted"`}},
		}
		if diff := cmp.Diff(want, parse(t, d.content(t))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, ok := d.files[filepath.Join(r.config.Path, "0a1b2c.sqlog")]; !ok {
			t.Errorf("the files are %v", d.files)
		}
		if len(r.traces) != 0 || r.queued.Load() != 0 {
			t.Errorf("%d traces and %d events are left", len(r.traces), r.queued.Load())
		}
	})
}

// TestU31SlowDisk: while the disk does not answer, whoever records goes on at
// once; what there is no room for is counted, and the file says where it is
// missing.
func TestU31SlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.gate = make(chan struct{})
		r := run(t, d, 1<<30)
		trace := r.session(t, "a")
		trace.Record(text("first"))
		settle(time.Second) // Run waits for the disk
		const lost = 1000
		for range maxQueued + lost {
			trace.Record(text("next"))
		}
		beside := r.session(t, "b")
		beside.Record(text("of another"))
		if got := r.dropped[DroppedQueue]; got != lost+1 {
			t.Errorf("%d events are dropped, want %d", got, lost+1)
		}
		beside.Release()
		close(d.gate)
		settle(time.Second)
		trace.Record(text("last"))
		trace.Release()
		r.stop()
		records := parse(t, d.files[r.path(trace)].Bytes())
		if len(records) != maxQueued+3 {
			t.Fatalf("%d records, want %d", len(records), maxQueued+3)
		}
		gap := records[len(records)-2]
		if gap.Name != "moq:events_lost" || gap.Data["count"] != float64(lost) {
			t.Errorf("in the place of what is lost stands %+v", gap)
		}
	})
}

// TestU31FullDisk: a disk that is full is told of in one line, costs the events,
// and is tried again by the next session.
func TestU31FullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.room = 2000
		r := run(t, d, 1<<30)
		for i := range 20 {
			trace := r.session(t, fmt.Sprint(i))
			for range 30 {
				trace.Record(text("event"))
				settle(passInterval)
			}
			trace.Release()
			settle(passInterval)
			if i == 9 && strings.Count(r.lines.String(), "\n") != 1 {
				t.Errorf("half a minute of it is told as\n%s", r.lines)
			}
		}
		if r.dropped[DroppedDisk] < 19*25 {
			t.Errorf("%d events are counted", r.dropped[DroppedDisk])
		}
		d.room = 1 << 20
		trace := r.session(t, "later")
		trace.Record(text("event"))
		trace.Release()
		r.stop()
		if got := names(parse(t, d.files[r.path(trace)].Bytes())); got != "test:text" {
			t.Errorf("with room again there is %q", got)
		}
	})
}

// TestFileLimit: a file stays below its limit and says that it is not whole.
func TestFileLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		r := run(t, d, 1<<30)
		trace := r.session(t, "a")
		large := text(strings.Repeat("x", 1<<20))
		for range 50 {
			trace.Record(large)
			settle(passInterval)
		}
		trace.Release()
		r.stop()
		records := parse(t, d.content(t))
		last := records[len(records)-1]
		if last.Name != "moq:file_ended" || last.Data["limit"] != "file" {
			t.Errorf("the last record is %+v", last)
		}
		if size := d.bytes(); size > maxFile || size < maxFile-2<<20 {
			t.Errorf("the file has %d bytes, want %d at most", size, maxFile)
		}
		if r.dropped[DroppedLimit] != 50-(len(records)-1) {
			t.Errorf("%d events are counted of %d in the file", r.dropped[DroppedLimit], len(records)-1)
		}
	})
}

// TestDirectoryLimit: all files together stay below theirs, and no more begin.
func TestDirectoryLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		const limit = 1 << 20
		r := run(t, d, limit)
		var traces []*Trace
		for i := range 20 {
			traces = append(traces, r.session(t, fmt.Sprint(i)))
		}
		for range 200 {
			for _, trace := range traces {
				trace.Record(text(strings.Repeat("x", 1000)))
			}
			settle(passInterval)
		}
		if size := d.bytes(); size > limit || size < limit-64<<10 {
			t.Errorf("the files have %d bytes, want %d at most", size, limit)
		}
		for _, trace := range traces {
			trace.Release()
		}
		if r.Begin("late", false, "") != nil {
			t.Error("a further connection is written")
		}
		r.stop()
		if got := strings.Count(r.lines.String(), "\n"); got != 1 {
			t.Errorf("it is told as\n%s", r.lines)
		}
		for path, b := range d.files {
			records := parse(t, b.Bytes())
			if len(records) == 0 {
				t.Errorf("%s has no record", path)
			}
		}
	})
}

// TestNoSession: connections that come to nothing leave no file, and do not
// stand in the way of others for long.
func TestNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		r := run(t, d, 1<<30)
		var traces []*Trace
		for range maxTraces {
			trace := r.Begin("x", false, "")
			trace.Hold()
			for range 200 {
				trace.Record(text(strings.Repeat("x", 1000)))
			}
			settle(passInterval)
			if len(trace.pending) > maxHead {
				t.Fatalf("%d bytes wait for a session", len(trace.pending))
			}
			traces = append(traces, trace)
		}
		if r.Begin("one more", false, "") != nil {
			t.Errorf("%d connections are written at a time", maxTraces+1)
		}
		for _, trace := range traces[1:] {
			trace.Release()
		}
		settle(headTimeout + time.Second) // the first is never released
		if len(r.traces) != 0 {
			t.Errorf("%d traces are left", len(r.traces))
		}
		r.stop()
		if len(d.files) != 0 {
			t.Errorf("there are %d files", len(d.files))
		}
	})
}

// broken is an event that cannot be encoded.
type broken struct{ text }

func (broken) AppendJSON([]byte, time.Time) ([]byte, error) { panic("unknown") }

// TestEncoders: neither a bug in an encoder nor what a peer says spoils a file.
func TestEncoders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		r := run(t, d, 1<<30)
		trace := r.session(t, "a")
		trace.Record(broken{})
		trace.Record(text("not \xff UTF-8"))
		trace.Release()
		r.stop()
		records := parse(t, d.content(t))
		if got := names(records); got != "test:text moq:events_lost" || records[0].Data["text"] != "not \uFFFD UTF-8" {
			t.Errorf("the records are %+v", records)
		}
		if r.dropped[DroppedEncode] != 1 {
			t.Errorf("%v are counted", r.dropped)
		}
	})
}

func TestSample(t *testing.T) {
	for _, sample := range []float64{0, 0.25, 1} {
		d, err := Open(Config{Path: t.TempDir(), Sample: sample, MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for range 4000 {
			if trace := d.Begin("x", false, ""); trace != nil {
				got++
				d.forget(trace)
			}
		}
		if want := int(4000 * sample); got < want-200 || got > want+200 {
			t.Errorf("%v: %d of 4000 connections are written", sample, got)
		}
	}
}

// TestOpen: a directory that cannot be used is an error at once; one that is not
// there is made, for its owner alone.
func TestOpen(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "a", "b")
	if _, err := Open(Config{Path: path}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if left, err := os.ReadDir(path); err != nil || len(left) != 0 {
		t.Errorf("%v is left behind, %v", left, err)
	}
	regular := filepath.Join(parent, "file")
	if err := os.WriteFile(regular, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{regular, filepath.Join(regular, "below"), "/proc/nowhere"} {
		if _, err := Open(Config{Path: bad}); err == nil {
			t.Errorf("%s can be used", bad)
		}
	}
}

// TestOffCostsNothing pins what a session costs that is not written.
func TestOffCostsNothing(t *testing.T) {
	var none *Directory
	if n := testing.AllocsPerRun(100, func() {
		trace := none.Begin("", false, "")
		trace.Keep()
		trace.Record(nil)
		if trace.Hold() || trace.ID() != "" {
			t.Error("there is a trace")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	d, err := Open(Config{Path: b.TempDir(), Sample: 1, MaxBytes: 1 << 40, Dropped: func(DropReason) {}})
	if err != nil {
		b.Fatal(err)
	}
	trace := d.Begin("x", false, "")
	trace.Hold()
	trace.Keep()
	var e Event = text("event")
	for b.Loop() {
		trace.Record(e)
		if len(trace.queue) == wakeAt {
			trace.take()
		}
	}
}
