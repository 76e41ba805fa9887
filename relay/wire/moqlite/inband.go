package moqlite

import (
	"encoding/binary"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// ClientSetup is CLIENT_SETUP, with which a client of lite-01 and lite-02 opens
// the first stream, behind [StreamClientSetup].
//
// Its parameters are left out. No server of moq-lite heeds one, and clients of
// 2025 write them in another form than the draft that both sides name.
type ClientSetup struct {
	Versions []uint64 // codes, the most wanted first; IETF drafts among them
	// VarintLength says that the length was a varint, as the oldest clients
	// write it, and not two bytes. The answer has the same form.
	VarintLength bool
}

// Append adds the message's bytes to b, without parameters.
func (m ClientSetup) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendVarint(b, uint64(len(m.Versions)))
	for _, v := range m.Versions {
		b = wire.AppendVarint(b, v)
	}
	b = append(b, 0)
	return sealInBand(b, start, m.VarintLength)
}

// ConsumeClientSetup takes a CLIENT_SETUP from the front of b.
func ConsumeClientSetup(b []byte) (ClientSetup, int, error) {
	d, varint := openInBand(b)
	m := ClientSetup{VarintLength: varint}
	for range d.Count("versions", MaxVersions) {
		m.Versions = append(m.Versions, d.Varint())
		if d.Err() != nil {
			break
		}
	}
	d.Take(d.Len()) // the parameters
	return finish(&d, m)
}

// ServerSetup is SERVER_SETUP, the answer to CLIENT_SETUP, behind
// [StreamServerSetup].
type ServerSetup struct {
	Version      uint64 // the code of one that the client offered
	VarintLength bool   // as in ClientSetup
}

// Append adds the message's bytes to b, without parameters.
func (m ServerSetup) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendVarint(b, m.Version)
	b = append(b, 0)
	return sealInBand(b, start, m.VarintLength)
}

// ConsumeServerSetup takes a SERVER_SETUP from the front of b.
func ConsumeServerSetup(b []byte) (ServerSetup, int, error) {
	d, varint := openInBand(b)
	m := ServerSetup{Version: d.Varint(), VarintLength: varint}
	d.Take(d.Len()) // the parameters
	return finish(&d, m)
}

func sealInBand(b []byte, start int, varint bool) []byte {
	if varint {
		return seal(b, start)
	}
	size := len(b) - start
	b = append(b, 0, 0)
	copy(b[start+2:], b[start:start+size])
	binary.BigEndian.PutUint16(b[start:], uint16(size))
	return b
}

// openInBand is open for a length of either form, and says whether it was a
// varint. A first byte of 0 tells the two apart: no body is empty, and none of
// more than 255 bytes is known in the newer form.
func openInBand(b []byte) (d decoder, varint bool) {
	if len(b) > 0 && b[0] != 0 {
		return open(b), true
	}
	head := wire.NewDecoder(b)
	head.Byte()
	body := head.Take(int(head.Byte()))
	if head.Err() != nil {
		return decoder{Decoder: head}, false
	}
	return decoder{Decoder: wire.NewDecoder(body), size: head.Offset()}, false
}

// SessionInfo is SESSION_INFO, which either side may write on the stream that
// the two messages were exchanged on.
type SessionInfo struct {
	Bitrate uint64 // bits per second, 0 for unknown
}

// Append adds the message's bytes to b.
func (m SessionInfo) Append(b []byte) []byte {
	return seal(wire.AppendVarint(b, m.Bitrate), len(b))
}

// ConsumeSessionInfo takes a SESSION_INFO from the front of b.
func ConsumeSessionInfo(b []byte) (SessionInfo, int, error) {
	d := open(b)
	return finish(&d, SessionInfo{Bitrate: d.Varint()})
}
