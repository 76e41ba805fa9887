package origin

import (
	"context"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// Broadcasts watches what is announced as protocols see it that announce
// broadcasts and no tracks: a track that is announced by itself makes the path
// above it a broadcast. Next is for one goroutine.
type Broadcasts struct {
	watch  *Watch
	prefix moq.Path
	known  map[moq.Path]*broadcast
	queue  []Event
}

// broadcast is one path that a [Broadcasts] has told of. Nearly all have one route,
// and there may be very many.
type broadcast struct {
	told Announcement
	from subjectKey // what was told is the route of
	// others are the routes but that of from, and that too if what was told is of one
	// before it, which led to the same source. Nil: there are none.
	others map[subjectKey]Announcement
}

// subjectKey names an announced path of a kind.
type subjectKey struct {
	path moq.Path
	kind Kind
}

// WatchBroadcasts starts a watch of the broadcasts at and below prefix that ok
// accepts. A nil ok accepts all. It must be closed.
func (t *Table) WatchBroadcasts(prefix moq.Path, ok func(Announcement) bool) *Broadcasts {
	return &Broadcasts{watch: t.Watch(prefix, ok), prefix: prefix, known: make(map[moq.Path]*broadcast)}
}

// WatchReachable is WatchBroadcasts, of broadcasts above prefix as well: what is at
// the prefix is subscribed by way of the longest of them, which is told as one that
// is announced there.
func (t *Table) WatchReachable(prefix moq.Path, ok func(Announcement) bool) *Broadcasts {
	return &Broadcasts{watch: t.watch(prefix, ok, true), prefix: prefix, known: make(map[moq.Path]*broadcast)}
}

// Close ends the watch. Next then returns [moq.ErrCancelled].
func (b *Broadcasts) Close() { b.watch.Close() }

// Next waits for the next event, as [Watch.Next] does. Announcements are of kind
// Broadcast; the rest of them is that of a route.
func (b *Broadcasts) Next(ctx context.Context) (Event, error) {
	for len(b.queue) == 0 {
		event, err := b.watch.Next(ctx)
		if err != nil {
			return Event{}, err
		}
		b.take(event)
	}
	event := b.queue[0]
	b.queue = b.queue[1:]
	return event, nil
}

// take queues what an event about a track or a broadcast says of the broadcast.
func (b *Broadcasts) take(event Event) {
	if event.Type == Live {
		b.queue = append(b.queue, event)
		return
	}
	a := event.Announcement
	key := subjectKey{a.Path, a.Kind}
	if a.Kind == Track {
		if a.Path == b.prefix {
			return // of a broadcast above the prefix
		}
		a.Path, a.Kind = a.Path.Parent(), Broadcast
	}
	if !a.Path.HasPrefix(b.prefix) {
		a.Path = b.prefix // it is above
	}
	if event.Type == Ended {
		b.remove(key, a.Path)
		return
	}
	k := b.known[a.Path]
	if k == nil {
		b.known[a.Path] = &broadcast{told: a, from: key}
		b.queue = append(b.queue, Event{Active, a})
	} else if k.from == key {
		k.tell(a, key)
		b.queue = append(b.queue, Event{Updated, a})
	} else if key.isCloser(k.from) {
		b.queue = append(b.queue, Event{Ended, k.told}, Event{Active, a})
		if _, ok := k.others[k.from]; !ok {
			k.add(k.told, k.from)
		}
		k.tell(a, key)
	} else {
		k.add(a, key)
	}
}

// tell notes that a route is told now.
func (k *broadcast) tell(a Announcement, key subjectKey) {
	k.told, k.from = a, key
	k.drop(key)
}

// add notes a route that is not the one that was told.
func (k *broadcast) add(a Announcement, key subjectKey) {
	if k.others == nil {
		k.others = make(map[subjectKey]Announcement)
	}
	k.others[key] = a
}

func (k *broadcast) drop(key subjectKey) {
	delete(k.others, key)
	if len(k.others) == 0 {
		k.others = nil
	}
}

// isCloser tells whether what is subscribed below both goes by way of a and not of
// b: its path is longer, as far as broadcasts go.
func (a subjectKey) isCloser(b subjectKey) bool { return a.reach() > b.reach() }

// reach is the length of the path of the broadcast.
func (a subjectKey) reach() int {
	if a.kind == Track {
		return a.path.Len() - 1
	}
	return a.path.Len()
}

// remove forgets one route of a broadcast. If it was the one told, another one
// takes its place, and silently where that leads to the same source.
func (b *Broadcasts) remove(key subjectKey, path moq.Path) {
	k := b.known[path]
	if k == nil {
		return
	}
	k.drop(key)
	if k.from != key {
		return
	}
	if k.others == nil {
		delete(b.known, path)
		b.queue = append(b.queue, Event{Ended, k.told})
		return
	}
	next := k.closest()
	a := k.others[next]
	if a.Source == k.told.Source && !key.isCloser(next) {
		k.from = next // and in others still
		return
	}
	b.queue = append(b.queue, Event{Ended, k.told}, Event{Active, a})
	k.tell(a, next)
}

// closest returns the other route that what is subscribed goes by, one that leads to
// the source that was told if there is a choice.
func (k *broadcast) closest() subjectKey {
	var best subjectKey
	for key, a := range k.others {
		isAlike := best.reach() == key.reach()
		if best == (subjectKey{}) || key.isCloser(best) || isAlike && a.Source == k.told.Source {
			best = key
		}
	}
	return best
}
