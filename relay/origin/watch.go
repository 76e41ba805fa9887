package origin

import (
	"container/list"
	"context"
	"slices"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// EventType says what a watch has to tell.
type EventType uint8

// The types of events.
const (
	Active  EventType = iota // it can be subscribed
	Ended                    // it cannot any more
	Updated                  // what is active is reached in another way
	Live                     // all that was there at the start has been told; comes once
)

// String returns "active", "ended", "updated" or "live".
func (e EventType) String() string {
	switch e {
	case Active:
		return "active"
	case Ended:
		return "ended"
	case Updated:
		return "updated"
	default:
		return "live"
	}
}

// Event is one thing a watch has to tell.
type Event struct {
	Type         EventType
	Announcement Announcement // the route of an Active or Updated; what was last told of an Ended
}

// Watch tells what is announced below a prefix, as it is and as it changes. Next
// is for one goroutine.
//
// It does not queue changes but remembers which paths changed, and looks at them
// when Next is called: what came and went between is never told.
type Watch struct {
	table *Table
	node  *node
	ok    func(Announcement) bool
	ready chan struct{} // holds 1: Next should look again

	// Guarded by table.mu.
	closed  bool
	live    bool
	initial int // items of the start that are yet to be told
	items   map[subject]*item
	changed *list.List // of items, in the order in which to look at them
}

// subject is what events are about: a path, as a track or as a broadcast. A path
// that comes back after all of it was withdrawn may be another subject; the end
// of the first is then told before.
type subject struct {
	node *node
	kind Kind
}

// item is a subject that was told or has to be looked at.
type item struct {
	subject
	told    *Registration // the route last told as Active; nil after Ended
	element *list.Element // in changed, or nil
	initial bool
}

// Watch starts a watch of what is announced at and below prefix and accepted by
// ok. A nil ok accepts all. It must be closed.
func (t *Table) Watch(prefix moq.Path, ok func(Announcement) bool) *Watch {
	return t.watch(prefix, ok, false)
}

// watch is Watch, of the broadcasts above prefix as well if that is wanted.
func (t *Table) watch(prefix moq.Path, ok func(Announcement) bool, above bool) *Watch {
	if ok == nil {
		ok = func(Announcement) bool { return true }
	}
	w := &Watch{
		table:   t,
		ok:      ok,
		ready:   make(chan struct{}, 1),
		items:   make(map[subject]*item),
		changed: list.New(),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w.node = t.nodeLocked(prefix)
	if w.node.watches == nil {
		w.node.watches = make(map[*Watch]struct{})
	}
	w.node.watches[w] = struct{}{}
	initial := w.node.announcedLocked()
	for n := w.node.parent; n != nil && above; n = n.parent {
		if n.below == nil {
			n.below = make(map[*Watch]struct{})
		}
		n.below[w] = struct{}{}
		if len(n.routes[Broadcast]) > 0 {
			initial = append(initial, subject{n, Broadcast})
		}
	}
	for _, s := range initial {
		i := &item{subject: s, initial: true}
		i.element = w.changed.PushBack(i)
		w.items[s] = i
	}
	w.initial = len(w.items)
	return w
}

// Close ends the watch. Next then returns [moq.ErrCancelled].
func (w *Watch) Close() {
	t := w.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.closed {
		return
	}
	w.closed = true
	delete(w.node.watches, w)
	for n := w.node.parent; n != nil; n = n.parent {
		delete(n.below, w)
	}
	t.pruneLocked(w.node)
	w.items = nil
	w.changed.Init()
	w.signal()
}

// Next waits for the next event. First come those of what is announced already,
// then Live, then the changes. Of one path and kind, Active and Ended take
// turns. If another route becomes the best, to the same publisher, that is
// Updated between the two. If it leads to another one, or to one that is unknown,
// it is told as Ended and Active, and only where subscribers should move: when
// the route told is gone, or when the better one is published here and not at
// another node.
func (w *Watch) Next(ctx context.Context) (Event, error) {
	for {
		if e, ok, err := w.queued(); ok || err != nil {
			return e, err
		}
		select {
		case <-w.ready:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// Queued returns what Next would return without waiting, if there is such an event.
// It is for the goroutine of Next.
func (w *Watch) Queued() (Event, bool) {
	e, ok, err := w.queued()
	return e, ok && err == nil
}

func (w *Watch) queued() (e Event, ok bool, err error) {
	for {
		i, routes, err := w.pop()
		switch {
		case err != nil:
			return Event{}, false, err
		case i != nil:
			if e, ok := w.look(i, routes); ok {
				return e, true, nil
			}
		default:
			return Event{Type: Live}, w.becomesLive(), nil
		}
	}
}

// pop takes the next item to look at, if any, and its routes.
func (w *Watch) pop() (*item, []*Registration, error) {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	if w.closed {
		return nil, nil, moq.ErrCancelled
	}
	if w.initial == 0 && !w.live {
		return nil, nil, nil
	}
	front := w.changed.Front()
	if front == nil {
		return nil, nil, nil
	}
	i := front.Value.(*item)
	w.changed.Remove(front)
	i.element = nil
	return i, i.routes(), nil
}

func (w *Watch) becomesLive() bool {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	if w.live || w.initial > 0 {
		return false
	}
	w.live = true
	return true
}

// look compares what was told of an item with its routes and returns the event
// to tell, if any.
func (w *Watch) look(i *item, routes []*Registration) (Event, bool) {
	best := w.best(routes)
	told := i.told
	changed := told != nil && best != nil && told != best
	updated := changed && isSameContent(told, best)
	replaced := changed && !updated && (best.announcement.Class != Peer || !w.stands(told, routes))

	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	switch {
	case i.element != nil || w.closed:
		return Event{}, false // changed meanwhile, to be looked at again
	case replaced:
		i.told = nil
		i.element = w.changed.PushFront(i)
		return Event{Ended, told.announcement}, true
	case updated:
		i.told = best
		return Event{Updated, best.announcement}, true
	case told == nil && best != nil:
		i.told = best
		w.settleLocked(i)
		return Event{Active, best.announcement}, true
	case best == nil:
		w.settleLocked(i)
		delete(w.items, i.subject)
		if told != nil {
			return Event{Ended, told.announcement}, true
		}
		return Event{}, false
	default:
		w.settleLocked(i)
		return Event{}, false
	}
}

// best returns the first of the routes that is accepted, or nil.
func (w *Watch) best(routes []*Registration) *Registration {
	for _, r := range routes {
		if w.ok(r.announcement) {
			return r
		}
	}
	return nil
}

// isSameContent tells whether two routes lead to the same content: one took the
// place of the other, or they have a publisher in common.
func isSameContent(a, b *Registration) bool {
	publisher := a.announcement.Publisher()
	return a.content == b.content || publisher != 0 && publisher == b.announcement.Publisher()
}

// stands tells whether a route that was told could be told again.
func (w *Watch) stands(told *Registration, routes []*Registration) bool {
	return slices.Contains(routes, told) && w.ok(told.announcement)
}

// settleLocked notes that the item was told as it is.
func (w *Watch) settleLocked(i *item) {
	if i.initial {
		i.initial = false
		w.initial--
	}
}

// changedLocked has Next look at a subject. One that is gone before it was told
// is forgotten, so that a watch which is not read does not grow.
func (w *Watch) changedLocked(n *node, kind Kind) {
	s := subject{n, kind}
	i := w.items[s]
	isQueued := i != nil && i.element != nil
	isGone := len(s.routes()) == 0
	switch {
	case i == nil && isGone:
		return
	case isQueued && isGone && i.told == nil:
		w.changed.Remove(i.element)
		w.settleLocked(i)
		delete(w.items, s)
	case isQueued:
		return
	case i == nil:
		i = &item{subject: s}
		w.items[s] = i
		fallthrough
	default:
		i.element = w.changed.PushBack(i)
	}
	w.signal()
}

// signal has Next look again.
func (w *Watch) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

func (s subject) routes() []*Registration {
	return s.node.routes[s.kind]
}
