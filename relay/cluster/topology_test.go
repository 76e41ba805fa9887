package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// topology is a cluster in which only some nodes reach each other.
type topology struct {
	*testing.T
	*relaytest.Network
	random *rand.Rand
	names  []string
	nodes  map[string]*relaytest.Node
	dead   map[string]bool
	cut    map[[2]string]bool
	home   map[origin.Hop]string // node of each publisher, by its hop
}

// TestRandomTopology: twelve nodes, of which those that reach each other change by
// chance, and which die and come back, end up with exactly the right routes: the
// shortest way to each publisher, without a loop, and none where there is no way.
func TestRandomTopology(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playTopology(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func playTopology(t *testing.T, random *rand.Rand) {
	top := &topology{
		T: t, Network: relaytest.NewNetwork(t, 10*time.Millisecond), random: random,
		nodes: make(map[string]*relaytest.Node), dead: make(map[string]bool),
		cut: make(map[[2]string]bool), home: make(map[origin.Hop]string),
	}
	for i := range 12 {
		name := fmt.Sprintf("n%02d", i)
		var roots []string
		if i > 0 {
			roots = []string{"n00"}
		}
		top.names = append(top.names, name)
		top.nodes[name] = top.Start(name, roots)
	}
	time.Sleep(5 * time.Second) // until all have met
	for hop := origin.Hop(101); hop <= 103; hop++ {
		name := top.names[random.IntN(len(top.names))]
		top.home[hop] = name
		client := top.DialHop(fmt.Sprint("camera-", hop), top.nodes[name], transport.DialConfig{Protocols: protocols.Only("moq-lite-06").QUIC()}, hop)
		client.Publish("demo", fmt.Sprint(hop), "video")
	}
	top.settle("a full mesh")
	for range 3 {
		top.rewire(0.75)
		top.settle("a part of the links is cut")
	}
	victim := top.victim()
	top.settle(victim + " reaches the root")
	top.nodes[victim].Kill()
	top.dead[victim] = true
	top.settle(victim + " has died")
	top.nodes[victim].Restart()
	top.dead[victim] = false
	top.settle(victim + " is back")
	top.rewire(0)
	top.settle("all reach each other again")
}

// victim is a node that no publisher is at and that others are not introduced by,
// but that can be introduced to them when it is back.
func (top *topology) victim() string {
	for _, i := range top.random.Perm(len(top.names)) {
		name := top.names[i]
		isHome := false
		for _, home := range top.home {
			isHome = isHome || home == name
		}
		if i > 0 && !isHome {
			top.Heal(top.names[0], name)
			delete(top.cut, [2]string{top.names[0], name})
			return name
		}
	}
	panic("BUG: twelve nodes, three publishers")
}

// rewire cuts each pair of nodes with a probability, and heals the others.
func (top *topology) rewire(probability float64) {
	for i, a := range top.names {
		for _, b := range top.names[:i] {
			if top.random.Float64() < probability {
				top.Partition(a, b)
				top.cut[[2]string{b, a}] = true
			} else {
				top.Heal(a, b)
				delete(top.cut, [2]string{b, a})
			}
		}
	}
}

func (top *topology) reach(a, b string) bool {
	return a != b && !top.dead[a] && !top.dead[b] && !top.cut[[2]string{min(a, b), max(a, b)}]
}

// distances is how many nodes each node is away from one.
func (top *topology) distances(from string) map[string]int {
	far := map[string]int{from: 0}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, name := range top.names {
			if _, known := far[name]; !known && top.reach(queue[0], name) {
				far[name] = far[queue[0]] + 1
				queue = append(queue, name)
			}
		}
	}
	return far
}

// settle waits until every node has the right routes, and looks whether that
// stays so.
func (top *topology) settle(what string) {
	top.Helper()
	began := time.Now()
	var wrong string
	for range 600 {
		if wrong = top.wrong(); wrong == "" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if wrong != "" {
		top.Fatalf("%s: %s", what, wrong)
	}
	top.Logf("%s: right after %v", what, time.Since(began))
	for range 20 {
		time.Sleep(500 * time.Millisecond)
		if wrong := top.wrong(); wrong != "" {
			top.Fatalf("%s, all was right before: %s", what, wrong)
		}
	}
}

// wrong says what is not as it should be, "" if all is.
func (top *topology) wrong() string {
	hopOf := make(map[origin.Hop]string)
	for _, name := range top.names {
		if !top.dead[name] {
			hopOf[top.nodes[name].Relay().Hop()] = name
		}
	}
	for publisher, home := range top.home {
		far := top.distances(home)
		for _, name := range top.names {
			if top.dead[name] {
				continue
			}
			found := routes(top.nodes[name], "demo", fmt.Sprint(publisher))
			away, reachable := far[name]
			switch {
			case !reachable && len(found) > 0:
				return fmt.Sprintf("%s knows %v of %s, which it cannot reach", name, found[0].Hops, home)
			case !reachable:
				continue
			case len(found) == 0:
				return fmt.Sprintf("%s knows no way to %s, which is %d away", name, home, away)
			case len(found[0].Hops) != away+1:
				return fmt.Sprintf("%s goes to %s by %d hops, want %d", name, home, len(found[0].Hops)-1, away)
			}
			for _, a := range found {
				if w := top.wrongWay(name, home, publisher, a, hopOf); w != "" {
					return w
				}
			}
		}
	}
	return ""
}

// wrongWay says what is wrong with a route of a node, "" if nothing is.
func (top *topology) wrongWay(name, home string, publisher origin.Hop, a origin.Announcement, hopOf map[origin.Hop]string) string {
	if a.Publisher() != publisher {
		return fmt.Sprintf("%s has a route to %d instead of %d", name, a.Publisher(), publisher)
	}
	way := []string{}
	for _, hop := range a.Hops[1:] {
		way = append(way, hopOf[hop])
	}
	way = append(way, name)
	if name == home {
		way = []string{name}
	}
	for i, node := range way {
		if slices.Contains(way[:i], node) || node == "" {
			return fmt.Sprintf("%s has a route by %v, a loop or a node that is gone", name, way)
		}
		if i > 0 && !top.reach(way[i-1], node) {
			return fmt.Sprintf("%s has a route by %v, in which %s and %s do not reach each other", name, way, way[i-1], node)
		}
	}
	if way[0] != home {
		return fmt.Sprintf("%s has a route by %v, which does not begin at %s", name, way, home)
	}
	return ""
}
