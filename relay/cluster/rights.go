package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/transport"
)

var (
	errInternal = errors.New("internal/ belongs to the nodes of the cluster")
	errPresence = errors.New("a node may announce its own presence only")
)

// peerKind returns the kind of an authenticated peer.
func (c *Cluster) peerKind(name string) kind {
	if c.hasRoot(name) {
		return rootNode
	}
	return node
}

// kind is what the other end of a session is to this node. It is settled in
// the handshake, before anything else is read from the peer.
type kind uint8

const (
	client   kind = iota
	node          // a peer that dialled us or that we dialled
	rootNode      // one of the roots: it introduces others
)

// visible reports whether a peer of kind k and name peer may see and subscribe
// what a announces. One whose protocol knows hops is told of what other nodes
// have as well: by those it sees what has come through itself.
func (c *Cluster) visible(k kind, peer string, knowsHops bool, a origin.Announcement) bool {
	switch {
	case k == client:
		return !a.Path.HasPrefix(internal) || (c.Open && isPresence(a.Path))
	case a.Class != origin.Peer:
		return true
	case isPresence(a.Path):
		// A root introduces nodes to each other, and to no other root: every
		// node tells each root itself.
		who, ok := presenceNode(a.Path)
		return ok && c.isRoot && who != peer && !c.hasRoot(peer)
	default:
		return knowsHops && !a.Path.HasPrefix(internal) && knowsNodes(a)
	}
}

// VisibleToAll reports whether anybody may see and fetch what a announces who
// asks over HTTP: what a client may, and nothing below internal/ even where the
// cluster is open.
func (c *Cluster) VisibleToAll(a origin.Announcement) bool {
	return !a.Path.HasPrefix(internal) && c.visible(client, "", false, a)
}

// knowsNodes tells whether every node that an announcement has come through is
// known. Its publisher need not be.
func knowsNodes(a origin.Announcement) bool {
	return len(a.Hops) > 1 && !slices.Contains(a.Hops[1:], 0)
}

// accepts says why a peer of kind k and name peer may not announce path, nil if
// it may.
func (c *Cluster) accepts(k kind, peer string, path moq.Path) error {
	if !path.HasPrefix(internal) {
		return nil
	}
	who, isNode := presenceNode(path)
	switch {
	case !isNode:
		return errInternal
	case k == rootNode, c.Open:
		return nil
	case k == node && who == peer && peer != "":
		return nil
	case k == node:
		return errPresence
	default:
		return errInternal
	}
}

// authenticated reports whether conn proved to be the node that its mark names:
// its certificate stands for that host name. A node without a name proves that
// it belongs to the cluster by having a certificate at all.
func authenticated(conn transport.Conn, name string) bool {
	cert := conn.PeerCertificate()
	if cert == nil {
		return false
	}
	if name == "" {
		return true
	}
	host, _, err := config.SplitHost(name)
	return err == nil && cert.VerifyHostname(host) == nil
}

// mayDial refuses to dial hosts that no cluster needs and that a hostile root
// could name: addresses that lead to this machine or to its link, unless this
// node is itself known by such a name.
func (c *Cluster) mayDial(name string) error {
	host, _, err := config.SplitHost(name)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	local := host == "localhost" || (err == nil && ip.IsLoopback())
	switch {
	case local && !c.isLocal():
		return fmt.Errorf("%q leads to this machine", name)
	case err == nil && (ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified()):
		return fmt.Errorf("%q is no address of a node", name)
	}
	return nil
}

// isLocal reports whether this cluster runs on one machine, by the name of this
// node or of its roots.
func (c *Cluster) isLocal() bool {
	for _, name := range append([]string{c.Node}, c.Roots...) {
		host, _, err := config.SplitHost(name)
		if err != nil {
			continue
		}
		if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) {
			return true
		}
	}
	return false
}
