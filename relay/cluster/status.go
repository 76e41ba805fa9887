package cluster

import (
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// PeerStatus is what a node knows of one peer.
type PeerStatus struct {
	Node      string // name, or address of a nameless peer
	Root      bool
	Connected bool
	Dialled   bool      // this side dialled; meaningful while connected
	Protocol  string    // "" while not connected
	Since     time.Time // start of the session, zero while not connected
	Stats     transport.Stats
	Error     string // of the last dial, "" if it led to a link
}

// Peers returns every peer that is linked or being dialled, by name.
func (c *Cluster) Peers() []PeerStatus {
	c.mu.Lock()
	byName := make(map[string]PeerStatus)
	for host, loop := range c.loops {
		st := PeerStatus{Node: host, Root: loop.root}
		if loop.lastErr != nil {
			st.Error = loop.lastErr.Error()
		}
		byName[host] = st
	}
	links := make([]*link, 0, len(c.links))
	for _, l := range c.links {
		links = append(links, l)
	}
	c.mu.Unlock()

	for _, l := range links {
		st := byName[l.name]
		if l.fill(&st) {
			byName[l.name] = st
		}
	}
	peers := make([]PeerStatus, 0, len(byName))
	for _, st := range byName {
		peers = append(peers, st)
	}
	slices.SortFunc(peers, func(a, b PeerStatus) int { return strings.Compare(a.Node, b.Node) })
	return peers
}

// fill writes what the link knows into st and reports whether it is connected.
func (l *link) fill(st *PeerStatus) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return false
	}
	st.Node, st.Connected, st.Error = l.name, true, ""
	st.Root = l.current.root
	st.Dialled, st.Since = l.current.dialled, l.current.since
	st.Protocol, st.Stats = l.current.conn.Protocol(), l.current.conn.Stats()
	return true
}

// IsRoot reports whether this node introduces others.
func (c *Cluster) IsRoot() bool { return c.isRoot }

// rootConnected reports whether a root is linked right now, so that its word
// counts.
func (c *Cluster) rootConnected() bool {
	for _, p := range c.Peers() {
		if p.Root && p.Connected {
			return true
		}
	}
	return c.isRoot
}

// count brings the gauges of peers and roots up to date.
func (c *Cluster) count() {
	connected, lost := 0, 0
	for _, p := range c.Peers() {
		if p.Connected {
			connected++
		} else {
			lost++
		}
		if p.Root {
			c.Metrics.SetRoot(p.Node, p.Connected)
		}
	}
	c.Metrics.SetPeers(connected, lost)
}

// Dialled returns the sessions of the links that this node dialled.
func (c *Cluster) Dialled() []session.Session {
	c.mu.Lock()
	links := slices.Collect(maps.Values(c.links))
	c.mu.Unlock()
	var sessions []session.Session
	for _, l := range links {
		l.mu.Lock()
		if l.current != nil && l.current.dialled {
			sessions = append(sessions, l.current.session)
		}
		l.mu.Unlock()
	}
	return sessions
}

// CloseUntrusted ends the links whose peer has proved itself by a certificate that
// verify refuses by now. They are made again if the peer has another one.
func (c *Cluster) CloseUntrusted(verify func(chain []*x509.Certificate, at time.Time) error) {
	c.mu.Lock()
	links := slices.Collect(maps.Values(c.links))
	c.mu.Unlock()
	for _, l := range links {
		l.mu.Lock()
		current := l.current
		l.mu.Unlock()
		if current == nil {
			continue
		}
		if err := verify(current.conn.PeerChain(), current.conn.Since()); err != nil {
			c.Log.Warn("link closed, its certificate is not trusted any more", "node", l.name, "error", err)
			current.session.Close(0, "the certificate is not trusted any more")
		}
	}
}

// CloseLink ends the session with the node of that name, if there is one; the
// side that dialled dials again.
func (c *Cluster) CloseLink(name string) {
	c.mu.Lock()
	l := c.links[name]
	c.mu.Unlock()
	if l == nil {
		return
	}
	l.mu.Lock()
	current := l.current
	l.mu.Unlock()
	if current != nil {
		current.session.Close(0, "link closed")
	}
}
