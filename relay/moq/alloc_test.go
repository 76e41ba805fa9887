package moq

import (
	"bytes"
	"io"
	"testing"
)

// The read path costs no allocation: not per frame, not per chunk, not per
// reader.
func TestReadingAllocatesNothing(t *testing.T) {
	const frames = 1000
	track := newTrack(t, TrackConfig{})
	g := create(t, track, 0)
	for range frames + 10 {
		write(t, g, "a frame of some bytes")
	}
	for name, read := range map[string]func(*GroupReader) error{
		"Next": func(r *GroupReader) error {
			c, err := r.Next(t.Context())
			if len(c.Prefixed()) != 1+len(c.Payload()) {
				return io.ErrShortWrite
			}
			return err
		},
		"NextFrame": func(r *GroupReader) error {
			_, err := r.NextFrame(t.Context())
			return err
		},
	} {
		r, _ := track.Group(0)
		if got := testing.AllocsPerRun(frames, func() {
			if err := read(r); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("%s allocates %v times per frame", name, got)
		}
		r.Close()
	}
}

// A frame costs its writer two allocations, the piece and its bytes, however
// many packets it comes in and however many readers have to be woken.
func TestWritingAllocatesOncePerFrame(t *testing.T) {
	track := newTrack(t, TrackConfig{})
	g := create(t, track, 0)
	payload := make([]byte, 40_000)
	if err := g.WriteFrame(payload); err != nil {
		t.Fatal(err)
	}
	var in bytes.Reader
	if got := testing.AllocsPerRun(100, func() {
		in.Reset(payload)
		f, err := g.NewFrame(uint64(len(payload)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadFrom(&packets{in: &in}); err != nil {
			t.Fatal(err)
		}
	}); got > 3 {
		t.Errorf("a frame costs %v allocations", got)
	}
}

// packets gives at most a packet per read.
type packets struct{ in io.Reader }

func (r *packets) Read(p []byte) (int, error) {
	return r.in.Read(p[:min(len(p), 1200)])
}
