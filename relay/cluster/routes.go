package cluster

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// route is a path announced by the peer.
type route struct {
	path moq.Path
	kind origin.Kind
}

// unconfirmLocked marks all routes as unconfirmed and lets them expire.
func (l *link) unconfirmLocked() {
	for r := range l.routes {
		l.unconfirmed[r] = struct{}{}
	}
	if l.expiry != nil {
		l.expiry.Stop()
	}
	l.expiry = time.AfterFunc(l.cluster.Linger, l.expire)
}

// expire withdraws what no session has told again within the linger.
func (l *link) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := range l.unconfirmed {
		l.withdrawLocked(r)
	}
}

func (l *link) withdrawLocked(r route) {
	if reg, ok := l.routes[r]; ok {
		reg.Withdraw()
	}
	delete(l.routes, r)
	delete(l.unconfirmed, r)
}

// withdrawAll ends the link for good.
func (l *link) withdrawAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.expiry != nil {
		l.expiry.Stop()
	}
	for r := range l.routes {
		l.withdrawLocked(r)
	}
}

// mirror carries the announcements of a session from its inbox into the table,
// until the session has ended. What ends together with the connection is not
// withdrawn: that is for the linger to decide.
func (l *link) mirror(ctx context.Context, s *carrier, inbox *origin.Table) {
	w := inbox.Watch(moq.Path{}, nil)
	defer w.Close()
	for {
		events, err := nextEvents(ctx, w)
		if err != nil || !l.mirrorAll(s, events) {
			return
		}
	}
}

// maxEvents bounds what is taken from an inbox at once.
const maxEvents = 4096

// nextEvents waits for an event and returns it with those that are there already.
func nextEvents(ctx context.Context, w *origin.Watch) ([]origin.Event, error) {
	first, err := w.Next(ctx)
	if err != nil {
		return nil, err
	}
	events := []origin.Event{first}
	for len(events) < maxEvents {
		ev, ok := w.Queued()
		if !ok {
			break
		}
		events = append(events, ev)
	}
	return events, nil
}

// mirrorAll does what events say, and reports whether the connection lives. That is
// looked at once for all of them: a publisher may have had a thousand paths.
func (l *link) mirrorAll(s *carrier, events []origin.Event) bool {
	isAlive := false
	for _, ev := range events {
		a := asOfNode(ev.Announcement)
		switch ev.Type {
		case origin.Active, origin.Updated:
			if l.announce(s, a) {
				l.cluster.supersede(l, a)
				l.cluster.doubt(a)
			}
		case origin.Ended:
			hasLeft := s.hasLeft()
			if hasLeft && !l.cluster.isElsewhere(l, ev.Announcement) {
				continue
			}
			if !hasLeft && !isAlive {
				if isAlive = s.alive(); !isAlive {
					return false
				}
			}
			l.unannounce(s, routeOf(a))
		case origin.Live: // nobody waits for it
		}
	}
	return true
}

// asOfNode is an announcement of a node as the table takes it. A protocol that
// announces tracks only has presence as one; and one without hops says nothing of
// the way, which is one hop long.
func asOfNode(a origin.Announcement) origin.Announcement {
	if isPresence(a.Path) {
		a.Kind = origin.Broadcast
	}
	if len(a.Hops) == 0 {
		a.Warm, a.Cold = 1, origin.MaxCost
	}
	return a
}

func routeOf(a origin.Announcement) route { return route{a.Path, a.Kind} }

// closing is how long the streams of a dying connection may end before the
// connection itself is seen to.
const closing = 5 * time.Millisecond

// alive reports whether the connection lives, and not just a moment longer
// than its streams.
func (s *carrier) alive() bool {
	select {
	case <-s.conn.Context().Done():
		return false
	case <-time.After(closing):
		return true
	}
}

// announce reports whether the route is there now. One that leads another way
// than before takes the place of that.
func (l *link) announce(s *carrier, a origin.Announcement) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := routeOf(a)
	if l.current != s {
		return false
	}
	_, unconfirmed := l.unconfirmed[r]
	delete(l.unconfirmed, r)
	before := l.routes[r]
	if before != nil && !unconfirmed && isSameWay(before.Announcement(), a) {
		return true
	}
	a.Class, a.Source, a.Node = origin.Peer, l, l.name
	reg, err := l.registerLocked(before, a)
	if err != nil {
		if !errors.Is(err, origin.ErrLoop) { // of our own, told back to us
			l.cluster.Log.Warn("announcement of a peer refused", "node", l.name, "broadcast", a.Path, "error", err)
		}
		return false
	}
	l.routes[r] = reg
	return true
}

// isUnconfirmed tells whether a route stands only because its link was lost a moment
// ago. Nodes are not told of such: one that is back would take its own past for
// news.
func isUnconfirmed(a origin.Announcement) bool {
	l, ok := a.Source.(*link)
	if !ok {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, unconfirmed := l.unconfirmed[routeOf(a)]
	return unconfirmed
}

// registerLocked puts an announcement into the table, in the place of the one of
// its path before it. The same publisher, or two that are unknown, have the same
// content.
func (l *link) registerLocked(before *origin.Registration, a origin.Announcement) (*origin.Registration, error) {
	if before == nil {
		return l.cluster.Table.Announce(a)
	}
	if before.Announcement().Publisher() == a.Publisher() {
		reg, err := l.cluster.Table.Replace(before, a)
		if err != nil {
			l.withdrawLocked(routeOf(a))
		}
		return reg, err
	}
	reg, err := l.cluster.Table.Announce(a)
	l.withdrawLocked(routeOf(a)) // only now, so that the path is there all the time
	return reg, err
}

func isSameWay(a, b origin.Announcement) bool {
	return slices.Equal(a.Hops, b.Hops) && a.Warm == b.Warm && a.Cold == b.Cold
}

func (l *link) unannounce(s *carrier, r route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == s {
		l.withdrawLocked(r)
	}
}
