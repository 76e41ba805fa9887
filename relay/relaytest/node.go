package relaytest

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/moqrelay/moqrelay/relay"
	"github.com/moqrelay/moqrelay/relay/config"
)

// Node is a running relay. Its host name is its name in the network.
type Node struct {
	Name string

	network *Network
	config  config.Config
	relay   *relay.Relay
	stop    context.CancelFunc
	kill    context.CancelFunc
	done    sync.WaitGroup
}

// Host returns the host:port of the node of that name.
func Host(name string) string { return name + ":4443" }

// Start runs a relay of that name until the test ends. Roots are names of
// nodes; change may adjust the configuration further.
func (n *Network) Start(name string, roots []string, change ...func(*config.Config)) *Node {
	n.t.Helper()
	c := config.Default()
	c.Bind = "[::]:4443"
	cert, key := n.leaf(name)
	c.TLSCert, c.TLSKey = []string{cert}, []string{key}
	c.TLSRoot = []string{filepath.Join(n.dir, trustFile)}
	c.ClusterNode = Host(name)
	for _, root := range roots {
		c.ClusterRoot = append(c.ClusterRoot, Host(root))
	}
	for _, f := range change {
		f(&c)
	}
	node := &Node{Name: name, network: n, config: c}
	node.run()
	n.t.Cleanup(node.Stop)
	return node
}

func (node *Node) run() {
	n := node.network
	n.t.Helper()
	socket := n.socket(node.Name, Port)
	r, err := relay.New(node.config, relay.Environment{
		Sockets: relay.Sockets{UDP: socket},
		Log:     n.log(node.Name),
		Resolve: n.resolve,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	node.relay = r
	var ctx, hard context.Context
	ctx, node.stop = context.WithCancel(context.Background())
	hard, node.kill = context.WithCancel(context.Background())
	node.done.Go(func() {
		if err := r.Run(ctx, hard); err != nil {
			n.t.Errorf("%s: %v", node.Name, err)
		}
		_ = socket.Close()
	})
}

// Relay returns the running relay.
func (node *Node) Relay() *relay.Relay { return node.relay }

// Stop ends the node gracefully, as SIGTERM does.
func (node *Node) Stop() {
	node.stop()
	node.done.Wait()
	node.kill()
}

// Kill ends the node as kill -9 does: nobody hears from it again.
func (node *Node) Kill() {
	n := node.network
	n.cut.setDead(n.addr(node.Name), true)
	node.kill()
	node.stop()
	node.done.Wait()
}

// Restart runs a stopped or killed node again.
func (node *Node) Restart() { node.run() }
