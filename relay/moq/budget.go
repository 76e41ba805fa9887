package moq

import (
	"fmt"
	"math"
	"sync"
)

// Budget bounds the memory of all groups of a relay: what is allocated for a
// group counts from its allocation until the group has left the cache and no
// reader holds it.
//
// Above seven eighths of the budget groups have to go: those that are neither
// newest nor in use first, in the order in which newer ones followed them; then
// those in use, whose readers get a [DropError] with [Memory]. The newest group
// of a track is given up only when the whole budget is used, and then the
// largest of all: who writes small groups is not hurt by who writes a huge one.
// The last eighth is for what readers need until they have let go.
type Budget struct {
	max  int64
	soft int64 // above it, groups are evicted

	mu      sync.Mutex
	used    int64     // bytes allocated
	leaving int64     // of them, in evicted groups that readers have yet to close
	spare   groupList // groups that a newer one followed, in that order
	fresh   groupList // the other ones
	evicted uint64
}

// NewBudget returns a budget of so many bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{max: limit, soft: limit - limit/8}
}

// unlimited is the budget of a track that has none.
func unlimited() *Budget {
	return NewBudget(math.MaxInt64)
}

// Used returns the bytes allocated now.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Max returns the bytes that may be allocated.
func (b *Budget) Max() int64 {
	return b.max
}

// Evicted returns how many groups had to go for lack of memory so far.
func (b *Budget) Evicted() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.evicted
}

// add makes a new group known to the budget.
func (b *Budget) add(g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fresh.push(g)
}

// follow notes that a newer group followed g.
func (b *Budget) follow(g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g.list == &b.fresh {
		b.fresh.remove(g)
		b.spare.push(g)
	}
}

// reserve charges n bytes to g and makes room for them. The caller must hold no
// lock, because groups of any track may have to go.
func (b *Budget) reserve(g *group, n int64) error {
	for {
		victim, err := b.tryReserve(g, n)
		if victim == nil {
			return err
		}
		victim.track.evict(victim)
	}
}

// tryReserve charges n bytes to g, or names a group that has to go before.
func (b *Budget) tryReserve(g *group, n int64) (victim *group, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g.list == nil {
		return nil, ErrOverloaded // evicted meanwhile
	}
	if b.used-b.leaving > b.soft-n {
		if victim := b.spare.firstIdle(); victim != nil {
			return victim, nil
		}
		if victim := b.spare.first; victim != nil {
			return victim, nil
		}
	}
	if b.used-b.leaving > b.max-n {
		if victim := b.fresh.largest(); victim != nil && victim != g {
			return victim, nil
		}
	}
	if b.used > b.max-n {
		return nil, &EndError{Reason: Overloaded, Detail: fmt.Sprintf("all %d bytes for groups are in use", b.max)}
	}
	b.used += n
	g.charged += n
	return nil, nil
}

// evict takes g, which lost its place for lack of memory, off the lists. Its
// bytes stay charged until release.
func (b *Budget) evict(g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g.list != nil {
		g.list.remove(g)
		b.evicted++
		b.leaving += g.charged
		g.leaving = true
	}
}

// release gives back the bytes of g, which nobody holds any more.
func (b *Budget) release(g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g.list != nil {
		g.list.remove(g)
	}
	if g.leaving {
		b.leaving -= g.charged
		g.leaving = false
	}
	b.used -= g.charged
	g.charged = 0
}

// groupList is a doubly linked list through the groups themselves.
type groupList struct {
	first, last *group
}

func (l *groupList) push(g *group) {
	g.list, g.prev, g.next = l, l.last, nil
	if l.last == nil {
		l.first = g
	} else {
		l.last.next = g
	}
	l.last = g
}

func (l *groupList) remove(g *group) {
	if g.prev == nil {
		l.first = g.next
	} else {
		g.prev.next = g.next
	}
	if g.next == nil {
		l.last = g.prev
	} else {
		g.next.prev = g.prev
	}
	g.list, g.prev, g.next = nil, nil, nil
}

// firstIdle returns the first group that nobody reads or waits for, or nil.
func (l *groupList) firstIdle() *group {
	for g := l.first; g != nil; g = g.next {
		if g.pins.Load() == 0 {
			return g
		}
	}
	return nil
}

// largest returns the group with the most bytes, or nil.
func (l *groupList) largest() *group {
	most := l.first
	for g := l.first; g != nil; g = g.next {
		if g.charged > most.charged {
			most = g
		}
	}
	return most
}
