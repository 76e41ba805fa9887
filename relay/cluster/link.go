package cluster

import (
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
		l.unconfirmLocked()
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
		l.unconfirmLocked()
	}
}
