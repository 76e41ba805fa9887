package transfork

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// unhex reads bytes as the tables of the protocol write them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// codec is one message's pair of functions, without its type.
type codec struct {
	name    string
	consume func([]byte) (message, int, error)
}

// message is any message.
type message interface{ Append([]byte) []byte }

func codecOf[T message](name string, consume func([]byte) (T, int, error)) codec {
	return codec{name, func(b []byte) (message, int, error) { return consume(b) }}
}

// stream is what the first bytes of a stream say, type and message.
type stream[T message] struct {
	Type    StreamType
	Message T
}

func (s stream[T]) Append(b []byte) []byte { return s.Message.Append(s.Type.Append(b)) }

func streamOf[T message](name string, consume func([]byte) (T, int, error)) codec {
	return codecOf("stream, "+name, func(b []byte) (stream[T], int, error) {
		typ, n, err := ConsumeStreamType(b)
		if err != nil {
			return stream[T]{}, 0, err
		}
		m, k, err := consume(b[n:])
		if err != nil {
			return stream[T]{}, 0, err
		}
		return stream[T]{typ, m}, n + k, nil
	})
}

var (
	sessionClient    = codecOf("SESSION_CLIENT", ConsumeSessionClient)
	sessionServer    = codecOf("SESSION_SERVER", ConsumeSessionServer)
	sessionUpdate    = codecOf("SESSION_UPDATE", ConsumeSessionUpdate)
	announceInterest = codecOf("ANNOUNCE_INTEREST", ConsumeAnnounceInterest)
	announce         = codecOf("ANNOUNCE", ConsumeAnnounce)
	subscribe        = codecOf("SUBSCRIBE", ConsumeSubscribe)
	subscribeUpdate  = codecOf("SUBSCRIBE_UPDATE", ConsumeSubscribeUpdate)
	info             = codecOf("INFO", ConsumeInfo)
	infoRequest      = codecOf("INFO_REQUEST", ConsumeInfoRequest)
	groupDrop        = codecOf("GROUP_DROP", ConsumeGroupDrop)
	group            = codecOf("GROUP", ConsumeGroup)
	frameHeader      = codecOf("FRAME header", ConsumeFrameHeader)
	fetch            = codecOf("FETCH", ConsumeFetch)
)

// groupStream is the header of a unidirectional stream.
type groupStream struct {
	Type  UniStreamType
	Group Group
}

func (s groupStream) Append(b []byte) []byte { return s.Group.Append(s.Type.Append(b)) }

var groupStreamCodec = codecOf("stream, GROUP", func(b []byte) (groupStream, int, error) {
	typ, n, err := ConsumeUniStreamType(b)
	if err != nil {
		return groupStream{}, 0, err
	}
	g, k, err := ConsumeGroup(b[n:])
	if err != nil {
		return groupStream{}, 0, err
	}
	return groupStream{typ, g}, n + k, nil
})

// wholeGroup is a Group stream to its end.
type wholeGroup struct {
	Header groupStream
	Frames []string
}

func (g wholeGroup) Append(b []byte) []byte {
	b = g.Header.Append(b)
	for _, f := range g.Frames {
		b = FrameHeader{Size: uint64(len(f))}.Append(b)
		b = append(b, f...)
	}
	return b
}

var wholeGroupCodec = codecOf("whole group", func(b []byte) (wholeGroup, int, error) {
	var g wholeGroup
	m, off, err := groupStreamCodec.consume(b)
	if err != nil {
		return g, 0, err
	}
	g.Header = m.(groupStream)
	for off < len(b) {
		h, n, err := ConsumeFrameHeader(b[off:])
		if err != nil || uint64(len(b)-off-n) < h.Size {
			return wholeGroup{}, 0, ErrShort
		}
		off += n + int(h.Size)
		g.Frames = append(g.Frames, string(b[off-int(h.Size):off]))
	}
	return g, off, nil
})

var (
	karpCatalog = []string{"bbb", "1730956818", "catalog.json"}
	clock       = []string{"clock"}
	origins     = []string{"internal", "origins"}
	v02, v04    = Version(0xff0bad02), Version(0xff0bad04)
	none        Extensions
)

// vector is a message and its bytes.
type vector struct {
	name  string
	codec codec
	msg   message
	bytes string
}

// vectors are the bytes of the released programs' encoder.
var vectors = []vector{
	{
		"S1", streamOf("SESSION_CLIENT", ConsumeSessionClient),
		stream[SessionClient]{StreamSession, SessionClient{[]Version{v02}, none}},
		"00 01 c0 00 00 00 ff 0b ad 02 00",
	},
	{"S2", sessionServer, SessionServer{v02, none}, "c0 00 00 00 ff 0b ad 02 00"},
	{
		"S3", streamOf("SESSION_CLIENT", ConsumeSessionClient),
		stream[SessionClient]{StreamSession, SessionClient{[]Version{v04, v02}, Extensions{{80, []byte{1, 2, 3}}}}},
		"00 02 c0 00 00 00 ff 0b ad 04 c0 00 00 00 ff 0b ad 02 01 40 50 03 01 02 03",
	},
	{
		"S4", streamOf("SESSION_CLIENT", ConsumeSessionClient),
		stream[SessionClient]{StreamSession, SessionClient{[]Version{v04}, none}},
		"00 01 c0 00 00 00 ff 0b ad 04 00",
	},
	{"S5", sessionUpdate, SessionUpdate{2_500_000}, "80 26 25 a0"},

	{"A1", streamOf("ANNOUNCE_INTEREST", ConsumeAnnounceInterest), stream[AnnounceInterest]{StreamAnnounce, AnnounceInterest{}}, "01 00"},
	{
		"A2", streamOf("ANNOUNCE_INTEREST", ConsumeAnnounceInterest),
		stream[AnnounceInterest]{StreamAnnounce, AnnounceInterest{[]string{"demo"}}},
		"01 01 04 64 65 6d 6f",
	},
	{
		"A3", streamOf("ANNOUNCE_INTEREST", ConsumeAnnounceInterest),
		stream[AnnounceInterest]{StreamAnnounce, AnnounceInterest{origins}},
		"01 02 08 69 6e 74 65 72 6e 61 6c 07 6f 72 69 67 69 6e 73",
	},
	{"A4", announce, Announce{Active, clock}, "01 01 05 63 6c 6f 63 6b"},
	{"A5", announce, Announce{Ended, clock}, "00 01 05 63 6c 6f 63 6b"},
	{"A6", announce, Announce{Active, []string{"relay2"}}, "01 01 06 72 65 6c 61 79 32"},
	{
		"A7", announce,
		Announce{Active, append(origins[:2:2], "relay2")},
		"01 03 08 69 6e 74 65 72 6e 61 6c 07 6f 72 69 67 69 6e 73 06 72 65 6c 61 79 32",
	},
	{"A8", announce, Announce{Active, nil}, "01 00"},
	{
		"A9", announce,
		Announce{Active, karpCatalog},
		"01 03 03 62 62 62 0a 31 37 33 30 39 35 36 38 31 38 0c 63 61 74 61 6c 6f 67 2e 6a 73 6f 6e",
	},

	{
		"U1", streamOf("SUBSCRIBE", ConsumeSubscribe),
		stream[Subscribe]{StreamSubscribe, Subscribe{Path: clock, Order: Descending}},
		"02 00 01 05 63 6c 6f 63 6b 80 01 00 00 00",
	},
	{
		"U2", streamOf("SUBSCRIBE", ConsumeSubscribe),
		stream[Subscribe]{StreamSubscribe, Subscribe{ID: 1, Path: karpCatalog, Priority: -1, Order: Descending}},
		"02 01 03 03 62 62 62 0a 31 37 33 30 39 35 36 38 31 38 0c 63 61 74 61 6c 6f 67 2e 6a 73 6f 6e 7f 01 00 00 00",
	},
	{
		"U3", streamOf("SUBSCRIBE", ConsumeSubscribe),
		stream[Subscribe]{StreamSubscribe, Subscribe{300, []string{"bbb", "video1"}, 2, Ascending, 500, new(uint64(7)), new(uint64(100))}},
		"02 41 2c 02 03 62 62 62 06 76 69 64 65 6f 31 82 00 41 f4 08 40 65",
	},
	{"U4", info, Info{0, Descending, 0, 20}, "80 01 00 14"},
	{"U5", info, Info{-1, Ascending, 3000, 16384}, "7f 00 4b b8 80 00 40 00"},
	{"U6", subscribeUpdate, SubscribeUpdate{2, Descending, 500, nil, new(uint64(9))}, "02 01 41 f4 00 0a"},
	{"U7", groupDrop, GroupDrop{20, 0, CodeWrongSize}, "14 00 0e"},
	{"U8", groupDrop, GroupDrop{70, 2, CodeTransport}, "40 46 02 04"},
	{"U9", streamOf("INFO_REQUEST", ConsumeInfoRequest), stream[InfoRequest]{StreamInfo, InfoRequest{clock}}, "04 01 05 63 6c 6f 63 6b"},
	{"U10", streamOf("FETCH", ConsumeFetch), stream[Fetch]{StreamFetch, Fetch{clock, 0, 20, 18}}, "03 01 05 63 6c 6f 63 6b 80 14 12"},
	{
		"U11", streamOf("SUBSCRIBE", ConsumeSubscribe),
		stream[Subscribe]{StreamSubscribe, Subscribe{Path: karpCatalog, Priority: -128, Order: Ascending}},
		"02 00 03 03 62 62 62 0a 31 37 33 30 39 35 36 38 31 38 0c 63 61 74 61 6c 6f 67 2e 6a 73 6f 6e 00 00 00 00 00",
	},
	{"INFO that answers U11, latest 5", info, Info{-128, Ascending, 0, 5}, "00 00 00 05"},

	{"G1", groupStreamCodec, groupStream{StreamGroup, Group{0, 20}}, "00 00 14"},
	{"G2", groupStreamCodec, groupStream{StreamGroup, Group{300, 100000}}, "00 41 2c 80 01 86 a0"},
	{
		"G3", wholeGroupCodec,
		wholeGroup{groupStream{StreamGroup, Group{0, 20}}, []string{"2024-11-07 05:20:", "18", "19"}},
		"00 00 14 11 32 30 32 34 2d 31 31 2d 30 37 20 30 35 3a 32 30 3a 02 31 38 02 31 39",
	},
	{
		"G4", wholeGroupCodec,
		wholeGroup{groupStream{StreamGroup, Group{2, 7}}, []string{"\x80\x00\x82\x35\x00\x00\x00\x02\x09\x10"}},
		"00 02 07 0a 80 00 82 35 00 00 00 02 09 10",
	},
	{"G5", wholeGroupCodec, wholeGroup{groupStream{StreamGroup, Group{0, 9}}, []string{"", "z"}}, "00 00 09 00 01 7a"},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			want := unhex(t, v.bytes)
			if got := v.msg.Append(nil); !cmp.Equal(got, want) {
				t.Errorf("appended\n% x, want\n% x", got, want)
			}
			got, n, err := v.codec.consume(want)
			if err != nil {
				t.Fatalf("consume: %v", err)
			}
			if diff := cmp.Diff(v.msg, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("read another message (-want +got):\n%s", diff)
			}
			if n != len(want) {
				t.Errorf("took %d bytes of %d", n, len(want))
			}
		})
	}
}

// TestCaptured takes what the released programs put on the wire apart.
func TestCaptured(t *testing.T) {
	const catalogID = "0a 31373935343233323138"
	tests := []vector{
		{"C1, interest of the relay", streamOf("ANNOUNCE_INTEREST", ConsumeAnnounceInterest), stream[AnnounceInterest]{StreamAnnounce, AnnounceInterest{}}, "01 00"},
		{"C1, INFO, latest 39", info, Info{0, Descending, 0, 39}, "80 01 00 27"},
		{"C1, INFO, latest 40", info, Info{0, Descending, 0, 40}, "80 01 00 28"},
		{
			"C1, group 39", wholeGroupCodec,
			wholeGroup{groupStream{StreamGroup, Group{0, 39}}, []string{"2026-11-22 08:39:", "57", "58", "59"}},
			"00 00 27 11 323032362d31312d32322030383a33393a 02 3537 02 3538 02 3539",
		},
		{
			"C1, group 40", wholeGroupCodec,
			wholeGroup{groupStream{StreamGroup, Group{0, 40}}, []string{"2026-11-22 08:40:", "00", "01"}},
			"00 00 28 11 323032362d31312d32322030383a34303a 02 3030 02 3031",
		},
		{"C3, video1", announce, Announce{Active, []string{"bbb", "1795423218", "video1"}}, "01 03 03 626262 " + catalogID + " 06 766964656f31"},
		{"C3, audio2", announce, Announce{Active, []string{"bbb", "1795423218", "audio2"}}, "01 03 03 626262 " + catalogID + " 06 617564696f32"},
		{"C3, INFO of the catalog", info, Info{-1, Descending, 0, 1}, "7f 01 00 01"},
		{"C3, INFO of the video", info, Info{2, Descending, 0, 0}, "82 01 00 00"},
		{"C3, INFO of the audio", info, Info{1, Descending, 0, 2}, "81 01 00 02"},
	}
	for _, v := range tests {
		t.Run(v.name, func(t *testing.T) {
			b := unhex(t, v.bytes)
			got, n, err := v.codec.consume(b)
			if err != nil || n != len(b) {
				t.Fatalf("took %d bytes of %d, %v", n, len(b), err)
			}
			if diff := cmp.Diff(v.msg, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("read another message (-want +got):\n%s", diff)
			}
			if again := v.msg.Append(nil); !cmp.Equal(again, b) {
				t.Errorf("appended\n% x, want\n% x", again, b)
			}
		})
	}
}

func TestPrimitives(t *testing.T) {
	for p, want := range map[int8]byte{-128: 0x00, -1: 0x7f, 0: 0x80, 1: 0x81, 2: 0x82, 127: 0xff} { // P6
		if got := appendPrio(nil, p); got[0] != want {
			t.Errorf("prio %d: appended %x, want %x", p, got, want)
		}
		if got := new(decode([]byte{want})).prio(); got != p {
			t.Errorf("prio %x: read %d, want %d", want, got, p)
		}
	}
	paths := map[string][]string{ // P7, P8
		"00":                                  nil,
		"03 02 c3 a9 00 06 e6 97 a5 e6 9c ac": {"é", "", "日本"},
	}
	for s, path := range paths {
		want := unhex(t, s)
		if got := appendPath(nil, path); !cmp.Equal(got, want) {
			t.Errorf("path %q: appended % x, want % x", path, got, want)
		}
		if got := new(decode(want)).path(); !cmp.Equal(got, path) {
			t.Errorf("path % x: read %q, want %q", want, got, path)
		}
	}
}

// TestGenerous holds what is accepted though we would not send it.
func TestGenerous(t *testing.T) {
	tests := []vector{
		{
			"N3: order 2 of the JavaScript client is descending", streamOf("SUBSCRIBE", ConsumeSubscribe),
			stream[Subscribe]{StreamSubscribe, Subscribe{Path: []string{"x"}, Order: Descending}},
			"02 00 01 01 78 80 02 00 00 00",
		},
		{"long varints", group, Group{5, 6}, "40 05 c0 00 00 00 00 00 00 06"},
		{"announce status 2 has no suffix", announce, Announce{Live, nil}, "02"},
		{
			"SUBSCRIBE_UPDATE of four fields", codecOf("short SUBSCRIBE_UPDATE", ConsumeShortSubscribeUpdate),
			SubscribeUpdate{2, Descending, 0, nil, new(uint64(9))},
			"02 01 00 0a",
		},
		{"negative priority in SUBSCRIBE_UPDATE", subscribeUpdate, SubscribeUpdate{Priority: -1}, "40 ff 00 00 00 00"},
	}
	for _, v := range tests {
		t.Run(v.name, func(t *testing.T) {
			b := unhex(t, v.bytes)
			got, n, err := v.codec.consume(b)
			if err != nil || n != len(b) {
				t.Fatalf("took %d bytes of %d, %v", n, len(b), err)
			}
			if diff := cmp.Diff(v.msg, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("read another message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	long := strings.Repeat("61", 1024)
	tests := []struct {
		name  string
		codec codec
		bytes string
	}{
		{"order 3", info, "80 03 00 00"},
		{"announce status 3", announce, "03 00"},
		{"path part that is not UTF-8", infoRequest, "01 02 c3 28"},
		{"path of 33 parts", infoRequest, "21"},
		{"path of 2^62-1 parts", announceInterest, "ff ff ff ff ff ff ff ff"},
		{"path part of 1025 bytes", infoRequest, "01 44 01"},
		{"path of 1024 bytes and one more", infoRequest, "02 44 00" + long + "01"},
		{"65 versions", sessionClient, "40 41"},
		{"2^62-1 versions", sessionClient, "ff ff ff ff ff ff ff ff"},
		{"65 extensions", sessionServer, "00 40 41"},
		{"extension of 2^62-1 bytes", sessionServer, "00 01 40 50 ff ff ff ff ff ff ff ff"},
		{"extension twice", sessionClient, "00 02 40 50 01 00 40 50 00"},
		{"GROUP_DROP code of 33 bits", groupDrop, "00 00 c0 00 00 01 00 00 00 00"},
		{"SUBSCRIBE_UPDATE priority 256", subscribeUpdate, "41 00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := tt.codec.consume(unhex(t, tt.bytes))
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v, want one that is ErrMalformed", err)
			}
		})
	}
}

// TestTruncated takes every true prefix of every vector.
func TestTruncated(t *testing.T) {
	for _, v := range vectors {
		b := unhex(t, v.bytes)
		for n := range b {
			if v.codec.name == wholeGroupCodec.name && n >= 3 {
				break // a group may end after any frame
			}
			if _, _, err := v.codec.consume(b[:n]); !errors.Is(err, ErrShort) {
				t.Errorf("%s, first %d of %d bytes: error %v, want ErrShort", v.name, n, len(b), err)
			}
		}
	}
}

// TestBitFlips changes every bit of every vector; the fuzz targets' property
// must hold for all of them.
func TestBitFlips(t *testing.T) {
	for _, v := range vectors {
		b := unhex(t, v.bytes)
		for i := range 8 * len(b) {
			b[i/8] ^= 1 << (i % 8)
			if v.codec.name != wholeGroupCodec.name {
				checkCodec(t, v.codec, b)
			}
			b[i/8] ^= 1 << (i % 8)
		}
	}
}

func TestCodes(t *testing.T) {
	for code, want := range map[Code]string{0: "cancel", 13: "not found", 14: "wrong size", 63: "code 63", 64: "application 0", 70: "application 6"} {
		if got := code.String(); got != want {
			t.Errorf("code %d is %q, want %q", uint32(code), got, want)
		}
	}
	if n, ok := AppCode(6).App(); n != 6 || !ok {
		t.Errorf("AppCode(6).App() = %d, %t", n, ok)
	}
	if got := AppCode(^uint32(0)); got != ^Code(0) {
		t.Errorf("the largest application code is %d", uint32(got))
	}
	if _, ok := CodeNotFound.App(); ok {
		t.Error("13 is taken for an application's code")
	}
}

// TestSaturation holds what numbers become that the wire cannot carry.
func TestSaturation(t *testing.T) {
	b := Subscribe{ID: 1 << 63, Expires: 1 << 63, Min: new(uint64(1<<64 - 1)), Max: new(uint64(wire.MaxVarint))}.Append(nil)
	got, _, err := ConsumeSubscribe(b)
	want := Subscribe{ID: wire.MaxVarint, Expires: wire.MaxVarint, Min: new(uint64(wire.MaxVarint - 1)), Max: new(uint64(wire.MaxVarint - 1))}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
