package qmux

import (
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/moqrelay/moqrelay/relay/wire"
)

// Parameters are what one side allows the other. Zero is what holds for those
// that are left out.
type Parameters struct {
	// IdleTimeout is in milliseconds, 0 for none.
	IdleTimeout uint64
	// MaxData is the first credit of the connection, in bytes.
	MaxData uint64
	// MaxStreamDataOwn is the first credit of bidirectional streams that the sender
	// of the parameters opens, MaxStreamDataPeer of those that the other side opens,
	// MaxStreamDataUni of unidirectional ones.
	MaxStreamDataOwn, MaxStreamDataPeer, MaxStreamDataUni uint64
	// MaxStreamsBidi and MaxStreamsUni are how many streams the other side may open.
	MaxStreamsBidi, MaxStreamsUni uint64
	// MaxDatagram is the largest datagram frame, 0 for none.
	MaxDatagram uint64
	// MaxRecord is the longest message, 0 for [MaxRecord].
	MaxRecord uint64
	// ResetStreamAt says that its sender takes [ResetStreamAt], in qmux-02.
	ResetStreamAt bool
}

// The ids of the parameters.
const (
	idIdleTimeout       = 0x01
	idMaxData           = 0x04
	idMaxStreamDataOwn  = 0x05
	idMaxStreamDataPeer = 0x06
	idMaxStreamDataUni  = 0x07
	idMaxStreamsBidi    = 0x08
	idMaxStreamsUni     = 0x09
	idResetStreamAt     = 0x1d
	idMaxDatagram       = 0x20
	idMaxRecord         = 0x0571c59429cd0845
	idProtocols         = 0x3d4f9c2a8b1e6075
)

// numbers lists the parameters that are numbers, in the order they are written.
func (p *Parameters) numbers() []number {
	return []number{
		{idIdleTimeout, &p.IdleTimeout},
		{idMaxData, &p.MaxData},
		{idMaxStreamDataOwn, &p.MaxStreamDataOwn},
		{idMaxStreamDataPeer, &p.MaxStreamDataPeer},
		{idMaxStreamDataUni, &p.MaxStreamDataUni},
		{idMaxStreamsBidi, &p.MaxStreamsBidi},
		{idMaxStreamsUni, &p.MaxStreamsUni},
		{idMaxDatagram, &p.MaxDatagram},
		{idMaxRecord, &p.MaxRecord},
	}
}

type number struct {
	id    uint64
	value *uint64
}

// Append writes the Data of a TransportParameters frame.
func (p Parameters) Append(b []byte) []byte {
	for _, n := range p.numbers() {
		if *n.value == 0 {
			continue
		}
		b = quicvarint.Append(b, n.id)
		b = quicvarint.Append(b, uint64(quicvarint.Len(*n.value)))
		b = quicvarint.Append(b, *n.value)
	}
	if p.ResetStreamAt {
		b = quicvarint.Append(b, idResetStreamAt)
		b = append(b, 0)
	}
	return b
}

// ConsumeParameters reads the Data of a TransportParameters frame.
func ConsumeParameters(b []byte, v Version) (Parameters, error) {
	var p Parameters
	numbers := p.numbers()
	seen := make(map[uint64]bool, len(numbers)+1) // known ids alone
	d := &decoder{wire.NewDecoder(b)}
	for d.Err() == nil && d.Len() > 0 {
		id := d.Varint()
		value := d.bytes()
		if d.Err() != nil {
			break
		}
		switch {
		case isForbidden(id):
			d.Fail("parameter %#x is not allowed here", id)
		case id == idResetStreamAt && v == Version02:
			d.unseen(seen, id)
			if len(value) > 0 {
				d.Fail("parameter %#x has a value", id)
			}
			p.ResetStreamAt = true
		default:
			for _, n := range numbers {
				if n.id == id {
					d.unseen(seen, id)
					d.number(n, value)
				}
			}
		}
	}
	if d.Err() == nil {
		p.check(d)
	}
	if d.Err() != nil {
		return Parameters{}, d.Err()
	}
	return p, nil
}

// isForbidden says that an id belongs to QUIC, or to QMux over other channels.
func isForbidden(id uint64) bool {
	return id == 0x00 || id == 0x02 || id == 0x03 || id >= 0x0a && id <= 0x10 || id == idProtocols
}

func (d *decoder) unseen(seen map[uint64]bool, id uint64) {
	if seen[id] {
		d.Fail("parameter %#x comes twice", id)
	}
	seen[id] = true
}

func (d *decoder) number(n number, value []byte) {
	v, length, err := quicvarint.Parse(value)
	if err != nil || length != len(value) {
		d.Fail("parameter %#x is no number", n.id)
		return
	}
	if n.id == idMaxRecord && v < MaxRecord {
		d.Fail("records of %d bytes are below the least of %d", v, MaxRecord)
	}
	*n.value = v
}

func (p *Parameters) check(d *decoder) {
	if p.MaxStreamsBidi > MaxStreamCount || p.MaxStreamsUni > MaxStreamCount {
		d.Fail("more streams than have ids")
	}
}
