package scrape

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// roleRoot is the role of a node that introduces the others to each other.
const roleRoot = "root"

// maxAnswer bounds what is read of an answer: about a thousand peers.
const maxAnswer = 1 << 20

// Node is what a relay says of itself at /nodes, as far as the operator needs
// it. A test holds it equal to what the relay writes.
type Node struct {
	Node          string        `json:"node"`
	Role          string        `json:"role"`
	Version       string        `json:"version"`
	StartedAt     time.Time     `json:"startedAt"`
	Draining      bool          `json:"draining"`
	DrainingSince *time.Time    `json:"drainingSince"`
	Sessions      int           `json:"sessions"`
	EgressBytes   uint64        `json:"egressBytes"`
	Roots         []Root        `json:"roots"`
	Peers         []Peer        `json:"peers"`
	Certificates  []Certificate `json:"certificates"`
	Trust         []string      `json:"trust"`
}

// Root is a root as the node sees it; a root lists the other roots.
type Root struct {
	URL       string `json:"url"`
	Connected bool   `json:"connected"`
	Error     string `json:"error"`
}

// Peer is another node as the node sees it.
type Peer struct {
	Node      string `json:"node"`
	Connected bool   `json:"connected"`
}

// Certificate is one that the node serves now.
type Certificate struct {
	Fingerprint string    `json:"fingerprint"`
	NotAfter    time.Time `json:"notAfter"`
}

// decode reads an answer.
func decode(r io.Reader) (Node, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err != nil {
		return Node{}, err
	}
	if len(body) > maxAnswer {
		return Node{}, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	var n Node
	if err := json.Unmarshal(body, &n); err != nil {
		return Node{}, fmt.Errorf("no relay answers: %w", err)
	}
	switch {
	case n.Node == "" || n.StartedAt.IsZero():
		return Node{}, errors.New("no relay answers: node and startedAt are missing")
	case n.Sessions < 0:
		return Node{}, fmt.Errorf("no relay answers: %d sessions", n.Sessions)
	}
	return n, nil
}

// IsConnectedTo reports whether the node has a session with the peer of that
// name.
func (n Node) IsConnectedTo(peer string) bool {
	return slices.ContainsFunc(n.Peers, func(p Peer) bool { return p.Node == peer && p.Connected })
}

// LostRoot returns the first root that the node has no session with, and the
// error of its last attempt.
func (n Node) LostRoot() (Root, bool) {
	i := slices.IndexFunc(n.Roots, func(r Root) bool { return !r.Connected })
	if i < 0 {
		return Root{}, false
	}
	return n.Roots[i], true
}

// IsApart reports whether the node knows of roots and has a session with none.
func (n Node) IsApart() bool {
	return len(n.Roots) > 0 && !slices.ContainsFunc(n.Roots, func(r Root) bool { return r.Connected })
}

// Serves returns the fingerprint of the certificate at the place, "" if there is
// none: the internal plane comes first, the public one last.
func (n Node) Serves(i int) string {
	if i < 0 || i >= len(n.Certificates) {
		return ""
	}
	return n.Certificates[i].Fingerprint
}
