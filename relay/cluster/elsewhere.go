package cluster

import (
	"maps"
	"slices"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// hasLeft reports whether the peer has said that it leaves. It withdraws nothing
// after that: what ends then ends with the session. What has gone to another node
// is over here, and what has not is left to the linger.
func (s *carrier) hasLeft() bool {
	select {
	case <-s.session.GoingAway():
		return true
	default:
		return false
	}
}

// supersede withdraws the route from links that are lost, leave, or have not told
// it again: it is known to be elsewhere.
func (c *Cluster) supersede(by *link, a origin.Announcement) {
	c.mu.Lock()
	links := slices.Collect(maps.Values(c.links))
	c.mu.Unlock()
	for _, l := range links {
		if l != by {
			l.yield(a)
		}
	}
}

// doubter is a session that a publisher may have left without a word.
type doubter interface {
	Doubt(path moq.Path, publisher origin.Hop)
}

// doubt has the sessions of clients looked at that have announced what now comes from
// another node, by the same publisher: it may have lost its way here and found
// that one. It takes a relay 5 s to notice by itself.
func (c *Cluster) doubt(a origin.Announcement) {
	for _, other := range c.Table.At(a.Path) {
		if s, ok := other.Source.(doubter); ok && other.Class == origin.Client && other.Publisher() == a.Publisher() {
			s.Doubt(a.Path, a.Publisher())
		}
	}
}

// yield withdraws a route that is unconfirmed, if the way that is known to another
// one is not by way of the node itself.
func (l *link) yield(to origin.Announcement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := routeOf(to)
	reg, ok := l.routes[r]
	if _, unconfirmed := l.unconfirmed[r]; ok && unconfirmed && !to.Passed(lastHop(reg.Announcement())) {
		l.withdrawLocked(r)
		l.giveUpLocked(to)
	}
}

// lastHop is the node that an announcement has come from, 0 if it does not say.
func lastHop(a origin.Announcement) origin.Hop {
	if len(a.Hops) == 0 {
		return 0
	}
	return a.Hops[len(a.Hops)-1]
}

// peerLeaves gives up the routes of a peer that leaves: at once where there is
// another way that is not through it, and the others when one is announced.
func (l *link) peerLeaves(s *carrier) {
	l.mu.Lock()
	if l.current != s {
		l.mu.Unlock()
		return
	}
	var routes []origin.Announcement
	for r, reg := range l.routes {
		l.unconfirmed[r] = struct{}{}
		routes = append(routes, reg.Announcement())
	}
	l.mu.Unlock()
	for _, a := range routes {
		if l.cluster.isElsewhere(l, a) {
			l.unannounce(s, routeOf(a))
			l.giveUp(a)
		}
	}
}

// leaver is a session whose subscriptions can go on elsewhere.
type leaver interface {
	GiveUp(path moq.Path, publisher origin.Hop)
}

// giveUp has what is subscribed of a broadcast, if its publisher is to be had by
// another node, come from there before the session ends.
func (l *link) giveUp(a origin.Announcement) {
	node := lastHop(a)
	isThere := l.cluster.Table.Has(a.Path, func(other origin.Announcement) bool {
		return other.Publisher() == a.Publisher() && other.Node != l.name && !other.Passed(node)
	})
	if !isThere {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.giveUpLocked(a)
}

func (l *link) giveUpLocked(a origin.Announcement) {
	if l.current == nil {
		return
	}
	if s, ok := l.current.session.(leaver); ok {
		s.GiveUp(a.Path, a.Publisher())
	}
}

// isElsewhere reports whether there is a route to what the node of a link has
// announced that is not by way of that node.
func (c *Cluster) isElsewhere(l *link, ended origin.Announcement) bool {
	node := lastHop(ended)
	return c.Table.Has(ended.Path, func(a origin.Announcement) bool { return a.Node != l.name && !a.Passed(node) })
}
