package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/relaytest"
)

const latency = 20 * time.Millisecond

// nodeNames are smaller and larger than root, so that both sides dial.
var nodeNames = []string{"a", "b", "y", "z"}

// story is a root and four nodes, with helpers that tell what happens.
type story struct {
	*testing.T
	*relaytest.Network
	root  *relaytest.Node
	nodes map[string]*relaytest.Node
}

// tell runs f in a bubble with a running cluster whose mesh is complete.
func tell(t *testing.T, f func(t *testing.T, s *story)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, latency)
		s := &story{T: t, Network: n, nodes: make(map[string]*relaytest.Node)}
		s.root = n.Start("root", nil)
		for _, name := range nodeNames {
			s.nodes[name] = n.Start(name, []string{"root"})
		}
		s.within(3*time.Second, "the mesh is complete", s.isMeshed)
		f(t, s)
	})
}

// within waits for ok and returns the time that it took.
func (s *story) within(limit time.Duration, what string, ok func() bool) time.Duration {
	s.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		switch took := time.Since(began); {
		case ok():
			s.Logf("%s after %v", what, took)
			return took
		case took > limit:
			s.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func (s *story) isMeshed() bool {
	for _, node := range s.nodes {
		if connected(node) != len(s.nodes) { // the root and the other nodes
			return false
		}
	}
	return true
}

func connected(node *relaytest.Node) int {
	n := 0
	for _, p := range node.Relay().Peers() {
		if p.Connected {
			n++
		}
	}
	return n
}

// publish has a new client publish path at node, a group every 100 ms until
// the returned function is called.
func (s *story) publish(client string, at *relaytest.Node, path ...string) (stop func()) {
	s.Helper()
	p := s.Dial(client, at)
	track := p.Publish(path...)
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			_ = track.Write(fmt.Sprintf("%s %d", client, i)) // fails once the track has ended
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	stop = func() {
		cancel()
		<-done
		track.Unpublish()
		p.Close()
	}
	s.Cleanup(stop)
	return stop
}

// watch has a new client at node receive one group of path.
func (s *story) watch(client string, at *relaytest.Node, path ...string) {
	s.Helper()
	c := s.Dial(client, at)
	defer c.Close()
	s.receive(c, path...)
}

// receive waits until c gets a group of path, subscribing as often as a client
// would.
func (s *story) receive(c *relaytest.Client, path ...string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
	defer cancel()
	if err := c.Announced(ctx, false, path...); err != nil {
		s.Fatalf("%v is not announced: %v", path, err)
	}
	for ctx.Err() == nil {
		sub, err := c.Subscribe(path...)
		if err == nil {
			_, err = relaytest.Next(ctx, sub)
			sub.Close()
		}
		if err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.Fatalf("no group of %v", path)
}

func TestPublishAtOneWatchAtAllOthers(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		stop := s.publish("camera", s.nodes["b"], "demo", "clip")
		for name, node := range s.nodes {
			s.watch("viewer-"+name, node, "demo", "clip")
		}
		s.watch("viewer-root", s.root, "demo", "clip")

		stop()
		s.within(time.Second, "no node knows the broadcast any more", func() bool {
			for _, node := range s.nodes {
				if knows(node, "demo", "clip") {
					return false
				}
			}
			return !knows(s.root, "demo", "clip")
		})
	})
}

// TestNoLoops: in a full mesh each node has one way to a broadcast by way of each
// other node, takes the one straight to where it is published, and comes to rest.
func TestNoLoops(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.publish("camera", s.nodes["y"], "demo")
		for _, node := range s.nodes {
			s.within(time.Second, node.Name+" knows the broadcast", func() bool { return knows(node, "demo") })
		}
		time.Sleep(time.Second)
		all := append([]*relaytest.Node{s.root}, values(s.nodes)...)
		before := make(map[string][]origin.Announcement)
		for _, node := range all {
			before[node.Name] = routes(node, "demo")
		}
		time.Sleep(time.Minute)
		for _, node := range all {
			now := routes(node, "demo")
			want := len(all) - 1
			if node.Name == "y" {
				want = 1
			} else if now[0].Node != relaytest.Host("y") {
				t.Errorf("%s goes by %q, want y", node.Name, now[0].Node)
			}
			if len(now) != want {
				t.Errorf("%s knows %d routes, want %d", node.Name, len(now), want)
			}
			if diff := cmp.Diff(hops(before[node.Name]), hops(now)); diff != "" {
				t.Errorf("routes of %s go on changing:\n%s", node.Name, diff)
			}
		}
	})
}

// routes are the ways by which a node knows a path, the best first.
func routes(node *relaytest.Node, path ...string) []origin.Announcement {
	return slices.DeleteFunc(node.Relay().Announcements(), func(a origin.Announcement) bool { return a.Path != moq.NewPath(path...) })
}

func hops(routes []origin.Announcement) [][]origin.Hop {
	var all [][]origin.Hop
	for _, a := range routes {
		all = append(all, a.Hops)
	}
	return all
}

func TestRootLoss(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.publish("camera", s.nodes["a"], "before")
		viewer := s.Dial("viewer", s.nodes["z"])
		s.receive(viewer, "before")
		sub, err := viewer.Subscribe("before")
		if err != nil {
			t.Fatal(err)
		}

		s.root.Kill()
		for began := time.Now(); time.Since(began) < time.Minute; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := relaytest.Next(ctx, sub); err != nil {
				t.Fatalf("a subscription that runs without the root: %v", err)
			}
			cancel()
		}
		sub.Close()
		s.publish("late", s.nodes["b"], "after")
		s.receive(viewer, "after")

		s.root.Restart()
		s.within(5*time.Second, "all nodes are back at the root", s.isMeshed)
		s.Start("c", []string{"root"})
		s.watch("viewer-c", s.nodes["a"], "after")
	})
}

func TestNodeRestart(t *testing.T) {
	for name, end := range map[string]func(*relaytest.Node){
		"killed":  (*relaytest.Node).Kill,
		"stopped": (*relaytest.Node).Stop,
	} {
		for _, node := range []string{"a", "z"} {
			t.Run(node+" "+name, func(t *testing.T) {
				tell(t, func(t *testing.T, s *story) {
					end(s.nodes[node])
					time.Sleep(time.Second)
					s.nodes[node].Restart()
					s.within(3*time.Second, "the mesh is complete again", s.isMeshed)
					s.publish("camera", s.nodes[node], "demo")
					s.watch("viewer", s.nodes["b"], "demo")
				})
			})
		}
	}
}

func TestPublisherRestart(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		stop := s.publish("camera", s.nodes["a"], "demo")
		viewer := s.Dial("viewer", s.nodes["z"])
		s.receive(viewer, "demo")
		sub, err := viewer.Subscribe("demo")
		if err != nil {
			t.Fatal(err)
		}
		stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for err == nil {
			_, err = relaytest.Next(ctx, sub)
		}
		if !errors.Is(err, moq.ErrEnded) {
			t.Errorf("a subscription whose publisher left ends with %v, want the end of the track", err)
		}
		s.publish("camera-again", s.nodes["a"], "demo")
		s.receive(viewer, "demo")
	})
}

// TestPartition: where two nodes do not reach each other, what one has comes to
// the other by way of a third, and straight again afterwards.
func TestPartition(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.publish("camera", s.nodes["a"], "demo")
		viewer := s.Dial("viewer", s.nodes["z"])
		s.receive(viewer, "demo")
		by := func() string { return routes(s.nodes["z"], "demo")[0].Node }

		s.Partition("a", "z")
		s.within(10*time.Second, "z goes by another node", func() bool { return by() != relaytest.Host("a") })
		s.receive(viewer, "demo")

		s.Heal("a", "z")
		s.within(4*time.Second, "z goes straight again", func() bool { return by() == relaytest.Host("a") })
		s.receive(viewer, "demo")
	})
}

// TestBlip: a link that is lost and back within the linger withdraws nothing.
func TestBlip(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		s.publish("camera", s.nodes["a"], "demo")
		viewer := s.Dial("viewer", s.nodes["z"])
		s.receive(viewer, "demo")
		w := viewer.In.Watch(moq.NewPath("demo"), nil)
		defer w.Close()

		s.nodes["a"].Relay().CloseLink(relaytest.Host("z"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for {
			ev, err := w.Next(ctx)
			if err != nil {
				break // nothing happened
			}
			if ev.Type == origin.Ended {
				t.Fatal("the broadcast was withdrawn")
			}
		}
		s.receive(viewer, "demo")
	})
}

// TestSlowRoot: nodes that start while there is no root find it when it comes.
func TestSlowRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, latency)
		s := &story{T: t, Network: n, nodes: map[string]*relaytest.Node{}}
		for _, name := range nodeNames {
			s.nodes[name] = n.Start(name, []string{"root"})
		}
		time.Sleep(time.Minute)
		s.root = n.Start("root", nil)
		s.within(5*time.Second, "the mesh is complete", s.isMeshed)
	})
}

func TestTwoRoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, latency)
		s := &story{T: t, Network: n, nodes: map[string]*relaytest.Node{}}
		roots := []string{"root-0", "root-1"}
		first, second := n.Start("root-0", roots), n.Start("root-1", roots)
		for _, name := range nodeNames {
			s.nodes[name] = n.Start(name, roots)
		}
		meshed := func() bool {
			for _, node := range s.nodes {
				if connected(node) != len(s.nodes)+1 {
					return false
				}
			}
			return true
		}
		s.within(3*time.Second, "the mesh is complete", meshed)
		first.Kill()
		time.Sleep(time.Minute)
		s.nodes["y"].Stop()
		s.nodes["y"].Restart()
		s.publish("camera", s.nodes["y"], "demo")
		s.watch("viewer", s.nodes["a"], "demo")
		s.watch("viewer-root", second, "demo")
	})
}

func knows(node *relaytest.Node, path ...string) bool {
	for _, a := range node.Relay().Announcements() {
		if a.Path == moq.NewPath(path...) {
			return true
		}
	}
	return false
}

func values(m map[string]*relaytest.Node) []*relaytest.Node {
	var all []*relaytest.Node
	for _, v := range m {
		all = append(all, v)
	}
	return all
}
