package main

import (
	"context"
	"sync"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/karp"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// A target is a broadcast to play, or a track of one.
type target struct {
	path moq.Path // of its catalog, or of the track
	// id is the number behind the name, by which the broadcasts of one publisher
	// differ in the layout of karp; 0 where there is none.
	id uint64
}

// broadcast is the path of the broadcast.
func (t target) broadcast() moq.Path { return t.path.Parent() }

// finder knows which broadcasts of one name are announced.
type finder struct {
	// Static after construction.
	name  moq.Path
	track string // "" finds broadcasts with a catalog, else tracks of that name

	mu      sync.Mutex
	live    map[announcedPath]target
	changed chan struct{} // closed when live changes
}

// announcedPath is what an announcement is about.
type announcedPath struct {
	path moq.Path
	kind origin.Kind
}

func newFinder(name moq.Path, track string) *finder {
	if track == "" {
		track = karp.CatalogTrack
	}
	return &finder{
		name: name, track: track, live: make(map[announcedPath]target),
		changed: make(chan struct{}),
	}
}

// run follows the announcements until ctx is done.
func (f *finder) run(ctx context.Context, in *origin.Table) {
	w := in.Watch(f.name, nil)
	defer w.Close()
	for {
		e, err := w.Next(ctx)
		if err != nil {
			return
		}
		if e.Type == origin.Active || e.Type == origin.Ended {
			f.note(e.Announcement, e.Type == origin.Active)
		}
	}
}

// note takes an announcement.
func (f *finder) note(a origin.Announcement, active bool) {
	found, ok := f.targetOf(a)
	if !ok {
		return
	}
	key := announcedPath{a.Path, a.Kind}
	f.mu.Lock()
	defer f.mu.Unlock()
	if active {
		f.live[key] = found
	} else {
		delete(f.live, key)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// targetOf returns what an announcement is about: of name or name/<number>, as a
// broadcast, or of a track in one of these. MoqTransfork, which announces tracks,
// tells a broadcast of another protocol by its path.
func (f *finder) targetOf(a origin.Announcement) (target, bool) {
	rest, _ := a.Path.TrimPrefix(f.name)
	path := a.Path
	switch {
	case a.Kind == origin.Broadcast, rest.Len() == 0:
		path = a.Path.Append(f.track)
	case rest.Last() != f.track:
		return target{}, false
	}
	t := target{path: path}
	if t.broadcast() == f.name {
		return t, true
	}
	id, ok := karp.ID(t.broadcast())
	t.id = id
	return t, ok && t.broadcast().Parent() == f.name
}

// newest returns what is announced with the greatest number, and a channel that is
// closed when that may have changed.
func (f *finder) newest() (t target, found bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, candidate := range f.live {
		if !found || candidate.id > t.id {
			t, found = candidate, true
		}
	}
	return t, found, f.changed
}

// newer tells whether a later broadcast than t is announced, and returns a channel
// that is closed when that may have changed. One without a number is announced
// anew by its next publisher; a Follower knows that from the same one by way of
// another relay.
func (f *finder) newer(t target) (found bool, changed <-chan struct{}) {
	newest, found, changed := f.newest()
	return found && newest.id > t.id, changed
}
