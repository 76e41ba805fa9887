package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// A link is what this node has of one peer, over any number of sessions: at
// most one session at a time, and the announcements, which outlive a session
// by the linger. It is the source of the peer's broadcasts.
type link struct {
	// Static after newLink.
	name    string // of the node, or an address
	cluster *Cluster

	mu       sync.Mutex
	current  *carrier // nil while the link is lost
	instance string   // of the peer, at the last session
	isMarked bool     // the peer is a node that announces itself for as long as it lives
	routes   map[route]*origin.Registration
	// unconfirmed holds the routes that an earlier session told and the
	// current one has not told again; expiry withdraws them.
	unconfirmed map[route]struct{}
	expiry      *time.Timer
}

// route is a path announced by the peer.
type route struct {
	path moq.Path
	kind origin.Kind
}

// carrier is the session that carries a link.
type carrier struct {
	session session.Session
	conn    transport.Conn
	dialled bool
	root    bool
	since   time.Time
	lost    chan struct{} // closed when the link has let go of it
}

func newLink(c *Cluster, name string) *link {
	return &link{
		name:        name,
		cluster:     c,
		routes:      make(map[route]*origin.Registration),
		unconfirmed: make(map[route]struct{}),
	}
}

// linkTo returns the link to the node of that name.
func (c *Cluster) linkTo(name string) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.links[name]
	if !ok {
		l = newLink(c, name)
		c.links[name] = l
	}
	return l
}

// carrier returns the session that carries the link now, nil while it is lost.
func (l *link) carrier() *carrier {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// Track subscribes at the peer. While the link is lost there is no track, and
// subscribers are to ask again.
func (l *link) Track(path moq.Path) (*moq.Track, error) {
	current := l.carrier()
	if current == nil {
		return nil, moq.ErrGoingAway
	}
	return current.session.Track(path)
}

// Fetch asks the peer for a group by itself.
func (l *link) Fetch(path moq.Path, group uint64, p moq.Priority) (*moq.Track, error) {
	current := l.carrier()
	if current == nil {
		return nil, moq.ErrGoingAway
	}
	fetcher, ok := current.session.(origin.Fetcher)
	if !ok {
		return nil, moq.ErrNotSupported
	}
	return fetcher.Fetch(path, group, p)
}

// Live returns the tracks that are live at the current session: none while the
// link is lost.
func (l *link) Live() []*moq.Track {
	current := l.carrier()
	if current == nil {
		return nil
	}
	lister, ok := current.session.(origin.Lister)
	if !ok {
		return nil
	}
	return lister.Live()
}

var _ origin.Lister = (*link)(nil)

// Resume has the current session go on with a track that another one has begun.
func (l *link) Resume(track *moq.Track) error {
	current := l.carrier()
	if current == nil {
		return moq.ErrGoingAway
	}
	resumer, ok := current.session.(origin.Resumer)
	if !ok {
		return moq.ErrNotSupported
	}
	return resumer.Resume(track)
}

// lost returns a channel that is closed when the current session has ended,
// nil when there is none.
func (l *link) lost() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return nil
	}
	return l.current.lost
}

func (l *link) marked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isMarked
}

// take makes s the session of the link and reports whether it may stay. Of two
// sessions between the same runs of two nodes the one stays that the smaller
// name dialled; else the newer one, as the older leads to a run that is over.
func (l *link) take(s *carrier, instance string) (replaced *carrier, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.current
	if old != nil && instance != "" && instance == l.instance && old.dialled != s.dialled {
		preferred := l.cluster.Node != "" && (l.cluster.Node < l.name) == s.dialled
		if !preferred {
			return nil, false
		}
	}
	l.current, l.instance, l.isMarked = s, instance, instance != ""
	if old != nil {
		l.doubtLocked()
	}
	return old, true
}

// release lets go of a session that has ended; its announcements stay for the
// linger.
func (l *link) release(s *carrier) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(s.lost)
	if l.current == s {
		l.current = nil
		l.doubtLocked()
	}
}

// doubtLocked marks all routes as unconfirmed and lets them expire.
func (l *link) doubtLocked() {
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
		ev, err := w.Next(ctx)
		if err != nil {
			return
		}
		switch ev.Type {
		case origin.Active, origin.Updated:
			if a := asOfNode(ev.Announcement); l.announce(s, a) {
				l.cluster.supersede(l, a)
				l.cluster.doubt(a)
			}
		case origin.Ended:
			switch {
			case s.hasLeft():
				if !l.cluster.isElsewhere(l, ev.Announcement) {
					continue
				}
			case !s.alive():
				return
			}
			l.unannounce(s, routeOf(asOfNode(ev.Announcement)))
		case origin.Live: // nobody waits for it
		}
	}
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
	_, doubted := l.unconfirmed[r]
	delete(l.unconfirmed, r)
	before := l.routes[r]
	if before != nil && !doubted && isSameWay(before.Announcement(), a) {
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

// isDoubted tells whether a route stands only because its link was lost a moment
// ago. Nodes are not told of such: one that is back would take its own past for
// news.
func isDoubted(a origin.Announcement) bool {
	l, ok := a.Source.(*link)
	if !ok {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, doubted := l.unconfirmed[routeOf(a)]
	return doubted
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
	if _, doubted := l.unconfirmed[r]; ok && doubted && !to.Passed(lastHop(reg.Announcement())) {
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

func (l *link) unannounce(s *carrier, r route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == s {
		l.withdrawLocked(r)
	}
}
