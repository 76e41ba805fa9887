package transfork

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// checkCodec holds what must be true for any bytes: reading them does not
// panic; a message that was read is written as bytes that give the same message
// and that are read as ErrShort where they are cut.
func checkCodec(t *testing.T, c codec, b []byte) {
	t.Helper()
	m, n, err := c.consume(b)
	if err != nil {
		if !errors.Is(err, ErrShort) && !errors.Is(err, ErrMalformed) {
			t.Fatalf("%s % x: error %v is neither ErrShort nor ErrMalformed", c.name, b, err)
		}
		if errors.Is(err, ErrShort) && len(b) > MaxMessage {
			t.Fatalf("%s is not complete after %d bytes", c.name, len(b))
		}
		if n != 0 {
			t.Fatalf("%s % x: took %d bytes with error %v", c.name, b, n, err)
		}
		return
	}
	if n > len(b) {
		t.Fatalf("%s % x: took %d bytes of %d", c.name, b, n, len(b))
	}
	again := m.Append(nil)
	m2, n2, err := c.consume(again)
	if err != nil || n2 != len(again) {
		t.Fatalf("%s % x: appended as % x, which reads as %d bytes, %v", c.name, b, again, n2, err)
	}
	if diff := cmp.Diff(m, m2, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s % x: reads as another message after appending (-first +second):\n%s", c.name, b, diff)
	}
	if stable := m2.Append(nil); !cmp.Equal(stable, again) {
		t.Fatalf("%s: appended as % x and then as % x", c.name, again, stable)
	}
	for cut := range again[:min(len(again), 64)] {
		if _, _, err := c.consume(again[:cut]); !errors.Is(err, ErrShort) {
			t.Fatalf("%s % x, first %d bytes: error %v, want ErrShort", c.name, again, cut, err)
		}
	}
}

func fuzzCodec(f *testing.F, c codec) {
	for _, v := range vectors {
		f.Add(unhex(f, v.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkCodec(t, c, b) })
}

func FuzzSessionClient(f *testing.F)    { fuzzCodec(f, sessionClient) }
func FuzzSessionServer(f *testing.F)    { fuzzCodec(f, sessionServer) }
func FuzzSessionUpdate(f *testing.F)    { fuzzCodec(f, sessionUpdate) }
func FuzzAnnounceInterest(f *testing.F) { fuzzCodec(f, announceInterest) }
func FuzzAnnounce(f *testing.F)         { fuzzCodec(f, announce) }
func FuzzSubscribe(f *testing.F)        { fuzzCodec(f, subscribe) }
func FuzzSubscribeUpdate(f *testing.F)  { fuzzCodec(f, subscribeUpdate) }
func FuzzInfo(f *testing.F)             { fuzzCodec(f, info) }
func FuzzInfoRequest(f *testing.F)      { fuzzCodec(f, infoRequest) }
func FuzzGroupDrop(f *testing.F)        { fuzzCodec(f, groupDrop) }
func FuzzGroup(f *testing.F)            { fuzzCodec(f, group) }
func FuzzFrameHeader(f *testing.F)      { fuzzCodec(f, frameHeader) }
func FuzzFetch(f *testing.F)            { fuzzCodec(f, fetch) }
