// Package rig runs a real Kubernetes on this machine: each node is a process
// with network, mounts and processes of its own, and in it run etcd, the
// Kubernetes components, containerd and runc, as on any other node. It stands
// below the e2e command and knows nothing of the product.
//
// What always holds: two clusters of different ids share nothing; no sysctl of
// the machine is changed; and after [Down] no process, link, mount, cgroup or
// file of the cluster is left.
package rig

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"regexp"
)

// Node is a machine of the cluster.
type Node struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Region  string `json:"region"`
}

// Plan is all that follows from the id of a cluster: names and addresses.
type Plan struct {
	ID    string
	State string // folder of the cluster's own files
	Bin   string // folder of kube, its names, and helm
	// Source is the top of the repository; only Up needs it.
	Source string
	Slot   int // third byte of its addresses
	Nodes  []Node
	// Beside is the cluster whose network this one is plugged into, "" for one of
	// its own. Nodes of both reach each other as machines of one data center do,
	// pods only by what their nodes forward.
	Beside string
}

// regions are those of the nodes, in turn.
var regions = []string{"eu", "us"}

var idPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,7}[a-z0-9])?$`)

// Where the addresses of a cluster's nodes begin, in a network of its own and in
// that of another one.
const firstAddress, firstBeside = 2, 102

// NewPlan makes the plan of a cluster. Beside is the id of the cluster whose
// network it is to share, or "".
func NewPlan(id, beside, stateHome, bin string, nodes int) (*Plan, error) {
	if !idPattern.MatchString(id) {
		return nil, fmt.Errorf("--id %q: want up to nine small letters, digits and hyphens, such as dev", id)
	}
	if beside != "" && (!idPattern.MatchString(beside) || beside == id) {
		return nil, fmt.Errorf("--beside %q: want the id of another cluster that is up", beside)
	}
	if nodes < 1 || nodes > 9 {
		return nil, fmt.Errorf("--nodes %d: want 1 to 9", nodes)
	}
	network, first := id, firstAddress
	if beside != "" {
		network, first = beside, firstBeside
	}
	h := fnv.New32a()
	h.Write([]byte(network))
	p := &Plan{ID: id, Beside: beside, State: filepath.Join(stateHome, id), Bin: bin, Slot: int(h.Sum32() % 256)}
	for i := range nodes {
		p.Nodes = append(p.Nodes, Node{
			Name:    fmt.Sprintf("n%d", i+1),
			Address: fmt.Sprintf("172.29.%d.%d", p.Slot, first+i),
			Region:  regions[i%len(regions)],
		})
	}
	return p, nil
}

// Bridge is the link that joins the nodes and the machine.
func (p *Plan) Bridge() string { return "e2e-" + cmp.Or(p.Beside, p.ID) }

// link is the machine's end of a node's cable.
func (p *Plan) link(n Node) string { return "e2e-" + p.ID + n.Name }

// gateway is the machine's address on the bridge.
func (p *Plan) gateway() string { return fmt.Sprintf("172.29.%d.1", p.Slot) }

// LoadBalancerRange is where Services of type LoadBalancer get addresses from.
func (p *Plan) LoadBalancerRange() string {
	if p.Beside != "" {
		return fmt.Sprintf("172.27.%d.0/24", p.Slot)
	}
	return fmt.Sprintf("172.28.%d.0/24", p.Slot)
}

func (p *Plan) server() string { return "https://" + p.Nodes[0].Address + ":6443" }

// podRange is that of all pods of a cluster. It is the same in each: nobody
// outside sees it.
const podRange = "10.244.0.0/16"

// pods is the range of the pods on the node at an index.
func (p *Plan) pods(i int) string { return fmt.Sprintf("10.244.%d.0/24", i+1) }

// cgroup is the folder of the node's pods below each hierarchy.
func (p *Plan) cgroup(n Node) string { return filepath.Join("/", "moqrelay-"+p.ID, n.Name) }

func (p *Plan) pki(name string) string { return filepath.Join(p.State, "pki", name) }

func (p *Plan) dir(n Node, parts ...string) string {
	return filepath.Join(append([]string{p.State, n.Name}, parts...)...)
}

// Kubeconfig is the path of the administrator's.
func (p *Plan) Kubeconfig() string { return p.pki("admin.kubeconfig") }

// File is the path of the description of the cluster, which is there once it is up.
func (p *Plan) File() string { return filepath.Join(p.State, "cluster.json") }
