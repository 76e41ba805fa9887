package moqlite

import "github.com/moqrelay/moqrelay/relay/wire"

// StreamType is the first varint of a bidirectional stream.
type StreamType uint64

// The bidirectional streams. Session is what a stream that began with
// CLIENT_SETUP goes on as; no stream begins with it.
const (
	StreamSession     StreamType = 0
	StreamAnnounce    StreamType = 1
	StreamSubscribe   StreamType = 2
	StreamFetch       StreamType = 3
	StreamProbe       StreamType = 4
	StreamGoaway      StreamType = 5
	StreamTrack       StreamType = 6
	StreamClientSetup StreamType = 0x20
	StreamServerSetup StreamType = 0x21 // in the answer to the one before
)

// Append adds the type's bytes to b.
func (t StreamType) Append(b []byte) []byte { return wire.AppendVarint(b, uint64(t)) }

// ConsumeStreamType takes a type from the front of b. Unknown types are for the
// caller to refuse.
func ConsumeStreamType(b []byte) (StreamType, int, error) {
	d := wire.NewDecoder(b)
	return wire.Finish(&d, StreamType(d.Varint()))
}

// UniStreamType is the first varint of a unidirectional stream.
type UniStreamType uint64

// The unidirectional streams.
const (
	StreamGroup UniStreamType = 0
	StreamSetup UniStreamType = 1
)

// Append adds the type's bytes to b.
func (t UniStreamType) Append(b []byte) []byte { return wire.AppendVarint(b, uint64(t)) }

// ConsumeUniStreamType takes a type from the front of b. Unknown types are for
// the caller to refuse.
func ConsumeUniStreamType(b []byte) (UniStreamType, int, error) {
	d := wire.NewDecoder(b)
	return wire.Finish(&d, UniStreamType(d.Varint()))
}
