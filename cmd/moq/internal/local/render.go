package local

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/resources"
	"github.com/moqrelay/moqrelay/relay/config"
)

// Where relays listen on this machine: the root at rootPort, region i from
// regionPort + i*regionStep on. The private port of a relay is privateOffset
// above its public one. Options.PortOffset moves all of them.
const (
	rootPort      = 4443
	regionPort    = 4451
	regionStep    = 10
	privateOffset = 10000
)

// host is the name by which all nodes of a local cluster are known.
const host = "localhost"

// Plan is the local form of a RelayCluster.
type Plan struct {
	Name  string
	Nodes []Node // the root first, then region by region
	sets  []resources.Set
}

// Node is one relay of a plan.
type Node struct {
	Name    string // eu-0
	Region  string // empty for the root
	Root    bool
	Args    []string      // the command line
	Config  config.Config // what the command line says
	URL     string        // for clients
	Private string        // base URL of the private port

	// Fingerprint is the SHA-256 of the certificate, set once there is one.
	Fingerprint string
}

// Role returns root or node.
func (n Node) Role() string {
	if n.Root {
		return "root"
	}
	return "node"
}

// Render turns a manifest into relays of this machine whose files lie below
// dir and whose ports are moved by offset.
func Render(manifest []byte, dir string, offset int) (Plan, error) {
	cluster, err := v1alpha1.Decode(manifest)
	if err != nil {
		return Plan{}, err
	}
	if cluster.Spec.ExternalRoot != nil {
		return Plan{}, errors.New("spec.externalRoot: this machine has no way into another cluster: set spec.root to {} to run the regions with a root of their own")
	}
	cluster.Spec.TLS.Public = nil // there are no Secrets here: users pin the internal certificate
	plan := Plan{Name: cluster.Name, sets: resources.Sets(cluster)}
	roots := make([]string, 0, resources.RootSet(cluster).Replicas)
	for i := range resources.RootSet(cluster).Replicas {
		roots = append(roots, address(rootPort+offset+int(i)))
	}
	for i, set := range plan.sets {
		base := rootPort
		if set.Role != resources.RoleRoot {
			base = regionPort + regionStep*(i-1)
		}
		if set.Replicas > regionStep {
			return Plan{}, fmt.Errorf("spec.regions[%d]: %d relays: a region on one machine has at most %d", i-1, set.Replicas, regionStep)
		}
		for ordinal := range int(set.Replicas) {
			node, err := render(set, ordinal, base+offset+ordinal, roots, dir)
			if err != nil {
				return Plan{}, err
			}
			plan.Nodes = append(plan.Nodes, node)
		}
	}
	return plan, nil
}

// render turns one pod of a set into a process that listens on port.
func render(set resources.Set, ordinal, port int, roots []string, dir string) (Node, error) {
	args := resources.Args(set, resources.Layout{
		Bind:        net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		PrivateBind: net.JoinHostPort("127.0.0.1", strconv.Itoa(port+privateOffset)),
		Dir:         filepath.Join(dir, set.Key()),
		Node:        address(port),
		Roots:       roots,
	})
	c, err := config.Parse(args, func(string) (string, bool) { return "", false })
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return Node{}, fmt.Errorf("pod.extraArgs of %s: %w", set.Key(), err)
	}
	return Node{
		Name:    fmt.Sprintf("%s-%d", set.Key(), ordinal),
		Region:  set.Region,
		Root:    set.Role == resources.RoleRoot,
		Args:    args,
		Config:  c,
		URL:     "http://" + address(port),
		Private: "http://" + c.PrivateBind,
	}, nil
}

func address(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// regions returns the names of the regions that have a relay.
func (p Plan) regions() []string {
	var regions []string
	for _, n := range p.Nodes {
		if !n.Root && !slices.Contains(regions, n.Region) {
			regions = append(regions, n.Region)
		}
	}
	return regions
}

// in returns the nodes of a region, those of the root for "".
func (p Plan) in(region string) []Node {
	var nodes []Node
	for _, n := range p.Nodes {
		if n.Region == region {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// without returns the nodes of p that other does not have.
func (p Plan) without(other Plan) []Node {
	return slices.DeleteFunc(slices.Clone(p.Nodes), func(n Node) bool {
		return slices.ContainsFunc(other.Nodes, func(o Node) bool { return o.Name == n.Name })
	})
}
