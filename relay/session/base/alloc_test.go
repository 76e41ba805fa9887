package base

import (
	"context"
	"net"
	"testing"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/qlog"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
	"github.com/moqrelay/moqrelay/relay/wire"
)

// sink is a connection whose streams take everything at once.
type sink struct {
	transport.Conn
	ctx context.Context //nolint:containedctx // what Context returns
}

func (c sink) Context() context.Context                     { return c.ctx }
func (c sink) Kind() transport.Kind                         { return transport.QUIC }
func (c sink) RemoteAddr() net.Addr                         { return nil }
func (c sink) Qlog() *qlog.Trace                            { return nil }
func (c sink) Stats() transport.Stats                       { return transport.Stats{} }
func (c sink) CloseWithError(uint32, string) error          { return nil }
func (c sink) OpenUniStream() (transport.SendStream, error) { return &sinkStream{}, nil }

type sinkStream struct {
	transport.SendStream
	writes, bytes int
}

func (s *sinkStream) Write(p []byte) (int, error) { s.writes++; s.bytes += len(p); return len(p), nil }
func (s *sinkStream) Close() error                { return nil }
func (s *sinkStream) CancelWrite(uint32)          {}
func (s *sinkStream) SetPriority(uint8, bool)     {}

// plain is a subscriber whose groups have the shortest of headers.
type plain struct{}

func (plain) AppendHeader(b []byte, sequence uint64) []byte {
	return wire.AppendVarint(append(b, 0), sequence)
}
func (plain) Bytes(chunk moq.Chunk) []byte                      { return chunk.Prefixed() }
func (plain) AppendStart(b []byte, _ uint64) []byte             { return b }
func (plain) AppendEnd(b []byte, _ uint64) []byte               { return b }
func (plain) AppendDrop(b []byte, _, _ uint64, _ uint32) []byte { return b }
func (plain) TooEarly(uint32, bool) bool                        { return false }

type noCodes struct{}

func (noCodes) Stream(error) uint32         { return 0 }
func (noCodes) Session(error) uint32        { return 0 }
func (noCodes) Reason(uint32) *moq.EndError { return &moq.EndError{} }
func (noCodes) SessionEnd(uint32) bool      { return true }

// sending returns a subscription to a track, without anybody at the other end.
func sending(t testing.TB, track *moq.Track) *Delivery {
	t.Helper()
	b := New(sink{ctx: t.Context()}, session.Config{}, false, noCodes{})
	b.Traffic = b.Config.Metrics.Traffic("client")
	d := b.NewDelivery(0, nil, plain{})
	if err := d.Subscribe(func() (*moq.Track, error) { return track, nil }, moq.SubscribeOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// TestFrameCost pins what a frame costs on its way out: one Write and no
// allocation; and the first one no more than the others.
func TestFrameCost(t *testing.T) {
	const frames = 1000
	track := moq.NewTrack(moq.TrackConfig{})
	d := sending(t, track)
	write := func(seq uint64, n int) {
		g, err := track.CreateGroup(seq)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := g.WriteFrame(make([]byte, 200)); err != nil {
				t.Fatal(err)
			}
		}
		_ = g.Finish()
	}
	send := func() *sinkStream {
		group, err := d.sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		str := &sinkStream{}
		g := &sender{down: d, group: group, stream: str, sequence: group.Sequence()}
		d.addSender(g)
		g.run()
		return str
	}
	write(0, frames)
	if str := send(); str.writes != frames || str.bytes != frames*202+2 {
		t.Errorf("%d frames of 202 bytes were %d bytes in %d writes", frames, str.bytes, str.writes)
	}
	seq := uint64(0)
	cost := func(frames int) float64 {
		for range 2 { // the first is a rehearsal
			seq++
			write(seq, frames)
		}
		return testing.AllocsPerRun(1, func() { _ = send() })
	}
	few, many := cost(10), cost(frames) // sampling its age costs a little
	t.Logf("%v allocations for a group of 10 frames, %v for one of %d", few, many, frames)
	if perFrame := (many - few) / frames; perFrame > 0.03 {
		t.Errorf("%v allocations per frame", perFrame)
	}
}
