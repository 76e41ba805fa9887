package main

import (
	"context"
	"sync"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/karp"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// finder knows which broadcasts of one name are announced.
type finder struct {
	// Static after construction.
	name  moq.Path
	track string // "" finds broadcasts with a catalog, else tracks of that name

	mu      sync.Mutex
	live    map[moq.Path]uint64 // tracks that were looked for, with their broadcast's number
	changed chan struct{}       // closed when live changes
}

func newFinder(name moq.Path, track string) *finder {
	return &finder{name: name, track: track, live: make(map[moq.Path]uint64), changed: make(chan struct{})}
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
		if e.Type != origin.Live {
			f.note(e.Announcement.Path, e.Type == origin.Active)
		}
	}
}

// note takes an announcement: of name/<number>/track, or of name/track itself.
func (f *finder) note(path moq.Path, active bool) {
	track := f.track
	if track == "" {
		track = karp.CatalogTrack
	}
	rest, _ := path.TrimPrefix(f.name)
	if rest.Len() < 1 || rest.Len() > 2 || rest.Last() != track {
		return
	}
	var id uint64
	if rest.Len() == 2 {
		var ok bool
		if id, ok = karp.ID(path.Parent()); !ok {
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if active {
		f.live[path] = id
	} else {
		delete(f.live, path)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// newest returns the track of the broadcast with the greatest number, and a
// channel that is closed when that may have changed.
func (f *finder) newest() (path moq.Path, found bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	greatest := uint64(0)
	for p, id := range f.live {
		if !found || id > greatest {
			path, greatest, found = p, id, true
		}
	}
	return path, found, f.changed
}

// newer tells whether a later broadcast than that of path is announced, and
// returns a channel that is closed when that may have changed.
func (f *finder) newer(path moq.Path) (found bool, changed <-chan struct{}) {
	newest, found, changed := f.newest()
	was, _ := karp.ID(path.Parent())
	is, _ := karp.ID(newest.Parent())
	return found && is > was, changed
}
