package origin

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// Config is what a table is made with. The zero value suits a client.
type Config struct {
	Self             Hop // this node; announcements that came through it are refused. 0: not checked
	MaxAnnouncements int // of clients; 0: no limit
}

// Table holds announcements. Its methods are for any goroutine.
type Table struct {
	config Config

	mu      sync.Mutex
	nodes   map[moq.Path]*node // the root, and all that are not empty or above such
	count   int                // announcements that stand
	clients int                // those of them that are of clients
	last    uint64             // number of the last registration
	parked  []*parked
}

// node is a path that something is announced or watched at or below.
type node struct {
	path     moq.Path
	parent   *node // nil at the root
	children map[*node]struct{}
	routes   [2][]*Registration // by kind, the best first; replaced, never changed
	watches  map[*Watch]struct{}
	below    map[*Watch]struct{} // watches of deeper prefixes that look at this node as well
}

// NewTable returns an empty table that checks no hop and has no limit.
func NewTable() *Table {
	return New(Config{})
}

// New returns an empty table.
func New(c Config) *Table {
	return &Table{config: c, nodes: map[moq.Path]*node{{}: {}}}
}

// Announce adds an announcement. It is refused if it loops, with [ErrLoop], or
// if it is out of bounds.
func (t *Table) Announce(a Announcement) (*Registration, error) {
	if err := a.validate(t.config.Self); err != nil {
		return nil, fmt.Errorf("announce %q: %w", a.Path, err)
	}
	a.Hops = slices.Clone(a.Hops)

	t.mu.Lock()
	defer t.mu.Unlock()
	if a.Class == Client {
		if t.config.MaxAnnouncements > 0 && t.clients >= t.config.MaxAnnouncements {
			return nil, fmt.Errorf("announce %q: clients have announced %d already: %w", a.Path, t.clients, moq.ErrOverloaded)
		}
		t.clients++
	}
	t.count++
	t.last++
	r := &Registration{table: t, announcement: a, number: t.last, content: t.last}
	n := t.nodeLocked(a.Path)
	n.insertLocked(r)
	n.changedLocked(a.Kind)
	t.resumeSoonLocked(a.Path)
	return r, nil
}

// Replace puts another way to the same content in the place of one that stands:
// its hops, its costs. Who watches hears of that as [Updated]. If the new way is
// refused, or the old one stands no more, nothing changes.
func (t *Table) Replace(r *Registration, a Announcement) (*Registration, error) {
	old := r.announcement
	a.Path, a.Kind, a.Class, a.Source = old.Path, old.Kind, old.Class, old.Source
	if err := a.validate(t.config.Self); err != nil {
		return nil, fmt.Errorf("announce %q: %w", a.Path, err)
	}
	a.Hops = slices.Clone(a.Hops)

	t.mu.Lock()
	defer t.mu.Unlock()
	if r.withdrawn {
		return nil, fmt.Errorf("announce %q: it was withdrawn: %w", a.Path, moq.ErrNotFound)
	}
	t.last++
	now := &Registration{table: t, announcement: a, number: t.last, content: r.content}
	r.withdrawn = true
	n := t.nodes[a.Path]
	n.removeLocked(r)
	n.insertLocked(now)
	n.changedLocked(a.Kind)
	return now, nil
}

// insertLocked adds a route in its place.
func (n *node) insertLocked(r *Registration) {
	kind := r.announcement.Kind
	i, _ := slices.BinarySearchFunc(n.routes[kind], r, compareRoutes)
	n.routes[kind] = slices.Insert(slices.Clone(n.routes[kind]), i, r)
}

func (n *node) removeLocked(r *Registration) {
	kind := r.announcement.Kind
	n.routes[kind] = slices.DeleteFunc(slices.Clone(n.routes[kind]), func(o *Registration) bool { return o == r })
}

func (t *Table) withdraw(r *Registration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.withdrawn {
		return
	}
	r.withdrawn = true
	t.count--
	if r.announcement.Class == Client {
		t.clients--
	}
	kind := r.announcement.Kind
	n := t.nodes[r.announcement.Path]
	n.removeLocked(r)
	n.changedLocked(kind)
	t.pruneLocked(n)
}

// Route returns the best announcement for a track that ok accepts: one of
// exactly this path, else one of the longest broadcast above it. A nil ok
// accepts all.
func (t *Table) Route(path moq.Path, ok func(Announcement) bool) (Announcement, bool) {
	for _, r := range t.routes(path) {
		if ok == nil || ok(r.announcement) {
			return r.announcement, true
		}
	}
	return Announcement{}, false
}

// Has tells whether a path itself is announced, as a track or a broadcast, in a
// way that ok accepts.
func (t *Table) Has(path moq.Path, ok func(Announcement) bool) bool {
	return slices.ContainsFunc(t.At(path), ok)
}

// At returns all announcements of a path itself, the best of each kind first.
func (t *Table) At(path moq.Path) []Announcement {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[path]
	if n == nil {
		return nil
	}
	var all []Announcement
	for _, r := range slices.Concat(n.routes[Track], n.routes[Broadcast]) {
		all = append(all, r.announcement)
	}
	return all
}

// Track returns the live track of a path, from the best route that ok accepts
// and whose source has it, and that route. If none has, the error is that of
// the best, or [moq.ErrNotFound].
//
// The routes are those of one level, the longest that has any for ok: "only the most
// specific announced prefix of the requested path is asked, a refusal there is final
// and never falls through to a shorter prefix" (moq-lite 18.2). What is above may be
// another publisher's, with other content.
func (t *Table) Track(path moq.Path, ok func(Announcement) bool) (*moq.Track, Announcement, error) {
	best := moq.ErrNotFound
	for i, r := range t.longest(path, ok) {
		track, err := t.ask(r, path)
		if err == nil {
			return track, r.announcement, nil
		}
		if i == 0 {
			best = err
		}
	}
	return nil, Announcement{}, fmt.Errorf("track %q: %w", path, best)
}

// longest returns the routes to a track that ok accepts, the best first, of the
// longest level that has any.
func (t *Table) longest(path moq.Path, ok func(Announcement) bool) []*Registration {
	for _, level := range t.levels(path) {
		var accepted []*Registration
		for _, r := range level {
			if ok == nil || ok(r.announcement) {
				accepted = append(accepted, r)
			}
		}
		if len(accepted) > 0 {
			return accepted
		}
	}
	return nil
}

// BestTrack is Track by the best route alone. Nodes are served so: while routes are
// stale, a second choice may lead back to who asks.
func (t *Table) BestTrack(path moq.Path, ok func(Announcement) bool) (*moq.Track, Announcement, error) {
	first := true
	return t.Track(path, func(a Announcement) bool {
		isBest := first && (ok == nil || ok(a))
		first = first && !isBest
		return isBest
	})
}

// routes returns all routes to a track, the best first.
func (t *Table) routes(path moq.Path) []*Registration {
	levels := t.levels(path)
	if len(levels) == 1 {
		return levels[0]
	}
	return slices.Concat(levels...)
}

// levels returns all routes to a track by the broadcast that they are of, the longest
// first. A track that is announced by itself is of the broadcast right above it, and
// is asked before that.
func (t *Table) levels(path moq.Path) [][]*Registration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var levels [][]*Registration
	var parent []*Registration // routes of the broadcast right above the track
	for prefix := range path.Prefixes() {
		n := t.nodes[prefix]
		if n == nil {
			break
		}
		switch routes := n.routes[Broadcast]; {
		case prefix == path && len(n.routes[Track]) > 0:
			levels = append(levels, slices.Concat(n.routes[Track], parent))
			parent = nil
		case prefix == path || len(routes) == 0: // nothing that leads to it
		case prefix.Len() == path.Len()-1:
			parent = routes
		default:
			levels = append(levels, routes)
		}
	}
	if len(parent) > 0 {
		levels = append(levels, parent)
	}
	slices.Reverse(levels)
	return levels
}

// Snapshot returns all announcements, sorted by path, the best route of each
// first.
func (t *Table) Snapshot() []Announcement {
	t.mu.Lock()
	all := make([]Announcement, 0, t.count)
	for _, n := range t.nodes {
		for _, routes := range n.routes {
			for _, r := range routes {
				all = append(all, r.announcement)
			}
		}
	}
	t.mu.Unlock()
	slices.SortStableFunc(all, func(a, b Announcement) int {
		return slices.Compare(a.Path.Parts(), b.Path.Parts())
	})
	return all
}

// Len returns how many announcements stand.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// nodeLocked returns the node of a path, which it makes if there is none.
func (t *Table) nodeLocked(path moq.Path) *node {
	if n := t.nodes[path]; n != nil {
		return n
	}
	var parent *node
	for prefix := range path.Prefixes() {
		n := t.nodes[prefix]
		if n == nil {
			n = &node{path: prefix, parent: parent}
			t.nodes[prefix] = n
			if parent.children == nil {
				parent.children = make(map[*node]struct{})
			}
			parent.children[n] = struct{}{}
		}
		parent = n
	}
	return parent
}

// pruneLocked removes a node, and those above it, that nothing is at or below.
func (t *Table) pruneLocked(n *node) {
	for n.parent != nil && len(n.children) == 0 && len(n.watches) == 0 && len(n.routes[Track]) == 0 && len(n.routes[Broadcast]) == 0 {
		delete(t.nodes, n.path)
		delete(n.parent.children, n)
		n = n.parent
	}
}

// changedLocked tells all who watch the path that its routes are others now.
func (n *node) changedLocked(kind Kind) {
	for up := n; up != nil; up = up.parent {
		for w := range up.watches {
			w.changedLocked(n, kind)
		}
	}
	if kind == Broadcast {
		for w := range n.below {
			w.changedLocked(n, kind)
		}
	}
}

// announcedLocked returns the nodes at and below n where something of a kind is
// announced, in the order in which that was last done.
func (n *node) announcedLocked() []subject {
	var all []subject
	n.collectLocked(&all)
	slices.SortFunc(all, func(a, b subject) int {
		return cmp.Compare(newest(a.routes()), newest(b.routes()))
	})
	return all
}

func (n *node) collectLocked(all *[]subject) {
	for kind, routes := range n.routes {
		if len(routes) > 0 {
			*all = append(*all, subject{n, Kind(kind)})
		}
	}
	for child := range n.children {
		child.collectLocked(all)
	}
}

// newest returns the highest number of the routes.
func newest(routes []*Registration) uint64 {
	var number uint64
	for _, r := range routes {
		number = max(number, r.number)
	}
	return number
}
