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
		track := w.publish("clock")
		w.group(track, 19, "old")
		g := w.open(track, 20, "2024-11-07 05:20:", "18")
		p := w.client()
		whole := p.openStream(fetch + "14 00")
		whole.want("11 323032342d31312d30372030353a32303a 02 3138")
		part := p.openStream(fetch + "14 12") // U10
		part.want("02 3138")
		inside := p.openStream(fetch + "14 10")
		inside.want("30 3a 02 3138")
		_ = g.WriteFrame([]byte("19"))
		_ = g.Finish()
		for _, s := range []*stream{whole, part, inside} {
			s.want("02 3139")
			s.wantEOF()
		}
		kept := p.openStream(fetch + "13 00")
		kept.want("03 6f6c64")
		kept.wantEOF()
		end := p.openStream(fetch + "14 18")
		end.wantEOF()
		p.openStream(fetch + "14 19").wantReset(wire.CodeBounds)
		p.openStream(fetch + "12 00").wantReset(wire.CodeNotFound)
		half := w.open(track, 21, "a")
		cut := p.openStream(fetch + "15 00")
		cut.want("01 61")
		half.Abort(moq.ErrTruncated)
		cut.wantReset(wire.CodeWrongSize)
		left := w.open(track, 22, "a")
		gone := p.openStream(fetch + "16 00")
		gone.want("01 61")
		gone.reset(wire.CodeCancel)
		gone.wantReset(wire.CodeCancel)
		_ = left
		w.wantMetric("cache_requests_total", "result=miss", 1)
		w.wantMetric("cache_requests_total", "result=hit", 8)
	})
}

// TestInfoStream: what the publisher says of a track, then FIN.
func TestInfoStream(t *testing.T) {
	bubble(t, nil, func(w *world) {
		w.group(w.publish("local"), 20, "a")
		p := w.client()
		local := p.openStream("04 01 05 6c6f63616c")
		local.want("80 01 00 14")
		local.wantEOF()

		publisher := w.publisher()
		remote := p.openStream("04 01 05 636c6f636b") // U9
		publisher.accept(subscribeHex).write("7f 00 4bb8 80004000")
		remote.want("7f 00 00 80004000")
		remote.wantEOF()
	})
}
