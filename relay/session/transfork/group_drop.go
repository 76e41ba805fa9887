package transfork

import (
	"slices"

	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

const (
	// maxDrops bounds the GROUP_DROP messages that wait because the peer does not
	// read its Subscribe stream.
	maxDrops = 256
	// maxCountedDrops is how many groups one range counts for at most.
	maxCountedDrops = 64
)

// tellDrops tells the subscriber what it does not get.
func (d *downstream) tellDrops() {
	for _, r := range d.sub.Dropped() {
		extra := r.Last - r.First
		// More groups than a track remembers were never there to be dropped.
		d.session.config.Metrics.GroupsDropped(r.Reason.String(), min(extra, uint64(maxCountedDrops-1))+1)
		d.queueDrop(wire.GroupDrop{First: r.First, Extra: extra, Code: codeOfDrop(r.Reason)})
	}
	d.writeDrops()
}

func (d *downstream) queueDrop(drop wire.GroupDrop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.drops) == maxDrops {
		d.drops = slices.Delete(d.drops, 0, 1)
	}
	d.drops = append(d.drops, drop)
}

// writeDrops writes the GROUP_DROP messages that wait, in a goroutine that is
// there only for as long as there are some.
func (d *downstream) writeDrops() {
	d.mu.Lock()
	busy := d.writing || len(d.drops) == 0
	if !busy {
		d.writing = true
	}
	d.mu.Unlock()
	if busy {
		return
	}
	if !d.session.spawn(d.writeDropsNow) {
		d.doneWriting()
	}
}

func (d *downstream) writeDropsNow() {
	defer d.doneWriting()
	for {
		d.mu.Lock()
		drops := d.drops
		d.drops = nil
		d.mu.Unlock()
		if len(drops) == 0 {
			return
		}
		var b []byte
		for _, drop := range drops {
			b = drop.Append(b)
		}
		if _, err := d.stream.Write(b); err != nil {
			return // the subscriber does not want to know, or has left
		}
	}
}

func (d *downstream) doneWriting() {
	d.mu.Lock()
	d.writing = false
	d.mu.Unlock()
	notify(d.quieter)
}
