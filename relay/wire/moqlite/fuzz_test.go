package moqlite

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// checkCodec holds what must be true for any bytes in every version: reading
// them does not panic; a message that was read is written as bytes that give the
// same message and that are read as ErrShort where they are cut.
func checkCodec(t *testing.T, c codec, v Version, b []byte) {
	t.Helper()
	m, n, err := c.consume(v, b)
	if err != nil {
		if !errors.Is(err, wire.ErrShort) && !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("%s, %s % x: error %v is neither ErrShort nor ErrMalformed", v, c.name, b, err)
		}
		if errors.Is(err, wire.ErrShort) && len(b) > wire.MaxMessage+24 { // types and length
			t.Fatalf("%s, %s is not complete after %d bytes", v, c.name, len(b))
		}
		if n != 0 {
			t.Fatalf("%s, %s % x: took %d bytes with error %v", v, c.name, b, n, err)
		}
		return
	}
	if n > len(b) {
		t.Fatalf("%s, %s % x: took %d bytes of %d", v, c.name, b, n, len(b))
	}
	again := c.append(nil, m, v)
	m2, n2, err := c.consume(v, again)
	if err != nil || n2 != len(again) {
		t.Fatalf("%s, %s % x: appended as % x, which reads as %d bytes, %v", v, c.name, b, again, n2, err)
	}
	if diff := cmp.Diff(m, m2, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s, %s % x: reads as another message after appending (-first +second):\n%s", v, c.name, b, diff)
	}
	if stable := c.append(nil, m2, v); !cmp.Equal(stable, again) {
		t.Fatalf("%s, %s: appended as % x and then as % x", v, c.name, again, stable)
	}
	if c.name == datagram.name {
		return // comes whole
	}
	for cut := range again[:min(len(again), 64)] {
		if _, _, err := c.consume(v, again[:cut]); !errors.Is(err, wire.ErrShort) {
			t.Fatalf("%s, %s % x, first %d bytes: error %v, want ErrShort", v, c.name, again, cut, err)
		}
	}
}

func fuzzCodec(f *testing.F, c codec) {
	for _, v := range vectors {
		b := unhex(f, v.bytes)
		f.Add(b)
		f.Add(b[min(1, len(b)):]) // without the type of the stream, if it has one
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range c.versions {
			checkCodec(t, c, v, b)
		}
	})
}

func FuzzClientSetup(f *testing.F)     { fuzzCodec(f, clientSetup) }
func FuzzServerSetup(f *testing.F)     { fuzzCodec(f, serverSetup) }
func FuzzSessionInfo(f *testing.F)     { fuzzCodec(f, sessionInfo) }
func FuzzSetup(f *testing.F)           { fuzzCodec(f, setup) }
func FuzzAnnounceRequest(f *testing.F) { fuzzCodec(f, announceRequest) }
func FuzzAnnounceOK(f *testing.F)      { fuzzCodec(f, announceOK) }
func FuzzAnnounceInit(f *testing.F)    { fuzzCodec(f, announceInit) }
func FuzzAnnounce(f *testing.F)        { fuzzCodec(f, announce) }
func FuzzSubscribe(f *testing.F)       { fuzzCodec(f, subscribe) }
func FuzzSubscribeUpdate(f *testing.F) { fuzzCodec(f, subscribeUpdate) }
func FuzzSubscribeReply(f *testing.F)  { fuzzCodec(f, subscribeReply) }
func FuzzTrack(f *testing.F)           { fuzzCodec(f, track) }
func FuzzTrackInfo(f *testing.F)       { fuzzCodec(f, trackInfo) }
func FuzzGroup(f *testing.F)           { fuzzCodec(f, group) }
func FuzzFrameHeader(f *testing.F)     { fuzzCodec(f, frameHeader) }
func FuzzDatagram(f *testing.F)        { fuzzCodec(f, datagram) }
func FuzzFetch(f *testing.F)           { fuzzCodec(f, fetch) }
func FuzzProbe(f *testing.F)           { fuzzCodec(f, probe) }
func FuzzGoaway(f *testing.F)          { fuzzCodec(f, goaway) }
