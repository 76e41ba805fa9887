package moq

import (
	"context"
	"slices"
	"sync"
)

// maxDatagrams bounds the datagrams that wait for one subscription.
const maxDatagrams = 32

// Datagram is a group of one frame that goes out at once or not at all: it is not
// in the cache, it is not sent again, and it never becomes a group that is read.
type Datagram struct {
	Sequence  uint64
	Timestamp uint64 // in the units of the track's [Info]
	Payload   []byte // shared by all who get it, not to be changed
}

// PublishDatagram hands a datagram to the subscriptions that take them and have
// its number in their range. One that has come before is dropped, and one that is
// so late that nobody knows. The payload must not be changed any more.
func (t *Track) PublishDatagram(sequence, timestamp uint64, payload []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil || !t.datagrams.add(sequence) {
		return
	}
	t.readyLocked()
	for _, s := range t.subscriptions {
		if s.datagrams != nil && s.wantsLocked(sequence) {
			s.datagrams.put(Datagram{sequence, timestamp, payload})
		}
	}
}

// window remembers which of the last 64 numbers have come.
type window struct {
	highest uint64
	seen    uint64 // bit n: highest-n has come; 0: nothing has
}

// add notes a number, and tells whether it is new.
func (w *window) add(n uint64) bool {
	if w.seen == 0 || n > w.highest {
		w.seen = w.seen<<(n-w.highest) | 1 // a shift by more than there is gives 0
		w.highest = n
		return true
	}
	bit := uint64(1) << (w.highest - n)
	isNew := bit != 0 && w.seen&bit == 0
	w.seen |= bit
	return isNew
}

// Mailbox is where the datagrams of many subscriptions wait to be sent by one
// goroutine. Who is behind loses the oldest of a subscription.
type Mailbox struct {
	ready chan struct{} // holds 1: waiting is not empty

	mu      sync.Mutex
	waiting []*datagramQueue // that have something, each once, in the order of their turns
	dropped uint64
}

// datagramQueue is what waits for one subscription.
type datagramQueue struct {
	mailbox *Mailbox
	id      uint64
	queue   []Datagram // guarded by mailbox.mu
}

// NewMailbox returns an empty one.
func NewMailbox() *Mailbox { return &Mailbox{ready: make(chan struct{}, 1)} }

// TakeDatagrams has the datagrams that come from now on wait in m, under an id of
// the caller's for the subscription.
func (s *Subscription) TakeDatagrams(m *Mailbox, id uint64) {
	s.track.mu.Lock()
	defer s.track.mu.Unlock()
	s.datagrams = &datagramQueue{mailbox: m, id: id}
}

func (q *datagramQueue) put(d Datagram) {
	m := q.mailbox
	m.mu.Lock()
	defer m.mu.Unlock()
	switch len(q.queue) {
	case 0:
		m.waiting = append(m.waiting, q)
	case maxDatagrams:
		q.queue = slices.Delete(q.queue, 0, 1)
		m.dropped++
	}
	q.queue = append(q.queue, d)
	notify(m.ready)
}

// Next waits for a datagram, takes one of each subscription in turn, and returns
// it with the subscription's id. Dropped is how many were dropped since the last
// call, of any.
func (m *Mailbox) Next(ctx context.Context) (id uint64, d Datagram, dropped uint64, err error) {
	for {
		if id, d, dropped, ok := m.take(); ok {
			return id, d, dropped, nil
		}
		select {
		case <-m.ready:
		case <-ctx.Done():
			return 0, Datagram{}, 0, context.Cause(ctx)
		}
	}
}

func (m *Mailbox) take() (id uint64, d Datagram, dropped uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) == 0 {
		return 0, Datagram{}, 0, false
	}
	q := m.waiting[0]
	m.waiting = m.waiting[1:]
	d = q.queue[0]
	q.queue = slices.Delete(q.queue, 0, 1)
	if len(q.queue) > 0 {
		m.waiting = append(m.waiting, q)
	}
	dropped, m.dropped = m.dropped, 0
	return q.id, d, dropped, true
}
