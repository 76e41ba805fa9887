package transfork

import (
	"bytes"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// Version is a wire version.
type Version uint64

// Version02 is the only version this package speaks. The number alone does not
// identify the format: 0.6.2 and 0.6.3 used it for another one.
const Version02 Version = 0xff0bad02

// ExtensionNode is the private extension in which nodes of a cluster tell each
// other their names. The drafts reserve the numbers below 64; moq-relay 0.6.x
// ignores every extension. It stands for "MR".
const ExtensionNode = 0x4d52

// Extension is an optional part of the handshake.
type Extension struct {
	ID    uint64
	Value []byte
}

// Extensions are those of one side's handshake.
type Extensions []Extension

// Value returns the value of the extension with that id.
func (x Extensions) Value(id uint64) ([]byte, bool) {
	for _, e := range x {
		if e.ID == id {
			return e.Value, true
		}
	}
	return nil, false
}

func (x Extensions) append(b []byte) []byte {
	b = wire.AppendVarint(b, uint64(len(x)))
	for _, e := range x {
		b = wire.AppendVarint(b, e.ID)
		b = wire.AppendString(b, string(e.Value))
	}
	return b
}

func (d *decoder) extensions() Extensions {
	count := d.Count("extensions", MaxExtensions)
	var x Extensions
	room := MaxExtensionBytes
	for range count {
		id := d.Varint()
		value := d.Take(d.Count("extension bytes", room))
		if d.Err() != nil {
			return nil
		}
		if _, ok := x.Value(id); ok {
			d.Fail("extension %d is given twice", id)
			return nil
		}
		room -= len(value)
		x = append(x, Extension{ID: id, Value: bytes.Clone(value)})
	}
	return x
}

// SessionClient is SESSION_CLIENT, with which a client opens a session.
type SessionClient struct {
	Versions   []Version
	Extensions Extensions
}

// Append adds the message's bytes to b.
func (m SessionClient) Append(b []byte) []byte {
	b = wire.AppendVarint(b, uint64(len(m.Versions)))
	for _, v := range m.Versions {
		b = wire.AppendVarint(b, uint64(v))
	}
	return m.Extensions.append(b)
}

// ConsumeSessionClient takes a SESSION_CLIENT from the front of b.
func ConsumeSessionClient(b []byte) (SessionClient, int, error) {
	d := decode(b)
	var versions []Version
	for range d.Count("versions", MaxVersions) {
		versions = append(versions, Version(d.Varint()))
		if d.Err() != nil {
			break
		}
	}
	return finish(&d, SessionClient{Versions: versions, Extensions: d.extensions()})
}

// SessionServer is SESSION_SERVER, the answer to SESSION_CLIENT.
type SessionServer struct {
	Version    Version
	Extensions Extensions
}

// Append adds the message's bytes to b.
func (m SessionServer) Append(b []byte) []byte {
	b = wire.AppendVarint(b, uint64(m.Version))
	return m.Extensions.append(b)
}

// ConsumeSessionServer takes a SESSION_SERVER from the front of b.
func ConsumeSessionServer(b []byte) (SessionServer, int, error) {
	d := decode(b)
	return finish(&d, SessionServer{Version: Version(d.Varint()), Extensions: d.extensions()})
}

// SessionUpdate is SESSION_UPDATE. It is reserved: moq-relay 0.6.8 never sends
// it and closes a session on which it is sent.
type SessionUpdate struct {
	Bitrate uint64 // bits per second, 0 for unknown
}

// Append adds the message's bytes to b.
func (m SessionUpdate) Append(b []byte) []byte { return wire.AppendVarint(b, m.Bitrate) }

// ConsumeSessionUpdate takes a SESSION_UPDATE from the front of b.
func ConsumeSessionUpdate(b []byte) (SessionUpdate, int, error) {
	d := decode(b)
	return finish(&d, SessionUpdate{Bitrate: d.Varint()})
}
