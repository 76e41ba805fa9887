package moqlite

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/moqrelay/moqrelay/relay/wire"
)

var (
	cam     = []string{"cam"}
	demo    = []string{"demo"}
	demoCam = []string{"demo", "cam"}

	v02, v03, v04 = []Version{Version02}, []Version{Version03}, []Version{Version04}
	v05, v06      = []Version{Version05}, []Version{Version06}
	v04to05       = []Version{Version04, Version05}
	v03to05       = []Version{Version03, Version04, Version05}
	v05to06       = []Version{Version05, Version06}
)

const (
	noLimit = wire.MaxVarint // the cost that stands for a version without costs

	relayHop      uint64 = 0xd77f5c5157e48
	relayHopBytes        = " c0 0d 77 f5 c5 15 7e 48 "
)

// vector is a message and its bytes, the same in all of its versions.
type vector struct {
	name     string
	versions []Version
	codec    codec
	msg      any
	bytes    string
}

// vectors are the bytes of the released encoders, and what a released relay was
// seen to write (L).
var vectors = []vector{
	{"V1", v03, stream(StreamAnnounce, announceRequest), AnnounceRequest{Prefix: demo}, "01 05 04 64 65 6d 6f"},
	{"V2", v04to05, stream(StreamAnnounce, announceRequest), AnnounceRequest{demo, 5}, "01 06 04 64 65 6d 6f 05"},
	{"V3", v05, stream(StreamAnnounce, announceRequest), AnnounceRequest{}, "01 02 00 00"},
	{"V4", v05, announceOK, AnnounceOK{1000, 2}, "03 43 e8 02"},
	{"V5", v05, announce, Announce{Kind: AnnounceStart, Suffix: cam}, "06 01 03 63 61 6d 00"},
	{"V6", v04to05, announce, Announce{Kind: AnnounceEnd, Suffix: cam}, "06 00 03 63 61 6d 00"},
	{"V7", v04, announce, Announce{Kind: AnnounceStart, Suffix: cam, Hops: []uint64{7, 1000}}, "09 01 03 63 61 6d 02 07 43 e8"},
	{"V8", v03, announce, Announce{Kind: AnnounceStart, Suffix: cam, Hops: []uint64{0, 0}}, "06 01 03 63 61 6d 02"},
	{"V9", v02, announce, Announce{Kind: AnnounceStart, Suffix: cam}, "05 01 03 63 61 6d"},
	{"V10", v02, announceInit, AnnounceInit{[][]string{{"a"}, {"b", "c"}}}, "07 02 01 61 03 62 2f 63"},
	{
		"V11", v03to05, stream(StreamSubscribe, subscribe),
		Subscribe{Path: demoCam, Track: "video", Priority: 2, MaxAge: 250},
		"02 16 00 08 64 65 6d 6f 2f 63 61 6d 05 76 69 64 65 6f 02 00 40 fa 00 00",
	},
	{
		"V12", v05, stream(StreamSubscribe, subscribe),
		Subscribe{ID: 70, Path: []string{"a"}, Track: "t", Priority: 255, Ordered: true, MaxAge: 30000, Start: new(uint64(41)), End: new(uint64(99))},
		"02 0f 40 46 01 61 01 74 ff 01 80 00 75 30 2a 40 64",
	},
	{
		"V13", v02, stream(StreamSubscribe, subscribe),
		Subscribe{ID: 1, Path: demoCam, Track: "video", Priority: 2},
		"02 11 01 08 64 65 6d 6f 2f 63 61 6d 05 76 69 64 65 6f 02",
	},
	{"V14", v03to05, subscribeUpdate, SubscribeUpdate{Priority: 9, MaxAge: 100}, "06 09 00 40 64 00 00"},
	{"V15", v04, subscribeReply, SubscribeReply{Priority: 2}, "00 05 02 00 00 00 00"},
	{"V16, lite-01", []Version{Version01}, subscribeReply, SubscribeReply{Priority: 2}, "01 02"},
	{"V16, lite-02", v02, subscribeReply, SubscribeReply{}, "00"},
	{"V17", v05, subscribeReply, SubscribeReply{Group: 42}, "00 01 2a"},
	{"V18", v05, subscribeReply, SubscribeReply{Type: ReplyEnd, Group: 100}, "01 02 40 64"},
	{"V19, lite-05", v05, subscribeReply, SubscribeReply{Type: ReplyDrop, First: 5, Last: 7, Code: CodeTooOld}, "02 03 05 07 02"},
	{
		"V19, lite-03 and 04",
		[]Version{Version03, Version04},
		subscribeReply,
		SubscribeReply{Type: ReplyDrop, First: 5, Last: 7, Code: CodeTooOld},
		"01 03 05 07 02",
	},
	{"V20", v05to06, stream(StreamTrack, track), Track{demoCam, "video"}, "06 0f 08 64 65 6d 6f 2f 63 61 6d 05 76 69 64 65 6f"},
	{"V21, defaults", v05, trackInfo, TrackInfo{MaxAge: 5000, Timescale: 1000}, "06 00 00 53 88 43 e8"},
	{"V21", v05, trackInfo, TrackInfo{1, true, 2000, 1_000_000}, "08 01 01 47 d0 80 0f 42 40"},
	{
		"V22", v05, stream(StreamFetch, fetch),
		Fetch{Path: demoCam, Track: "video", Priority: 5, Group: 300},
		"03 12 08 64 65 6d 6f 2f 63 61 6d 05 76 69 64 65 6f 05 41 2c",
	},
	{
		"V23", v05, wholeGroupCodec,
		wholeGroup{Group{Sequence: 42}, []frame{{1000, "\x01\x02\x03"}, {33, "\x04"}, {-7, ""}}},
		"00 02 00 2a 47 d0 03 01 02 03 40 42 01 04 0d 00",
	},
	{"V24", v04, wholeGroupCodec, wholeGroup{Group{Sequence: 42}, []frame{{0, "\x01\x02\x03"}}}, "00 02 00 2a 03 01 02 03"},
	{"V25", v05to06, datagram, Datagram{7, 42, 1000, []byte("hi")}, "07 2a 43 e8 68 69"},
	{"V26, lite-03", v03, probe, Probe{Bitrate: 1_000_000}, "04 80 0f 42 40"},
	{"V26", since(Version04), probe, Probe{1_000_000, 40}, "05 80 0f 42 40 28"},
	{"V27, no uri", since(Version04), stream(StreamGoaway, goaway), Goaway{}, "05 01 00"},
	{
		"V27", since(Version04), stream(StreamGoaway, goaway),
		Goaway{"https://b.example/"},
		"05 13 12 68 74 74 70 73 3a 2f 2f 62 2e 65 78 61 6d 70 6c 65 2f",
	},
	{"V28, empty", v05to06, uniStream(StreamSetup, setup), Setup{}, "01 01 00"},
	{"V28, Probe and Hop", v05to06, uniStream(StreamSetup, setup), Setup{Probe: ProbeReport, Hop: 1000}, "01 08 02 01 01 01 05 02 43 e8"},
	{
		"V28, Path and Role", v05to06, uniStream(StreamSetup, setup),
		Setup{Path: "/demo?jwt=x", HasPath: true, Role: RoleSubscribe, HasRole: true},
		"01 11 02 02 0b 2f 64 65 6d 6f 3f 6a 77 74 3d 78 03 01 02",
	},
	{"V30", inBand, stream(StreamServerSetup, serverSetup), ServerSetup{Version: Version02.Code()}, "21 00 09 c0 00 00 00 ff 0d ad 02 00"},
	{"V31", inBand, sessionInfo, SessionInfo{5000}, "02 53 88"},

	{"V33", v06, stream(StreamAnnounce, announceRequest), AnnounceRequest{Prefix: demo}, "01 05 04 64 65 6d 6f"},
	{"V34", v06, announce, Announce{Kind: AnnounceStart, Suffix: cam}, "00 07 03 63 61 6d 00 00 00"},
	{
		"V35", v06, announce,
		Announce{Kind: AnnounceStart, Suffix: cam, Hops: []uint64{7, 1000}, Warm: 3, Cold: 300},
		"00 0b 03 63 61 6d 02 07 43 e8 03 41 2c",
	},
	{"V36", v06, announce, Announce{Kind: AnnounceUpdate, Hops: []uint64{7}, Warm: 1, Cold: 2}, "02 05 00 01 07 01 02"},
	{"V37", v06, announce, Announce{Kind: AnnounceEnd, ID: 70}, "01 02 40 46"},
	{
		"V38", v06, stream(StreamSubscribe, subscribe),
		Subscribe{Path: demoCam, Track: "video", Priority: 2, MaxAge: 250},
		"02 17 00 08 64 65 6d 6f 2f 63 61 6d 05 76 69 64 65 6f 02 40 fa 00 00 00 00",
	},
	{
		"V39", v06, stream(StreamSubscribe, subscribe),
		Subscribe{ID: 70, Path: []string{"a"}, Track: "t", Priority: 255, MaxAge: 30000, Start: new(uint64(41)), End: new(uint64(99)), FrameStart: 15},
		"02 10 40 46 01 61 01 74 ff 80 00 75 30 29 40 64 0f 00",
	},
	{"V40", v06, subscribeUpdate, SubscribeUpdate{Priority: 9, MaxAge: 100}, "07 09 40 64 00 00 00 00"},
	{"V41", v06, trackInfo, TrackInfo{MaxAge: 30000, Timescale: 90000}, "09 00 80 00 75 30 80 01 5f 90"},
	{"V41, no limit", v06, trackInfo, TrackInfo{Priority: 1, MaxAge: NoMaxAge, Timescale: 1_000_000}, "0d 01 c0 1f ff ff ff ff ff ff 80 0f 42 40"},
	{
		"V42, whole", v06, wholeGroupCodec,
		wholeGroup{Group{Sequence: 42}, []frame{{1000, "\x01\x02\x03"}, {33, "\x04"}}},
		"00 03 00 2a 00 47 d0 03 01 02 03 40 42 01 04",
	},
	{"V42, from frame 15", v06, wholeGroupCodec, wholeGroup{Group{0, 42, 15}, []frame{{1500, "\x05"}}}, "00 03 00 2a 0f 4b b8 01 05"},
	{
		"V43, whole", v06, stream(StreamFetch, fetch),
		Fetch{Path: demoCam, Track: "video", Priority: 5, Group: 300},
		"03 14 08 64 65 6d 6f 2f 63 61 6d 05 76 69 64 65 6f 05 41 2c 00 00",
	},
	{
		"V43, frames", v06, stream(StreamFetch, fetch),
		Fetch{demoCam, "video", 5, 300, 3, new(uint64(9))},
		"03 14 08 64 65 6d 6f 2f 63 61 6d 05 76 69 64 65 6f 05 41 2c 03 0a",
	},
	{"the name of a node, a parameter of ours", v05to06, uniStream(StreamSetup, setup), Setup{Node: "n1"}, "01 0c 01 c0 00 6d 6f 71 72 6c 79 02 6e 31"},
	{"V44, Cost and Hop", v05to06, uniStream(StreamSetup, setup), Setup{Cost: new(uint64(0)), Hop: 1000}, "01 08 02 04 01 00 05 02 43 e8"},
	{"V44, Path", v05to06, uniStream(StreamSetup, setup), Setup{Path: "/", HasPath: true}, "01 04 01 02 01 2f"},
	{"V44, Role", v05to06, uniStream(StreamSetup, setup), Setup{HasRole: true}, "01 04 01 03 01 00"},
	{"V45, OK", v06, announceOK, AnnounceOK{1000, 2}, "03 43 e8 02"},
	{"V45, START", v06, announce, Announce{Kind: AnnounceStart, Suffix: []string{"mic"}, Hops: []uint64{7}, Warm: 1, Cold: 1}, "00 08 03 6d 69 63 01 07 01 01"},
	{"V45, END", v06, announce, Announce{Kind: AnnounceEnd}, "01 01 00"},

	{"L1, SETUP", v05to06, uniStream(StreamSetup, setup), Setup{Probe: ProbeReport, Hop: relayHop}, "01 0e 02 01 01 01 05 08" + relayHopBytes},
	{"L1, ANNOUNCE_REQUEST", v04to05, stream(StreamAnnounce, announceRequest), AnnounceRequest{Exclude: relayHop}, "01 09 00" + relayHopBytes},
	{"L1, ANNOUNCE_OK", v05to06, announceOK, AnnounceOK{relayHop, 1}, "09" + relayHopBytes + "01"},
	{"L1, echo", v05, announce, Announce{Kind: AnnounceStart, Suffix: cam, Hops: []uint64{1000}}, "08 01 03 63 61 6d 01 43 e8"},
	{"L1, TRACK", v05to06, stream(StreamTrack, track), Track{cam, "v"}, "06 06 03 63 61 6d 01 76"},
	{
		"L1, SUBSCRIBE", v03to05, stream(StreamSubscribe, subscribe),
		Subscribe{Path: cam, Track: "v", Priority: 2, MaxAge: 250},
		"02 0d 00 03 63 61 6d 01 76 02 00 40 fa 00 00",
	},
	{"L1, START", v05to06, subscribeReply, SubscribeReply{Group: 5}, "00 01 05"},
	{"L1, group", v05, wholeGroupCodec, wholeGroup{Group{Sequence: 5}, []frame{{1000, "hi"}}}, "00 02 00 05 47 d0 02 68 69"},
	{"L1, END", v05to06, subscribeReply, SubscribeReply{Type: ReplyEnd, Group: 7}, "01 01 07"},
	{"L2, ANNOUNCE_REQUEST", v06, stream(StreamAnnounce, announceRequest), AnnounceRequest{}, "01 01 00"},
	{
		"L2, START", v06, announce,
		Announce{Kind: AnnounceStart, Suffix: cam, Hops: []uint64{1000}, Warm: 1, Cold: 1},
		"00 09 03 63 61 6d 01 43 e8 01 01",
	},
	{
		"L2, START of a lite-05 publisher", v06, announce,
		Announce{Kind: AnnounceStart, Suffix: cam, Hops: []uint64{1000}, Cold: noLimit},
		"00 10 03 63 61 6d 01 43 e8 00 ff ff ff ff ff ff ff ff",
	},
	{"L2, TRACK_INFO", v06, trackInfo, TrackInfo{MaxAge: 5000, Timescale: 1000}, "05 00 53 88 43 e8"},
	{
		"L2, SUBSCRIBE", v06, stream(StreamSubscribe, subscribe),
		Subscribe{Path: cam, Track: "v", Priority: 2, MaxAge: 250},
		"02 0e 00 03 63 61 6d 01 76 02 40 fa 00 00 00 00",
	},
	{"L2, group", v06, wholeGroupCodec, wholeGroup{Group{Sequence: 5}, []frame{{1000, "hi"}}}, "00 03 00 05 00 47 d0 02 68 69"},
	{"L3, FETCH", v05, stream(StreamFetch, fetch), Fetch{Path: cam, Track: "v", Priority: 5, Group: 4}, "03 08 03 63 61 6d 01 76 05 04"},
	{"L3, FETCH in lite-06", v06, stream(StreamFetch, fetch), Fetch{Path: cam, Track: "v", Priority: 5, Group: 4}, "03 0a 03 63 61 6d 01 76 05 04 00 00"},
	{"L3, group 4", v05to06, fetched, []frame{{992, "z"}}, "47 c0 01 7a"},
	{"L3, group 5", v05to06, fetched, []frame{{1000, "hi"}, {33, "\x04"}}, "47 d0 02 68 69 40 42 01 04"},
	{"L4, OK", v04, subscribeReply, SubscribeReply{}, "00 05 00 00 00 00 00"},
	{"L5, PROBE", since(Version04), probe, Probe{0xfd3dec8, 1}, "05 8f d3 de c8 01"},
	{"L6, START", v06, announce, Announce{Kind: AnnounceStart, Suffix: demo}, "00 08 04 64 65 6d 6f 00 00 00"},
	{"L6, ANNOUNCE_OK", v05to06, announceOK, AnnounceOK{relayHop, 0}, "09" + relayHopBytes + "00"},
}

// unread are messages that are written otherwise than they were read, as they
// hold what is left out or stand in another order.
var unread = []vector{
	{
		"V29: parameters of CLIENT_SETUP are left out", inBand, stream(StreamClientSetup, clientSetup),
		ClientSetup{Versions: []uint64{Version02.Code(), Version01.Code(), 0xff00000e}},
		"20 00 2c 03 c0 00 00 00 ff 0d ad 02 c0 00 00 00 ff 0d ad 01 c0 00 00 00 ff 00 00 0e 02 02 80 00 a4 55" +
			"07 0b 6d 6f 71 2d 6c 69 74 65 2d 6a 73",
	},
	{
		// Every value has a length here, that of an even parameter, too.
		"parameters as a client of 2025 writes them", inBand, stream(StreamClientSetup, clientSetup),
		ClientSetup{Versions: []uint64{Version01.Code(), 0xff00000e}},
		"20 00 22 02 c0 00 00 00 ff 0d ad 01 c0 00 00 00 ff 00 00 0e 02 02 01 3f 05 0b 6d 6f 71 2d 6c 69 74 65 2d 6a 73",
	},
	{
		"length of CLIENT_SETUP as a varint", inBand, stream(StreamClientSetup, clientSetup),
		ClientSetup{Versions: []uint64{Version01.Code()}, VarintLength: true},
		"20 0d 01 c0 00 00 00 ff 0d ad 01 01 02 01 3f",
	},
	{
		"L1: Hop before Probe", v05to06, uniStream(StreamSetup, setup),
		Setup{Probe: ProbeReport, Hop: relayHop},
		"01 0e 02 05 08" + relayHopBytes + "01 01 01",
	},
	{
		"L6: Role last", v05to06, uniStream(StreamSetup, setup),
		Setup{Probe: ProbeReport, Hop: relayHop, Role: RolePublish, HasRole: true},
		"01 11 03 01 01 01 05 08" + relayHopBytes + "03 01 01",
	},
	{"unknown parameter of SETUP", v05to06, setup, Setup{Hop: 7}, "09 02 40 47 02 ff ff 05 01 07"},
	{"status 2 in lite-05 is active", v05, announce, Announce{Kind: AnnounceStart, Suffix: cam}, "06 02 03 63 61 6d 00"},
	{"hops of what has ended", v04to05, announce, Announce{Kind: AnnounceEnd, Suffix: cam}, "07 00 03 63 61 6d 01 07"},
	{"hops of what has ended, a count", v03, announce, Announce{Kind: AnnounceEnd, Suffix: cam}, "06 00 03 63 61 6d 02"},
	{"two unknown hops", v06, announce, Announce{Kind: AnnounceStart, Hops: []uint64{0, 7, 0}}, "00 07 00 03 00 07 00 00 00"},
	{"slashes that say nothing", v03, announceRequest, AnnounceRequest{Prefix: []string{"a", "b"}}, "08 07 2f 61 2f 2f 2f 62 2f"},
	{"nothing but slashes", v06, announceRequest, AnnounceRequest{}, "03 02 2f 2f"},
	{"long varints", v05, group, Group{ID: 5, Sequence: 6}, "40 0a 40 05 c0 00 00 00 00 00 00 06"},
	{"floor 0", v06, subscribeUpdate, SubscribeUpdate{End: new(uint64(0)), FrameEnd: new(uint64(0))}, "06 00 00 00 01 00 01"},
}

func TestVectors(t *testing.T) {
	for _, vec := range vectors {
		for _, v := range vec.versions {
			t.Run(vec.name+"/"+v.String(), func(t *testing.T) {
				want := unhex(t, vec.bytes)
				before := []byte("before")
				if got := vec.codec.append(before, vec.msg, v); !cmp.Equal(got, append(before, want...)) {
					t.Errorf("appended\n% x, want\n% x", got[len(before):], want)
				}
				checkRead(t, vec, v)
			})
		}
	}
}

func TestUnread(t *testing.T) {
	for _, vec := range unread {
		for _, v := range vec.versions {
			t.Run(vec.name+"/"+v.String(), func(t *testing.T) {
				checkRead(t, vec, v)
				checkCodec(t, vec.codec, v, unhex(t, vec.bytes))
			})
		}
	}
}

func checkRead(t *testing.T, vec vector, v Version) {
	t.Helper()
	b := unhex(t, vec.bytes)
	got, n, err := vec.codec.consume(v, b)
	if err != nil {
		t.Fatalf("consume: %v", err)
	}
	if diff := cmp.Diff(vec.msg, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("read another message (-want +got):\n%s", diff)
	}
	if n != len(b) {
		t.Errorf("took %d bytes of %d", n, len(b))
	}
}

// isMessage says whether the vector is one message, of which no part is whole.
func (vec vector) isMessage() bool {
	return vec.codec.name != wholeGroupCodec.name && vec.codec.name != fetched.name && vec.codec.name != datagram.name
}

// TestTruncated takes every true prefix of every vector.
func TestTruncated(t *testing.T) {
	for _, vec := range vectors {
		if !vec.isMessage() {
			continue
		}
		b := unhex(t, vec.bytes)
		for _, v := range vec.versions {
			for n := range b {
				if _, _, err := vec.codec.consume(v, b[:n]); !errors.Is(err, wire.ErrShort) {
					t.Errorf("%s, %s, first %d of %d bytes: error %v, want ErrShort", vec.name, v, n, len(b), err)
				}
			}
		}
	}
}

// TestBitFlips changes every bit of every vector; the fuzz targets' property
// must hold for all of them, in every version.
func TestBitFlips(t *testing.T) {
	for _, vec := range vectors {
		if vec.codec.name == wholeGroupCodec.name || vec.codec.name == fetched.name {
			continue
		}
		b := unhex(t, vec.bytes)
		for i := range 8 * len(b) {
			b[i/8] ^= 1 << (i % 8)
			for _, v := range vec.codec.versions {
				checkCodec(t, vec.codec, v, b)
			}
			b[i/8] ^= 1 << (i % 8)
		}
	}
}
