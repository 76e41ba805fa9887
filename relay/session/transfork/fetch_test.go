package transfork

import (
	"testing"

	"github.com/moqrelay/moqrelay/relay/moq"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// TestB13Fetch: a cached group from an offset on; what is not cached is refused.
func TestB13Fetch(t *testing.T) {
	const fetch = "03 01 05 636c6f636b 80 "
	bubble(t, nil, func(w *world) {
		track := w.Publish("clock")
		w.Group(track, 19, "old")
		g := w.Open(track, 20, "2024-11-07 05:20:", "18")
		p := w.client()
		whole := p.OpenStream(fetch + "14 00")
		whole.Want("11 323032342d31312d30372030353a32303a 02 3138")
		part := p.OpenStream(fetch + "14 12") // U10
		part.Want("02 3138")
		inside := p.OpenStream(fetch + "14 10")
		inside.Want("30 3a 02 3138")
		_ = g.WriteFrame([]byte("19"))
		_ = g.Finish()
		for _, s := range []*stream{whole, part, inside} {
			s.Want("02 3139")
			s.WantEOF()
		}
		kept := p.OpenStream(fetch + "13 00")
		kept.Want("03 6f6c64")
		kept.WantEOF()
		end := p.OpenStream(fetch + "14 18")
		end.WantEOF()
		p.OpenStream(fetch + "14 19").WantReset(wire.CodeBounds)
		p.OpenStream(fetch + "12 00").WantReset(wire.CodeNotFound)
		half := w.Open(track, 21, "a")
		cut := p.OpenStream(fetch + "15 00")
		cut.Want("01 61")
		half.Abort(moq.ErrTruncated)
		cut.WantReset(wire.CodeWrongSize)
		left := w.Open(track, 22, "a")
		gone := p.OpenStream(fetch + "16 00")
		gone.Want("01 61")
		gone.Reset(wire.CodeCancel)
		gone.WantReset(wire.CodeCancel)
		_ = left
		w.WantMetric("cache_requests_total", "result=miss", 1)
		w.WantMetric("cache_requests_total", "result=hit", 8)
	})
}

// TestInfoStream: what the publisher says of a track, then FIN.
func TestInfoStream(t *testing.T) {
	bubble(t, nil, func(w *world) {
		w.Group(w.Publish("local"), 20, "a")
		p := w.client()
		local := p.OpenStream("04 01 05 6c6f63616c")
		local.Want("80 01 00 14")
		local.WantEOF()

		publisher := w.publisher()
		remote := p.OpenStream("04 01 05 636c6f636b") // U9
		publisher.Accept(subscribeHex).Send("7f 00 4bb8 80004000")
		remote.Want("7f 00 00 80004000")
		remote.WantEOF()
	})
}
