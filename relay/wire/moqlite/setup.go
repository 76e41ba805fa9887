package moqlite

import (
	"slices"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// What SETUP says of Probe streams. Larger numbers count as ProbeIncrease.
const (
	ProbeNone     = 0
	ProbeReport   = 1
	ProbeIncrease = 2
)

// What SETUP says of what a client will do. Other numbers count as RoleBoth.
const (
	RoleBoth      = 0
	RolePublish   = 1
	RoleSubscribe = 2
)

// Setup is SETUP, with which each side opens its Setup stream from lite-05 on.
type Setup struct {
	Probe uint64 // whether the sender answers Probe streams
	// Path is the path of the request with its query, as a URL has them. An
	// empty one is the same as none, but HasPath says whether it was there: no
	// server may send it, and no client whose transport has named it already.
	Path    string
	HasPath bool
	// Role narrows what a client will do, and HasRole says whether it was
	// there: no server may send it.
	Role    uint64
	HasRole bool
	Cost    *uint64 // of pulling from the sender, nil if it does not say
	Hop     uint64  // the sender, 0 if it does not say
	Node    string  // name of the node that the sender is, "" if it is none or does not say; of ours alone
}

// The parameters of SETUP.
const (
	parameterProbe = 1
	parameterPath  = 2
	parameterRole  = 3
	parameterCost  = 4
	parameterHop   = 5
	// parameterNode is private: others skip it.
	parameterNode = 0x6d6f_7172_6c79
)

// Append adds the message's bytes to b.
func (m Setup) Append(b []byte) []byte {
	var count uint64
	var p []byte // the parameters, which stand behind their number
	number := func(id, value uint64) {
		count++
		p = wire.AppendVarint(p, id)
		p = seal(wire.AppendVarint(p, value), len(p))
	}
	if m.Probe != ProbeNone {
		number(parameterProbe, m.Probe)
	}
	if m.HasPath {
		count++
		p = wire.AppendVarint(p, parameterPath)
		p = wire.AppendString(p, m.Path)
	}
	if m.HasRole {
		number(parameterRole, m.Role)
	}
	if m.Cost != nil {
		number(parameterCost, *m.Cost)
	}
	if m.Hop != 0 {
		number(parameterHop, m.Hop)
	}
	if m.Node != "" {
		count++
		p = wire.AppendVarint(p, parameterNode)
		p = wire.AppendString(p, m.Node)
	}
	start := len(b)
	b = wire.AppendVarint(b, count)
	return seal(append(b, p...), start)
}

// ConsumeSetup takes a SETUP from the front of b. Unknown parameters are left
// out.
func ConsumeSetup(b []byte) (Setup, int, error) {
	d := open(b)
	var m Setup
	var seen []uint64
	for range d.Count("parameters", MaxParameters) {
		id := d.Varint()
		if d.Err() != nil {
			break
		}
		if slices.Contains(seen, id) {
			d.Fail("parameter %d is given twice", id)
			break
		}
		seen = append(seen, id)
		m.parameter(&d, id)
	}
	return finish(&d, m)
}

// parameter reads the value of one parameter.
func (m *Setup) parameter(d *decoder, id uint64) {
	switch id {
	case parameterProbe:
		m.Probe = d.number()
	case parameterPath:
		m.Path, m.HasPath = d.String("request path", MaxRequestPath), true
	case parameterRole:
		m.Role, m.HasRole = d.number(), true
	case parameterCost:
		m.Cost = new(d.number())
	case parameterHop:
		m.Hop = d.number()
	case parameterNode:
		m.Node = d.String("node", MaxNode)
	default:
		d.Take(d.Count("parameter bytes", d.Len()))
	}
}

// number reads a number that stands behind its own length.
func (d *decoder) number() uint64 {
	value := wire.NewDecoder(d.Take(d.Count("parameter bytes", d.Len())))
	if d.Err() != nil {
		return 0
	}
	v := value.Varint()
	if value.Err() != nil || value.Len() > 0 {
		d.Fail("parameter is no number")
		return 0
	}
	return v
}
