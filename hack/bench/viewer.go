package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/transport"
	"github.com/moqrelay/moqrelay/relay/wire"
)

// audience is all viewers, and what they got while measuring is set.
type audience struct {
	measuring atomic.Bool
	bytes     atomic.Int64
	frames    atomic.Int64
	latency   histogram

	viewers []*viewer
	wg      sync.WaitGroup
}

// viewer is one session that watches the track.
type viewer struct {
	client   *client
	audience *audience

	mu     sync.Mutex
	groups map[uint64]struct{} // that came whole
	broken int
}

// join opens a session and subscribes, unless the load is idle.
func (a *audience) join(ctx context.Context, t *topology, load workload) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := connect(ctx, t.edge().addr, t.pool, t.speak)
	if err != nil {
		return fmt.Errorf("viewer: %w", err)
	}
	v := &viewer{client: c, audience: a, groups: make(map[uint64]struct{})}
	a.viewers = append(a.viewers, v)
	if load.isIdle() {
		return nil
	}
	a.wg.Go(v.receive)
	stream, err := c.speak.subscribe(ctx, c)
	if err != nil {
		return fmt.Errorf("viewer: subscribe: %w", err)
	}
	_ = stream.SetReadDeadline(time.Time{})
	a.wg.Go(func() { _, _ = io.Copy(io.Discard, stream) }) // drops show as missing groups
	return nil
}

// leave ends all sessions.
func (a *audience) leave() {
	var closing sync.WaitGroup
	for _, v := range a.viewers {
		closing.Go(v.client.close)
	}
	closing.Wait()
	a.wg.Wait()
}

// receive reads groups until the session ends.
func (v *viewer) receive() {
	ctx := v.client.conn.Context()
	for {
		stream, err := v.client.conn.AcceptUniStream(ctx)
		if err != nil {
			return
		}
		v.audience.wg.Go(func() { v.receiveGroup(stream) })
	}
}

// buffers are for reading: a frame of payload is thrown away piece by piece.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (v *viewer) receiveGroup(stream transport.ReceiveStream) {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	r := groupReader{stream: stream, buf: buf[:]}
	sequence, err := v.readGroup(&r)
	if errors.Is(err, errNoGroup) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if errors.Is(err, io.EOF) {
		v.groups[sequence] = struct{}{}
	} else {
		v.broken++
	}
}

// errNoGroup says that a stream is not that of a group.
var errNoGroup = errors.New("no group")

// readGroup returns [io.EOF] for a group that came whole.
func (v *viewer) readGroup(r *groupReader) (uint64, error) {
	sequence, err := v.client.speak.readGroup(r)
	if err != nil {
		return 0, noEOF(err)
	}
	for {
		size, err := v.client.speak.readFrame(r)
		if err != nil {
			return sequence, err // an EOF here is the group's end
		}
		stamp, err := r.frame(size)
		if err != nil {
			return sequence, noEOF(err)
		}
		if a := v.audience; a.measuring.Load() {
			a.bytes.Add(int64(size))
			a.frames.Add(1)
			a.latency.add(time.Since(began) - stamp)
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// groupReader reads a group into one buffer, over and over.
type groupReader struct {
	stream io.Reader
	buf    []byte
	from   int
	to     int
}

// fill reads behind what has not been consumed.
func (r *groupReader) fill() error {
	r.to = copy(r.buf, r.buf[r.from:r.to])
	r.from = 0
	n, err := r.stream.Read(r.buf[r.to:])
	r.to += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) && r.to > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

func consume[T any](r *groupReader, f func([]byte) (T, int, error)) (T, error) {
	for {
		message, n, err := f(r.buf[r.from:r.to])
		if err == nil {
			r.from += n
			return message, nil
		}
		if !errors.Is(err, wire.ErrShort) {
			return message, err
		}
		if err := r.fill(); err != nil {
			return message, err
		}
	}
}

// frame reads a payload and returns the stamp at its start.
func (r *groupReader) frame(size int) (time.Duration, error) {
	for r.to-r.from < stampBytes {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	stamp := time.Duration(binary.BigEndian.Uint64(r.buf[r.from:]))
	for {
		n := min(size, r.to-r.from)
		r.from += n
		if size -= n; size == 0 {
			return stamp, nil
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
}

// lost returns how many groups from first to last did not come whole, over all
// viewers.
func (a *audience) lost(first, last uint64) int {
	lost := 0
	for _, v := range a.viewers {
		v.mu.Lock()
		for sequence := first; sequence <= last; sequence++ {
			if _, ok := v.groups[sequence]; !ok {
				lost++
			}
		}
		v.mu.Unlock()
	}
	return lost
}

// gone returns how many sessions have ended.
func (a *audience) gone() int {
	return len(slices.Collect(func(yield func(*viewer) bool) {
		for _, v := range a.viewers {
			if v.client.conn.Context().Err() != nil && !yield(v) {
				return
			}
		}
	}))
}
