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

// broadcast is one path that a [Broadcasts] has told of.
type broadcast struct {
	told   Announcement
	from   subjectKey // what was told is the route of
	routes map[subjectKey]Announcement
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
		k = &broadcast{told: a, from: key, routes: make(map[subjectKey]Announcement)}
		b.known[a.Path] = k
		b.queue = append(b.queue, Event{Active, a})
	} else if k.from == key {
		k.told = a
		b.queue = append(b.queue, Event{Updated, a})
	} else if key.isCloser(k.from) {
		b.queue = append(b.queue, Event{Ended, k.told}, Event{Active, a})
		k.told, k.from = a, key
	}
	k.routes[key] = a
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
	delete(k.routes, key)
	if len(k.routes) == 0 {
		delete(b.known, path)
		b.queue = append(b.queue, Event{Ended, k.told})
		return
	}
	if k.from != key {
		return
	}
	k.from = k.closest()
	ended := k.told
	k.told = k.routes[k.from]
	if k.told.Source == ended.Source && !key.isCloser(k.from) {
		k.told = ended
		return
	}
	b.queue = append(b.queue, Event{Ended, ended}, Event{Active, k.told})
}

// closest returns the route that what is subscribed goes by, one that leads to
// the source that was told if there is a choice.
func (k *broadcast) closest() subjectKey {
	var best subjectKey
	for key, a := range k.routes {
		isAlike := best.reach() == key.reach()
		if best == (subjectKey{}) || key.isCloser(best) || isAlike && a.Source == k.told.Source {
			best = key
		}
	}
	return best
}
