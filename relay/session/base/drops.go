package base

import (
	"slices"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
)

const (
	// maxDrops bounds the drops that wait because the peer does not read the
	// stream of its subscription.
	maxDrops = 256
	// maxCountedDrops is how many groups one range counts for at most.
	maxCountedDrops = 64
)

// drop is a run of groups that the subscriber does not get, both ends included.
type drop struct {
	first, last uint64
	code        uint32
}

// tellDrops tells the subscriber what it does not get.
func (d *Delivery) tellDrops() {
	for _, r := range d.sub.Dropped() {
		// More groups than a track remembers were never there to be dropped.
		d.base.Config.Metrics.GroupsDropped(r.Reason.String(), min(r.Last-r.First, uint64(maxCountedDrops-1))+1)
		d.queueDrop(drop{r.First, r.Last, d.base.Codes.Stream(&moq.DropError{Reason: r.Reason})})
	}
	d.noteStart()
	d.writeDrops()
}

func (d *Delivery) queueDrop(missing drop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.drops) == maxDrops {
		d.drops = slices.Delete(d.drops, 0, 1)
	}
	d.drops = append(d.drops, missing)
}

// note has a message written.
func (d *Delivery) note(message func(b []byte) []byte) {
	d.mu.Lock()
	d.notes = message(d.notes)
	d.mu.Unlock()
	d.writeDrops()
}

// writeDrops writes the messages that wait, in a goroutine that is there only for
// as long as there are some.
func (d *Delivery) writeDrops() {
	d.mu.Lock()
	busy := d.writing || len(d.drops) == 0 && len(d.notes) == 0
	if !busy {
		d.writing = true
	}
	d.mu.Unlock()
	if busy {
		return
	}
	if !d.base.Spawn(d.writeDropsNow) {
		d.DoneWriting()
	}
}

func (d *Delivery) writeDropsNow() {
	defer d.DoneWriting()
	for {
		d.mu.Lock()
		b, drops := d.notes, d.drops
		d.notes, d.drops = nil, nil
		d.mu.Unlock()
		for _, missing := range drops {
			b = d.wire.AppendDrop(b, missing.first, missing.last, missing.code)
		}
		if len(b) == 0 {
			return
		}
		if _, err := d.stream.Write(b); err != nil {
			return // the subscriber does not want to know, or has left
		}
	}
}

// DoneWriting gives the sending side of the stream back.
func (d *Delivery) DoneWriting() {
	d.mu.Lock()
	d.writing = false
	d.mu.Unlock()
	notify(d.quieter)
}

// AwaitWriter waits until nobody writes to the stream and takes that over. It
// reports whether it could: a subscriber may not read what it is told.
func (d *Delivery) AwaitWriter() bool {
	timer := time.NewTimer(LastGroupsWait)
	defer timer.Stop()
	for {
		d.mu.Lock()
		writing := d.writing
		d.writing = true
		d.mu.Unlock()
		if !writing {
			return true
		}
		select {
		case <-d.quieter:
		case <-timer.C:
			return false
		case <-d.base.Conn.Context().Done():
			return false
		}
	}
}
