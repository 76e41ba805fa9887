// Package cluster is what makes relays one network: it tells peers from
// clients, finds the other nodes through the roots, keeps one link to each and
// gives every session the rights of its kind. It stands above session and
// below the assembly in package relay.
//
// A root only introduces nodes. Each node keeps a link to every root and
// announces its presence there, the path internal/origins/<node>; whoever sees
// a presence links up with that node directly, and media goes from node to
// node.
//
// What always holds:
//   - No announcement goes round. Peers whose protocol knows hops are told what
//     other peers have announced as well, with the nodes that it came through, and
//     take nothing that came through themselves. All others are told only what
//     clients of this node announced. A root also tells presence on.
//   - Media takes one hop between nodes that are linked.
//   - internal/ belongs to peers: a client can neither announce nor see it.
//   - A peer is who proves it, by a client certificate that the trust anchors
//     of --tls-root vouch for and that carries the name of the node. With
//     --cluster-open relays of the 0.6.x kind are believed without.
//   - A lost link is dialled again, with jitter, for ever; what the peer had
//     announced is kept for the linger, so that a blip withdraws nothing.
//   - No session ends because a root is gone.
package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// presencePrefix is where nodes announce themselves.
var presencePrefix = moq.NewPath("internal", "origins")

// internal is the prefix that belongs to peers.
var internal = moq.NewPath("internal")

// Config is what a cluster needs to know. All fields but Node and Roots are
// required.
type Config struct {
	// Node is the host[:port] under which others dial this node; a node
	// without one dials and is not dialled.
	Node string
	// Roots are the host[:port] of the roots. A relay without any, or that is
	// one itself, acts as a root.
	Roots []string
	// Open takes unauthenticated relays for peers.
	Open bool
	// Linger is how long the announcements of a lost peer are kept.
	Linger time.Duration
	// Silence is after how long without a packet a link is lost. Zero: when its
	// connection says so.
	Silence time.Duration
	// Table holds all announcements of this node.
	Table *origin.Table
	// Session is the template of every session's configuration; the cluster
	// fills in what depends on the kind of the peer.
	Session session.Config
	// PeerLimits takes the place of Session.Limits on links between nodes.
	PeerLimits session.Limits
	// Client and Server make the session of a dialled and of an accepted
	// connection.
	Client, Server func(transport.Conn, session.Config) session.Session
	// Dial connects to a host[:port] of the cluster.
	Dial func(ctx context.Context, host string) (transport.Conn, error)
	// Resolve finds the addresses of a host; nil asks the system.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Metrics *metrics.Relay
	Log     *slog.Logger
}

// Cluster is this node's view of the network.
type Cluster struct {
	// Static after New.
	Config
	isRoot   bool   // introduces nodes to each other
	instance string // tells one run of a node from the next
	presence *origin.Registration
	wg       sync.WaitGroup // dial loops and mirrors

	mu    sync.Mutex
	links map[string]*link     // by node name; unmarked accepted peers by address
	loops map[string]*dialLoop // by host[:port]
	addrs map[string]struct{}  // addresses at which peers were reached, for Open
	left  chan struct{}        // closed when this node leaves: nobody is dialled any more
	ctx   context.Context      //nolint:containedctx // of Run: dial loops start from events and end with it
}

// New returns the cluster of c and announces this node's presence in the
// table. Run makes it dial.
func New(c Config) (*Cluster, error) {
	cl := &Cluster{
		Config:   c,
		isRoot:   len(c.Roots) == 0,
		instance: newInstance(),
		links:    make(map[string]*link),
		loops:    make(map[string]*dialLoop),
		addrs:    make(map[string]struct{}),
		left:     make(chan struct{}),
	}
	cl.isRoot = cl.isRoot || cl.hasRoot(c.Node)
	if cl.Resolve == nil {
		cl.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if c.Node == "" {
		return cl, nil
	}
	var err error
	cl.presence, err = c.Table.Announce(origin.Announcement{
		Path:   presencePrefix.Append(c.Node),
		Kind:   origin.Broadcast,
		Class:  origin.Local,
		Source: presenceSource{},
	})
	return cl, err
}

// Run dials the roots and every node that they introduce, and blocks until ctx
// is done and all links have ended.
func (c *Cluster) Run(ctx context.Context) error {
	c.mu.Lock()
	c.ctx = ctx
	for _, root := range c.Roots {
		if root != c.Node {
			c.startLoopLocked(root, true)
		}
	}
	c.mu.Unlock()
	c.watchPresence(ctx)
	c.wg.Wait()
	c.mu.Lock()
	links := c.links
	c.links = make(map[string]*link)
	c.mu.Unlock()
	for _, l := range links {
		l.withdrawAll()
	}
	return nil
}

// Withdraw takes this node's presence back, so that no new link is made to it, and
// makes none itself any more. It is to be called once.
func (c *Cluster) Withdraw() {
	if c.presence != nil {
		c.presence.Withdraw()
	}
	close(c.left)
}

// hasLeft tells whether Withdraw has been called.
func (c *Cluster) hasLeft() bool {
	select {
	case <-c.left:
		return true
	default:
		return false
	}
}

// hasRoot reports whether name is one of the roots.
func (c *Cluster) hasRoot(name string) bool { return slices.Contains(c.Roots, name) }

// watchPresence links up with every node whose presence is announced, until
// ctx is done.
func (c *Cluster) watchPresence(ctx context.Context) {
	w := c.Table.Watch(presencePrefix, func(a origin.Announcement) bool {
		return a.Class == origin.Peer || (c.Open && a.Class == origin.Client)
	})
	defer w.Close()
	for {
		ev, err := w.Next(ctx)
		if err != nil {
			return
		}
		node, ok := presenceNode(ev.Announcement.Path)
		if !ok || node == c.Node {
			continue
		}
		switch ev.Type {
		case origin.Active:
			if err := c.mayDial(node); err != nil {
				c.Log.Warn("presence refused", "node", node, "error", err)
				continue
			}
			c.mu.Lock()
			c.startLoopLocked(node, false)
			c.mu.Unlock()
		case origin.Ended:
			c.absent(node)
		case origin.Updated, origin.Live: // nobody waits for them
		}
	}
}

// presenceNode returns the node that a presence path names. Parts after it are
// ignored, as moq-relay 0.6.8 does.
func presenceNode(p moq.Path) (string, bool) {
	rest, ok := p.TrimPrefix(presencePrefix)
	if !ok || rest.Len() == 0 {
		return "", false
	}
	return rest.Parts()[0], true
}

func isPresence(p moq.Path) bool { return p.HasPrefix(presencePrefix) }

// presenceSource stands behind presence paths: they are names, not media.
type presenceSource struct{}

func (presenceSource) Track(moq.Path) (*moq.Track, error) { return nil, moq.ErrNotFound }

// The mark that peers exchange in the handshake is the node's name and its
// instance. The instance tells a restarted node, whose old link is dead, from
// a second link of the same run.

const markSeparator = ";"

func (c *Cluster) mark() string { return c.Node + markSeparator + c.instance }

func parseMark(mark string) (node, instance string) {
	node, instance, _ = strings.Cut(mark, markSeparator)
	return node, instance
}

// NodeName returns the name of the node that gave a mark.
func NodeName(mark string) string {
	name, _ := parseMark(mark)
	return name
}

func newInstance() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
