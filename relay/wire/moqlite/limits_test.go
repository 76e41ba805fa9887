package moqlite

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/relay/wire"
)

const longest = "ff ff ff ff ff ff ff ff" // 2^62-1

func TestMalformed(t *testing.T) {
	tests := []struct {
		name     string
		versions []Version
		codec    codec
		bytes    string
	}{
		{"fields beyond the body", v05, announceOK, "02 43 e8"},
		{"body beyond the fields", v05, announceOK, "04 43 e8 02 00"},
		{"body that ends within a number", v05, announceOK, "01 43"},
		{"exclude hop in lite-06", v06, announceRequest, "02 00 05"},
		{"no exclude hop in lite-05", v05, announceRequest, "01 00"},
		{"path that is not UTF-8", v05, track, "05 02 c3 28 01 76"},
		{"track that is not UTF-8", v05, track, "05 01 61 02 c3 28"},
		{"announce status 2 before lite-05", []Version{Version01, Version02}, announce, "02 02 00"},
		{"announce status 2 in lite-03 and 04", []Version{Version03, Version04}, announce, "03 02 00 00"},
		{"announce status 3", v05, announce, "03 03 00 00"},
		{"announce type 3", v06, announce, "03 01 00"},
		{"hop twice in lite-06", v06, announce, "00 07 00 03 07 00 07 00 00"},
		{"hop twice in ANNOUNCE_UPDATE", v06, announce, "02 06 00 02 07 07 00 00"},
		{"ordered is 2", v05, subscribeUpdate, "05 09 02 00 00 00"},
		{"ordered in lite-06", v06, subscribeUpdate, "08 09 00 40 64 00 00 00 00"},
		{"SUBSCRIBE_UPDATE in lite-01 and 02", inBand, versioned("", nil, Version.ConsumeSubscribeUpdate), "01 09"},
		{"last frame of no last group", v06, subscribeUpdate, "06 00 00 00 00 00 01"},
		{"last frame of no last group in SUBSCRIBE", v06, subscribe, "09 00 00 00 00 00 00 00 00 01"},
		{"SUBSCRIBE_END in lite-04 is SUBSCRIBE_DROP", v04, subscribeReply, "01 02 40 64"},
		{"subscribe reply of type 2 in lite-04", v04, subscribeReply, "02 03 05 07 02"},
		{"subscribe reply of type 3", v05to06, subscribeReply, "03 01 00"},
		{"SUBSCRIBE_OK of lite-01 in lite-02", v02, subscribeReply, "01 02"},
		{"SUBSCRIBE_DROP with a code of 33 bits", v05, subscribeReply, "02 0a 05 07 c0 00 00 01 00 00 00 00"},
		{"timescale 0", v05, trackInfo, "04 00 00 00 00"},
		{"timescale 0 in lite-06", v06, trackInfo, "03 00 00 00"},
		{"no frame start in lite-06", v06, group, "02 00 2a"},
		{"round trip time in lite-03", v03, probe, "02 05 05"},
		{"datagram without a timestamp", v05, datagram, "07 2a"},
		{"datagram of nothing", v05, datagram, ""},
		{"parameter twice", v05, setup, "07 02 05 01 07 05 01 07"},
		{"unknown parameter twice", v05, setup, "07 02 40 47 00 40 47 00"},
		{"parameter longer than its number", v05, setup, "05 01 05 02 07 07"},
		{"parameter shorter than its number", v05, setup, "04 01 05 01 40"},
		{"parameter of no number", v05, setup, "03 01 05 00"},
		{"parameter beyond the body", v05, setup, "04 01 40 47 01"},
		{"request path that is not UTF-8", v05, setup, "05 01 02 02 c3 28"},
		{"CLIENT_SETUP of no body", inBand, clientSetup, "00 00"},
	}
	for _, tt := range tests {
		for _, v := range tt.versions {
			t.Run(tt.name+"/"+v.String(), func(t *testing.T) {
				_, _, err := tt.codec.consume(v, unhex(t, tt.bytes))
				if !errors.Is(err, wire.ErrMalformed) {
					t.Errorf("error %v, want one that is ErrMalformed", err)
				}
			})
		}
	}
}

// TestS16 holds the limits on what a client says, at and beyond them.
func TestS16(t *testing.T) {
	path := func(path string) []byte { // as TRACK
		b := wire.AppendString(nil, path)
		return seal(wire.AppendString(b, "t"), 0)
	}
	hops := func(n int) []byte { // as an announcement of lite-05
		hops := make([]uint64, n)
		return seal(appendHops([]byte{statusActive, 0}, hops), 0)
	}
	parameters := func(n int) []byte {
		b := wire.AppendVarint(nil, uint64(n))
		for i := range n {
			b = wire.AppendString(wire.AppendVarint(b, 100+uint64(i)), "")
		}
		return seal(b, 0)
	}
	versions := func(n int) []byte {
		m := ClientSetup{Versions: make([]uint64, n), VarintLength: true}
		return m.Append(nil)
	}
	half := strings.Repeat("a", wire.MaxPathBytes/2)
	tests := []struct {
		name  string
		codec codec
		bytes []byte
		ok    bool
	}{
		{"32 parts", track, path(strings.Repeat("/a", 32) + "/"), true},
		{"33 parts", track, path(strings.Repeat("a/", 33)), false},
		{"1024 bytes in 2 parts", track, path(half + "/" + half), true},
		{"1025 bytes in 2 parts", track, path(half + "/" + half + "a"), false},
		{"1024 bytes in 1 part", track, path(half + half), true},
		{"1025 bytes in 1 part", track, path(half + half + "a"), false},
		{"1056 slashes", track, path(strings.Repeat("/", 1056)), false},
		{"track of 1025 bytes", track, seal(wire.AppendString([]byte{0}, half+half+"a"), 0), false},
		{"32 hops", announce, hops(32), true},
		{"33 hops", announce, hops(33), false},
		{"64 parameters", setup, parameters(64), true},
		{"65 parameters", setup, parameters(65), false},
		{"64 versions", clientSetup, versions(64), true},
		{"65 versions", clientSetup, versions(65), false},
		{"request path of 16 KiB", setup, Setup{HasPath: true, Path: strings.Repeat("a", MaxRequestPath)}.Append(nil), true},
		{"request path of more", setup, Setup{HasPath: true, Path: strings.Repeat("a", MaxRequestPath+1)}.Append(nil), false},
		{"uri of 8192 bytes", goaway, Goaway{strings.Repeat("a", MaxURI)}.Append(nil), true},
		{"uri of more", goaway, Goaway{strings.Repeat("a", MaxURI+1)}.Append(nil), false},
		{"datagram of 1200 bytes", datagram, Datagram{Payload: make([]byte, MaxDatagram)}.Append(nil), true},
		{"datagram of more", datagram, Datagram{Payload: make([]byte, MaxDatagram+1)}.Append(nil), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, n, err := tt.codec.consume(Version05, tt.bytes)
			if tt.ok && (err != nil || n != len(tt.bytes)) {
				t.Errorf("took %d bytes of %d, %v", n, len(tt.bytes), err)
			}
			if !tt.ok && !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("error %v, want one that is ErrMalformed", err)
			}
		})
	}
}

// TestS17DeclaredLength holds that no message can declare more than MaxMessage
// bytes, and that those it declares cost nothing before they are there.
func TestS17DeclaredLength(t *testing.T) {
	for _, c := range messages {
		for _, v := range c.versions {
			var head []byte // what stands before the length
			if c.name == subscribeReply.name && v >= Version03 || c.name == announce.name && v.HasCosts() {
				head = []byte{0}
			}
			most := wire.AppendVarint(head, wire.MaxMessage)
			allocs := testing.AllocsPerRun(10, func() {
				if _, _, err := c.consume(v, most); !errors.Is(err, wire.ErrShort) {
					t.Errorf("%s, %s of 64 KiB: error %v, want ErrShort", v, c.name, err)
				}
			})
			if allocs != 0 {
				t.Errorf("%s, %s: %v allocations for a body that is not there", v, c.name, allocs)
			}
			for _, size := range []uint64{wire.MaxMessage + 1, wire.MaxVarint} {
				if _, _, err := c.consume(v, wire.AppendVarint(head, size)); !errors.Is(err, wire.ErrMalformed) {
					t.Errorf("%s, %s of %d bytes: error %v, want one that is ErrMalformed", v, c.name, size, err)
				}
			}
		}
	}
}

// TestS17DeclaredCount holds that numbers within a message allocate nothing by
// themselves.
func TestS17DeclaredCount(t *testing.T) {
	tests := []struct {
		name    string
		version Version
		codec   codec
		body    string
	}{
		{"suffixes", Version02, announceInit, longest},
		{"path", Version05, track, longest},
		{"track", Version05, track, "00" + longest},
		{"hops", Version05, announce, "01 00" + longest},
		{"hops in lite-03", Version03, announce, "01 00" + longest},
		{"parameters", Version05, setup, longest},
		{"parameter", Version05, setup, "01 40 47" + longest},
		{"request path", Version05, setup, "01 02" + longest},
		{"versions", Version02, clientSetup, longest},
		{"uri", Version05, goaway, longest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := seal(unhex(t, tt.body), 0)
			if tt.codec.name == clientSetup.name {
				b = sealInBand(unhex(t, tt.body), 0, true)
			}
			const rounds = 100
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range rounds {
				if _, _, err := tt.codec.consume(tt.version, b); !errors.Is(err, wire.ErrMalformed) {
					t.Fatalf("error %v, want one that is ErrMalformed", err)
				}
			}
			runtime.ReadMemStats(&after)
			if n := (after.TotalAlloc - before.TotalAlloc) / rounds; n > 1<<10 { // the error's text
				t.Errorf("%d bytes allocated for %d", n, len(b))
			}
		})
	}
}

// TestFrameHeaderNoAlloc pins what is done for every frame.
func TestFrameHeaderNoAlloc(t *testing.T) {
	b := make([]byte, 0, 16)
	allocs := testing.AllocsPerRun(100, func() {
		b = FrameHeader{Delta: -33, Size: 1200}.Append(b[:0], Version06)
		if h, _, err := Version06.ConsumeFrameHeader(b); err != nil || h.Delta != -33 {
			t.Fatal(h, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a frame header", allocs)
	}
}

// TestSaturation holds what numbers become that the wire cannot carry.
func TestSaturation(t *testing.T) {
	for delta, want := range map[int64]int64{
		-1 << 63: MinDelta, MinDelta: MinDelta, -1: -1, 0: 0, MaxDelta: MaxDelta, 1<<63 - 1: MaxDelta,
	} {
		got, _, err := Version05.ConsumeFrameHeader(FrameHeader{Delta: delta}.Append(nil, Version05))
		if err != nil || got.Delta != want {
			t.Errorf("delta %d reads as %d, %v", delta, got.Delta, err)
		}
	}
	m := SubscribeUpdate{MaxAge: 1 << 63, Start: new(uint64(1 << 63)), End: new(uint64(wire.MaxVarint))}
	want := SubscribeUpdate{MaxAge: wire.MaxVarint, Start: new(uint64(wire.MaxVarint)), End: new(uint64(wire.MaxVarint - 1))}
	got, _, err := Version06.ConsumeSubscribeUpdate(m.Append(nil, Version06))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestLongMessages holds the length before bodies of all sizes, and that a path
// is written as it will be read.
func TestLongMessages(t *testing.T) {
	for _, size := range []int{0, 1, 60, 61, 62, 63, 64, 1000, MaxURI} {
		m := Goaway{strings.Repeat("a", size)}
		b := m.Append([]byte("before"))
		got, n, err := ConsumeGoaway(bytes.TrimPrefix(b, []byte("before")))
		if err != nil || n != len(b)-6 || got != m {
			t.Errorf("uri of %d bytes reads as one of %d, %d bytes of %d, %v", size, len(got.URI), n, len(b)-6, err)
		}
	}
	got, _, err := ConsumeTrack(Track{Path: []string{"", "a", "", "b", ""}}.Append(nil))
	if err != nil || !slices.Equal(got.Path, []string{"a", "b"}) {
		t.Errorf("empty parts read as %q, %v", got.Path, err)
	}
}
