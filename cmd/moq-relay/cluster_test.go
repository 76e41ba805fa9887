package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/server"
)

// nodeCount is how many nodes there are beside the root.
const nodeCount = 4

// Bounds of the stories below. A dead peer is noticed after the idle timeout,
// and what it had announced is kept for the linger; all else is a matter of
// round trips, and of the time that a busy machine takes for them.
const (
	idleTimeout = 3 * time.Second
	linger      = 500 * time.Millisecond
	promptly    = 5 * time.Second
)

// cluster is a root and its nodes.
type cluster struct {
	*testing.T
	ca    *authority
	root  *process
	nodes []*process
}

// startCluster runs a root and so many nodes, and returns when all are linked.
func startCluster(t *testing.T, nodes int) *cluster {
	t.Helper()
	c := &cluster{T: t, ca: newAuthority(t)}
	for i := range nodes + 1 {
		p := newRelay(t, c.ca, "--tls-root", c.ca.file,
			"--idle-timeout", idleTimeout.String(), "--keep-alive", "500ms", "--announce-linger", linger.String())
		p.args = append(p.args, "--cluster-node", p.addr)
		if i == 0 {
			c.root = p
		} else {
			p.args = append(p.args, "--cluster-root", c.root.addr)
			c.nodes = append(c.nodes, p)
		}
		p.start()
	}
	for _, p := range c.all() {
		p.awaitReady()
	}
	c.awaitMesh()
	return c
}

func (c *cluster) all() []*process { return append([]*process{c.root}, c.nodes...) }

// links returns the other relays that p is linked with.
func links(p *process) []string {
	p.t.Helper()
	var info server.NodeInfo
	p.read("/nodes", &info)
	var linked []string
	for _, peer := range info.Peers {
		if peer.Connected {
			linked = append(linked, peer.Node)
		}
	}
	return linked
}

// awaitMesh waits until every node is linked with the root and all others.
func (c *cluster) awaitMesh() time.Duration {
	c.Helper()
	return within(c.T, 2*promptly, "the mesh is complete", func() bool {
		for _, p := range c.all() {
			linked := links(p)
			for _, other := range c.all() {
				if other != p && !slices.Contains(linked, other.addr) {
					return false
				}
			}
		}
		return true
	})
}

// receive has a new viewer at every relay but those named receive path.
func (c *cluster) receive(path string, except ...*process) {
	c.Helper()
	for i, p := range c.all() {
		if !slices.Contains(except, p) {
			v := join(c.T, c.ca, p)
			c.Logf("relay %d delivers %s after %v", i, path, v.receive(promptly, path).Round(time.Millisecond))
			v.Close()
		}
	}
}

// TestClusterOfProcesses tells what the simulated stories of relay/cluster
// tell, once, with a root and four nodes as processes: publish at one, watch at
// all others, then lose each of them. The times are logged.
func TestClusterOfProcesses(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nodeCount)
	publish(t, c.ca, c.nodes[0], "steady")
	c.receive("steady", c.nodes[0])
	watcher := join(t, c.ca, c.nodes[3])
	watcher.receive(promptly, "steady")
	steady, err := watcher.Subscribe("steady")
	if err != nil {
		t.Fatal(err)
	}
	// flows holds that the first subscription has missed nothing of all this.
	flows := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), promptly)
		defer cancel()
		if _, err := relaytest.Next(ctx, steady); err != nil {
			t.Fatalf("a subscription from node to node that nothing happened to: %v", err)
		}
	}

	c.loseRoot(watcher)
	flows()
	c.losePublisher(watcher)
	flows()
	c.loseNode(watcher)
	flows()
	c.stopNode()
	flows()
	for _, p := range c.all() {
		p.noErrors()
	}
}

// loseRoot: nobody misses it but who comes anew.
func (c *cluster) loseRoot(watcher *viewer) {
	c.Helper()
	c.root.kill()
	within(c.T, idleTimeout+promptly, "all nodes have noticed the loss of the root", func() bool {
		return !slices.ContainsFunc(c.nodes, func(p *process) bool { return slices.Contains(links(p), c.root.addr) })
	})
	late := publish(c.T, c.ca, c.nodes[1], "without-root")
	c.Logf("without the root a new broadcast is delivered after %v", watcher.receive(promptly, "without-root"))
	late.stop()
	late.Close()
	watcher.wantGone(promptly, "without-root")

	c.root.start()
	c.root.awaitReady()
	c.Logf("the root is back in the mesh after %v", c.awaitMesh())
}

// losePublisher: a publisher that vanished is withdrawn everywhere, and one that
// comes in its place is found.
func (c *cluster) losePublisher(watcher *viewer) {
	c.Helper()
	first := publish(c.T, c.ca, c.nodes[1], "camera")
	watcher.receive(promptly, "camera")
	first.vanish()
	c.Logf("a publisher that vanished is withdrawn two hops away after %v", watcher.wantGone(idleTimeout+promptly, "camera"))
	again := publish(c.T, c.ca, c.nodes[2], "camera")
	c.Logf("its successor is received after %v", watcher.receive(promptly, "camera"))
	again.stop()
	again.Close()
	watcher.wantGone(promptly, "camera")
}

// loseNode: what was published there is withdrawn, and back with the node.
func (c *cluster) loseNode(watcher *viewer) {
	c.Helper()
	lost := c.nodes[1]
	publish(c.T, c.ca, lost, "there")
	watcher.receive(promptly, "there")
	lost.kill()
	c.Logf("what a killed node published is withdrawn after %v", watcher.wantGone(idleTimeout+linger+promptly, "there"))

	began := time.Now()
	lost.start()
	lost.awaitReady()
	publish(c.T, c.ca, lost, "there")
	watcher.receive(promptly, "there")
	c.Logf("a killed node that is back delivers after %v", time.Since(began))
	c.awaitMesh()
}

// stopNode: a node that is stopped says so, and nobody waits for it.
func (c *cluster) stopNode() {
	c.Helper()
	stopped := c.nodes[2]
	began := time.Now()
	stopped.signal(sigterm)
	within(c.T, promptly, "all others know that a node has stopped", func() bool {
		for _, p := range c.all() {
			if p != stopped && slices.Contains(links(p), stopped.addr) {
				return false
			}
		}
		return true
	})
	if code := stopped.awaitExit(promptly); code != 0 {
		c.Errorf("a node that was stopped ends with %d", code)
	}
	c.Logf("a node ends %v after SIGTERM", time.Since(began))
	stopped.noErrors()
	stopped.start()
	stopped.awaitReady()
	c.awaitMesh()
	c.receive("steady", c.nodes[0])
}
