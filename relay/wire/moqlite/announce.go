package moqlite

import (
	"slices"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// AnnounceRequest is ANNOUNCE_REQUEST: the peer is asked for all that it has
// under the parts of Prefix.
type AnnounceRequest struct {
	Prefix  []string
	Exclude uint64 // lite-04 and lite-05: leave out what came by this hop, 0 for none
}

// Append adds the message's bytes to b.
func (m AnnounceRequest) Append(b []byte, v Version) []byte {
	start := len(b)
	b = appendPath(b, m.Prefix)
	if v.HasExclude() {
		b = wire.AppendVarint(b, m.Exclude)
	}
	return seal(b, start)
}

// ConsumeAnnounceRequest takes an ANNOUNCE_REQUEST from the front of b.
func (v Version) ConsumeAnnounceRequest(b []byte) (AnnounceRequest, int, error) {
	d := open(b)
	m := AnnounceRequest{Prefix: d.path()}
	if v.HasExclude() {
		m.Exclude = d.Varint()
	}
	return finish(&d, m)
}

// AnnounceOK is ANNOUNCE_OK, the first answer to ANNOUNCE_REQUEST from lite-05
// on.
type AnnounceOK struct {
	Hop    uint64 // the sender, 0 if it does not say
	Active uint64 // how many announcements follow that are no news
}

// Append adds the message's bytes to b.
func (m AnnounceOK) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendVarint(b, m.Hop)
	b = wire.AppendVarint(b, m.Active)
	return seal(b, start)
}

// ConsumeAnnounceOK takes an ANNOUNCE_OK from the front of b.
func ConsumeAnnounceOK(b []byte) (AnnounceOK, int, error) {
	d := open(b)
	return finish(&d, AnnounceOK{Hop: d.Varint(), Active: d.Varint()})
}

// AnnounceInit is ANNOUNCE_INIT, the first answer to ANNOUNCE_REQUEST in lite-01
// and lite-02: what there is already. It must fit into one message; the rest can
// follow as announcements.
type AnnounceInit struct {
	Suffixes [][]string
}

// Append adds the message's bytes to b.
func (m AnnounceInit) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendVarint(b, uint64(len(m.Suffixes)))
	for _, suffix := range m.Suffixes {
		b = appendPath(b, suffix)
	}
	return seal(b, start)
}

// ConsumeAnnounceInit takes an ANNOUNCE_INIT from the front of b.
func ConsumeAnnounceInit(b []byte) (AnnounceInit, int, error) {
	d := open(b)
	var m AnnounceInit
	// A path takes a byte at least, so more cannot be there.
	for range d.Count("suffixes", d.Len()) {
		m.Suffixes = append(m.Suffixes, d.path())
		if d.Err() != nil {
			break
		}
	}
	return finish(&d, m)
}

// AnnounceKind says what an announcement is about.
type AnnounceKind uint8

// The kinds. Update is of lite-06; in lite-05 another Start of the same path
// has its place, in older versions there is none.
const (
	AnnounceEnd    AnnounceKind = iota // reachable no longer
	AnnounceStart                      // reachable from now on
	AnnounceUpdate                     // reachable by another way
)

// Announce is an announcement: ANNOUNCE_START, ANNOUNCE_END or ANNOUNCE_UPDATE
// in lite-06, one message with a status before.
type Announce struct {
	Kind AnnounceKind
	// ID says in End and Update of lite-06 which Start of the stream is meant,
	// counted from 0. It is not on the wire otherwise.
	ID uint64
	// Suffix is what follows the prefix asked for. End and Update of lite-06 do
	// without.
	Suffix []string
	// Hops is the way from the publisher here, in Start and Update from lite-03
	// on: with the sender up to lite-04, without it later. Lite-03 tells no
	// more than their number, they are 0 then.
	Hops []uint64
	// Warm and Cold are the costs of pulling it, where it is being pulled and
	// where not, in Start and Update of lite-06.
	Warm, Cold uint64
}

// The numbers of the kinds on the wire, as a status up to lite-05 and as a type
// later.
const (
	statusEnded   = 0
	statusActive  = 1
	statusRestart = 2 // lite-05, the same as active

	typeAnnounceStart  = 0
	typeAnnounceEnd    = 1
	typeAnnounceUpdate = 2
)

// Append adds the message's bytes to b. Only lite-06 has Update.
func (m Announce) Append(b []byte, v Version) []byte {
	if v.HasCosts() {
		return m.appendTyped(b)
	}
	v.mustHave(m.Kind != AnnounceUpdate, "ANNOUNCE_UPDATE")
	start := len(b)
	var hops []uint64 // none when it ends
	if m.Kind == AnnounceStart {
		b = append(b, statusActive)
		hops = m.Hops
	} else {
		b = append(b, statusEnded)
	}
	b = appendPath(b, m.Suffix)
	switch {
	case v >= Version04:
		b = appendHops(b, hops)
	case v == Version03:
		b = wire.AppendVarint(b, uint64(len(hops)))
	}
	return seal(b, start)
}

func (m Announce) appendTyped(b []byte) []byte {
	switch m.Kind {
	case AnnounceStart:
		b = append(b, typeAnnounceStart)
	case AnnounceEnd:
		b = append(b, typeAnnounceEnd)
	case AnnounceUpdate:
		b = append(b, typeAnnounceUpdate)
	}
	start := len(b)
	if m.Kind == AnnounceStart {
		b = appendPath(b, m.Suffix)
	} else {
		b = wire.AppendVarint(b, m.ID)
	}
	if m.Kind != AnnounceEnd {
		b = appendHops(b, m.Hops)
		b = wire.AppendVarint(b, m.Warm)
		b = wire.AppendVarint(b, m.Cold)
	}
	return seal(b, start)
}

// ConsumeAnnounce takes an announcement from the front of b.
func (v Version) ConsumeAnnounce(b []byte) (Announce, int, error) {
	if v.HasCosts() {
		return consumeTypedAnnounce(b)
	}
	d := open(b)
	var m Announce
	switch status := d.Byte(); {
	case status == statusEnded:
	case status == statusActive, status == statusRestart && v == Version05:
		m.Kind = AnnounceStart
	default:
		d.Fail("announce status %d", status)
	}
	m.Suffix = d.path()
	switch {
	case v >= Version04:
		m.Hops = d.hops()
	case v == Version03:
		m.Hops = make([]uint64, d.Count("hops", MaxHops))
	}
	if m.Kind == AnnounceEnd {
		m.Hops = nil // "the hop list is ignored"
	}
	return finish(&d, m)
}

func consumeTypedAnnounce(b []byte) (Announce, int, error) {
	typ, d := openTyped(b)
	var m Announce
	switch typ {
	case typeAnnounceStart:
		m = Announce{Kind: AnnounceStart, Suffix: d.path()}
	case typeAnnounceEnd:
		m = Announce{Kind: AnnounceEnd, ID: d.Varint()}
	case typeAnnounceUpdate:
		m = Announce{Kind: AnnounceUpdate, ID: d.Varint()}
	default:
		d.Fail("announce type %d", typ)
	}
	if m.Kind != AnnounceEnd {
		m.Hops = d.hops()
		m.Warm = d.Varint()
		m.Cold = d.Varint()
		d.distinct(m.Hops)
	}
	return finish(&d, m)
}

// distinct fails if a hop occurs twice. A hop of 0 is unknown and equals none.
func (d *decoder) distinct(hops []uint64) {
	for i, hop := range hops {
		if hop != 0 && slices.Contains(hops[:i], hop) {
			d.Fail("hop %d is given twice", hop)
		}
	}
}
