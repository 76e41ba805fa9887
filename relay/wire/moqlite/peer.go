package moqlite

import "github.com/moqrelay/moqrelay/relay/wire"

// Probe is PROBE: what the sender can deliver now.
type Probe struct {
	Bitrate uint64 // bits per second, 0 for unknown
	RTT     uint64 // milliseconds, 0 for unknown; from lite-04 on
}

// Append adds the message's bytes to b.
func (m Probe) Append(b []byte, v Version) []byte {
	start := len(b)
	b = wire.AppendVarint(b, m.Bitrate)
	if v.hasRTT() {
		b = wire.AppendVarint(b, m.RTT)
	}
	return seal(b, start)
}

// ConsumeProbe takes a PROBE from the front of b.
func (v Version) ConsumeProbe(b []byte) (Probe, int, error) {
	d := open(b)
	m := Probe{Bitrate: d.Varint()}
	if v.hasRTT() {
		m.RTT = d.Varint()
	}
	return finish(&d, m)
}

// Goaway is GOAWAY: the peer is asked to leave.
type Goaway struct {
	URI string // where to, empty for the same address
}

// Append adds the message's bytes to b.
func (m Goaway) Append(b []byte) []byte {
	return seal(wire.AppendString(b, m.URI), len(b))
}

// ConsumeGoaway takes a GOAWAY from the front of b.
func ConsumeGoaway(b []byte) (Goaway, int, error) {
	d := open(b)
	return finish(&d, Goaway{URI: d.String("uri", MaxURI)})
}
