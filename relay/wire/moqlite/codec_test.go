package moqlite

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

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
	name     string
	versions []Version
	append   func(b []byte, m any, v Version) []byte
	consume  func(v Version, b []byte) (any, int, error)
}

// since returns v and all later versions.
func since(v Version) (versions []Version) {
	for ; v <= Version06; v++ {
		versions = append(versions, v)
	}
	return versions
}

var inBand = []Version{Version01, Version02}

// codecOf is for a message that all of its versions write alike.
func codecOf[T interface{ Append(b []byte) []byte }](name string, versions []Version, consume func([]byte) (T, int, error)) codec {
	return codec{
		name, versions,
		func(b []byte, m any, _ Version) []byte { return m.(T).Append(b) },
		func(_ Version, b []byte) (any, int, error) { return untyped(consume(b)) },
	}
}

// versioned is for a message that its versions write differently.
func versioned[T interface {
	Append(b []byte, v Version) []byte
}](name string, versions []Version, consume func(Version, []byte) (T, int, error),
) codec {
	return codec{
		name, versions,
		func(b []byte, m any, v Version) []byte { return m.(T).Append(b, v) },
		func(v Version, b []byte) (any, int, error) { return untyped(consume(v, b)) },
	}
}

func untyped[T any](m T, n int, err error) (any, int, error) {
	if err != nil {
		return nil, n, err
	}
	return m, n, nil
}

// behind is c with the type of a stream before the message.
func behind[T interface {
	~uint64
	Append(b []byte) []byte
}](typ T, c codec, consumeType func([]byte) (T, int, error),
) codec {
	return codec{
		"stream, " + c.name, c.versions,
		func(b []byte, m any, v Version) []byte { return c.append(typ.Append(b), m, v) },
		func(v Version, b []byte) (any, int, error) {
			got, n, err := consumeType(b)
			if err != nil {
				return nil, 0, err
			}
			if got != typ {
				return nil, 0, fmt.Errorf("stream of type %d: %w", got, wire.ErrMalformed)
			}
			m, k, err := c.consume(v, b[n:])
			if err != nil {
				return nil, 0, err
			}
			return m, n + k, nil
		},
	}
}

func stream(typ StreamType, c codec) codec       { return behind(typ, c, ConsumeStreamType) }
func uniStream(typ UniStreamType, c codec) codec { return behind(typ, c, ConsumeUniStreamType) }

var (
	clientSetup     = codecOf("CLIENT_SETUP", inBand, ConsumeClientSetup)
	serverSetup     = codecOf("SERVER_SETUP", inBand, ConsumeServerSetup)
	sessionInfo     = codecOf("SESSION_INFO", inBand, ConsumeSessionInfo)
	setup           = codecOf("SETUP", since(Version05), ConsumeSetup)
	announceRequest = versioned("ANNOUNCE_REQUEST", since(Version01), Version.ConsumeAnnounceRequest)
	announceOK      = codecOf("ANNOUNCE_OK", since(Version05), ConsumeAnnounceOK)
	announceInit    = codecOf("ANNOUNCE_INIT", inBand, ConsumeAnnounceInit)
	announce        = versioned("announcement", since(Version01), Version.ConsumeAnnounce)
	subscribe       = versioned("SUBSCRIBE", since(Version01), Version.ConsumeSubscribe)
	subscribeUpdate = versioned("SUBSCRIBE_UPDATE", since(Version03), Version.ConsumeSubscribeUpdate)
	subscribeReply  = versioned("subscribe reply", since(Version01), Version.ConsumeSubscribeReply)
	track           = codecOf("TRACK", since(Version05), ConsumeTrack)
	trackInfo       = versioned("TRACK_INFO", since(Version05), Version.ConsumeTrackInfo)
	group           = versioned("GROUP", since(Version01), Version.ConsumeGroup)
	frameHeader     = versioned("frame header", since(Version01), Version.ConsumeFrameHeader)
	datagram        = codecOf("datagram", since(Version05), ConsumeDatagram)
	fetch           = versioned("FETCH", since(Version03), Version.ConsumeFetch)
	probe           = versioned("PROBE", since(Version03), Version.ConsumeProbe)
	goaway          = codecOf("GOAWAY", since(Version04), ConsumeGoaway)
)

// messages are the codecs of what has a length before it.
var messages = []codec{
	clientSetup, serverSetup, sessionInfo, setup,
	announceRequest, announceOK, announceInit, announce,
	subscribe, subscribeUpdate, subscribeReply,
	track, trackInfo, group, fetch, probe, goaway,
}

// frame is a frame of a group.
type frame struct {
	Delta   int64
	Payload string
}

// wholeGroup is a Group stream to its end, behind the type of the stream.
type wholeGroup struct {
	Group  Group
	Frames []frame
}

var wholeGroupCodec = uniStream(StreamGroup, codec{
	"whole group", since(Version01),
	func(b []byte, m any, v Version) []byte {
		g := m.(wholeGroup)
		return appendFrames(g.Group.Append(b, v), g.Frames, v)
	},
	func(v Version, b []byte) (any, int, error) {
		header, n, err := v.ConsumeGroup(b)
		if err != nil {
			return nil, 0, err
		}
		frames, k, err := consumeFrames(v, b[n:])
		return wholeGroup{header, frames}, n + k, err
	},
})

// fetched is what answers FETCH.
var fetched = codec{
	"frames", since(Version05),
	func(b []byte, m any, v Version) []byte { return appendFrames(b, m.([]frame), v) },
	func(v Version, b []byte) (any, int, error) { return untyped(consumeFrames(v, b)) },
}

func appendFrames(b []byte, frames []frame, v Version) []byte {
	for _, f := range frames {
		b = FrameHeader{Delta: f.Delta, Size: uint64(len(f.Payload))}.Append(b, v)
		b = append(b, f.Payload...)
	}
	return b
}

func consumeFrames(v Version, b []byte) (frames []frame, off int, err error) {
	for off < len(b) {
		h, n, err := v.ConsumeFrameHeader(b[off:])
		if err != nil || uint64(len(b)-off-n) < h.Size {
			return nil, 0, wire.ErrShort
		}
		off += n + int(h.Size)
		frames = append(frames, frame{h.Delta, string(b[off-int(h.Size) : off])})
	}
	return frames, off, nil
}
