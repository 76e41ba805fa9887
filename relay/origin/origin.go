// Package origin is the table of what is announced where. Sessions announce
// into it what their peers offer, route subscriptions by it, and watch it to
// tell their peers; the cluster does the same for other nodes. It knows paths
// and routes, no protocol and no connection.
//
// Both kinds of announcement live in one name space: a track by its exact path,
// a broadcast as the prefix of its tracks. One path may be announced by many
// sources at once; each announcement stands until its own [Registration]
// withdraws it, whatever the others do.
//
// What always holds: no caller's function is called under the table's lock; a
// slow [Watch] holds no more than what is announced and what it was told; and it
// never hears of a path twice without hearing of its end in between.
package origin

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// Bounds of one announcement.
const (
	MaxPathParts = 33   // parts of a path
	MaxPathBytes = 4096 // bytes of all its parts
	MaxHops      = 32   // nodes on the way to its source
)

// ErrLoop is why an announcement is refused that has been here before.
var ErrLoop = errors.New("route loops")

// Kind tells what an announced path names.
type Kind uint8

// The kinds of announcement.
const (
	Track     Kind = iota // one track, by its exact path
	Broadcast             // all tracks below the path
)

// String returns "track" or "broadcast".
func (k Kind) String() string {
	if k == Broadcast {
		return "broadcast"
	}
	return "track"
}

// Class tells who announces.
type Class uint8

// The classes of sources.
const (
	Local  Class = iota // this process
	Client              // a session of a publisher
	Peer                // a session of another node
)

// String returns "local", "client" or "peer".
func (c Class) String() string {
	switch c {
	case Local:
		return "local"
	case Client:
		return "client"
	default:
		return "peer"
	}
}

// Source gives access to what it announced. Track returns at once with the live
// track of a path, subscribed upstream or about to be, the same one for all who
// ask while it lives. Its errors are those of package moq.
type Source interface {
	Track(path moq.Path) (*moq.Track, error)
}

// Fetcher is a Source that can be asked for a single group. Fetch returns at
// once, with a track that has this group alone or will, the same one for all who
// ask while it is there; the priority is that of the first of them.
type Fetcher interface {
	Fetch(path moq.Path, group uint64, p moq.Priority) (*moq.Track, error)
}

// Lister is a Source that knows which of its tracks are live: those that somebody
// has asked for and that have not ended.
type Lister interface {
	Live() []*moq.Track
}

// Announcement says that a track or a broadcast is reachable through a source.
type Announcement struct {
	Path   moq.Path
	Kind   Kind
	Class  Class
	Source Source
	Node   string // name of the node behind a peer's session, else ""
	// Hops are the publisher, the nodes it came through, and who announced it
	// here. Nil: nobody has said.
	Hops []Hop
	// Warm and Cold are what it costs to pull it, where it is being pulled and
	// where it is not.
	Warm, Cold uint64
}

// Hop is the number by which a publisher or a node knows announcements that have
// been there. It is chosen at random; 0 is an unknown one, which equals none.
type Hop uint64

// NewHop returns a number for this process, one that clients can read that know
// no integers but in a float64.
func NewHop() Hop { return Hop(rand.Uint64N(1<<53-1) + 1) }

// HopOf returns the number of a node of a name, the same in each of its lives: one
// that has restarted is not told of its own past by those who have yet to forget
// it.
func HopOf(node string) Hop {
	sum := sha256.Sum256([]byte(node))
	return Hop(binary.BigEndian.Uint64(sum[:])%(1<<53-1) + 1)
}

// MaxCost is the highest cost, and the cold one of a way that says nothing of it.
const MaxCost = 1<<62 - 1

// Publisher is who the content is of, 0 if that is unknown: routes with the same
// one lead to the same content.
func (a Announcement) Publisher() Hop {
	if len(a.Hops) == 0 {
		return 0
	}
	return a.Hops[0]
}

// Passed tells whether the announcement has come through a hop.
func (a Announcement) Passed(hop Hop) bool { return hop != 0 && slices.Contains(a.Hops, hop) }

// isAnonymous tells whether a hop of the way is unknown, so that a loop through
// it would not be seen.
func (a Announcement) isAnonymous() bool {
	return a.Class == Peer && (len(a.Hops) == 0 || slices.Contains(a.Hops, 0))
}

func (a Announcement) validate(self Hop) error {
	switch {
	case a.Path.Len() > MaxPathParts:
		return fmt.Errorf("path of %d parts, at most %d are allowed: %w", a.Path.Len(), MaxPathParts, moq.ErrMalformed)
	case a.Path.Size() > MaxPathBytes:
		return fmt.Errorf("path of %d bytes, at most %d are allowed: %w", a.Path.Size(), MaxPathBytes, moq.ErrMalformed)
	case len(a.Hops) > MaxHops:
		return fmt.Errorf("route of %d hops, at most %d are allowed: %w", len(a.Hops), MaxHops, moq.ErrOverloaded)
	case a.Passed(self):
		return fmt.Errorf("%w through this node", ErrLoop)
	}
	for i, hop := range a.Hops {
		if hop != 0 && slices.Contains(a.Hops[:i], hop) {
			return fmt.Errorf("%w through %d", ErrLoop, hop)
		}
	}
	return nil
}

// Registration is an announcement that stands in a table.
type Registration struct {
	table        *Table
	announcement Announcement
	number       uint64 // counts up over the table
	content      uint64 // number of the first of those that took the place of each other
	withdrawn    bool   // guarded by table.mu
}

// Announcement returns what was announced.
func (r *Registration) Announcement() Announcement {
	return r.announcement
}

// Withdraw takes the announcement back. Others of the same path stay. Further
// calls do nothing.
func (r *Registration) Withdraw() {
	r.table.withdraw(r)
}

// compareRoutes puts the better of two routes first: one whose hops are all
// known, so that loops are seen, then the cheaper, the shorter, what is
// published here, and the newer one.
func compareRoutes(a, b *Registration) int {
	x, y := a.announcement, b.announcement
	return cmp.Or(
		compareBool(x.isAnonymous(), y.isAnonymous()),
		cmp.Compare(x.Warm, y.Warm),
		cmp.Compare(x.Cold, y.Cold),
		cmp.Compare(len(x.Hops), len(y.Hops)),
		compareBool(x.Class == Peer, y.Class == Peer),
		cmp.Compare(b.number, a.number),
	)
}

// compareBool puts false first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
