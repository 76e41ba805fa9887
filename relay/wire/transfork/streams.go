package transfork

import "github.com/moqrelay/moqrelay/relay/wire"

// StreamType is the first varint of a bidirectional stream.
type StreamType uint64

// The bidirectional streams.
const (
	StreamSession   StreamType = 0
	StreamAnnounce  StreamType = 1
	StreamSubscribe StreamType = 2
	StreamFetch     StreamType = 3
	StreamInfo      StreamType = 4
)

// Append adds the type's bytes to b.
func (t StreamType) Append(b []byte) []byte { return wire.AppendVarint(b, uint64(t)) }

// ConsumeStreamType takes a type from the front of b. Unknown types are for the
// caller to refuse.
func ConsumeStreamType(b []byte) (StreamType, int, error) {
	d := decode(b)
	return finish(&d, StreamType(d.Varint()))
}

// UniStreamType is the first varint of a unidirectional stream.
type UniStreamType uint64

// StreamGroup is the only unidirectional stream.
const StreamGroup UniStreamType = 0

// Append adds the type's bytes to b.
func (t UniStreamType) Append(b []byte) []byte { return wire.AppendVarint(b, uint64(t)) }

// ConsumeUniStreamType takes a type from the front of b. Unknown types are for
// the caller to refuse.
func ConsumeUniStreamType(b []byte) (UniStreamType, int, error) {
	d := decode(b)
	return finish(&d, UniStreamType(d.Varint()))
}
