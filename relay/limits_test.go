package relay_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/relaytest"
)

// TestManyAnnouncements: what all clients of a node announce together is bounded,
// below what the other nodes take from it. Whatever clients do, links stand.
func TestManyAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, 5*time.Millisecond)
		few := func(c *config.Config) { c.MaxPaths = 1 }
		root := n.Start("root", nil, few)
		node := n.Start("node", []string{"root"}, few)
		time.Sleep(2 * time.Second) // until they are linked
		since := root.Relay().Peers()[0].Since
		var last *relaytest.Client
		for i := range 120 {
			last = n.Dial(fmt.Sprint("client-", i), node)
			last.Publish("demo", fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		if got := count(node, origin.Client); got != 90 {
			t.Errorf("the node has %d announcements of clients, want 90", got)
		}
		if got := count(root, origin.Peer); got != 90+1 { // and its presence
			t.Errorf("the root knows %d announcements of the node, want 91", got)
		}
		if last.Lost() {
			t.Error("the session of a client ended whose announcement was refused")
		}
		if p := root.Relay().Peers()[0]; !p.Connected || p.Since != since {
			t.Errorf("the link stands since %v, want since %v", p.Since, since)
		}
	})
}

// count counts the announcements at a node that are of a class.
func count(node *relaytest.Node, class origin.Class) int {
	n := 0
	for _, a := range node.Relay().Announcements() {
		if a.Class == class {
			n++
		}
	}
	return n
}

// TestLinkBeyondItsLimit: a node that is told more than it takes keeps the link and
// does without the rest.
func TestLinkBeyondItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, 5*time.Millisecond)
		root := n.Start("root", nil, func(c *config.Config) { c.MaxPaths = 1 })
		node := n.Start("node", []string{"root"})
		time.Sleep(2 * time.Second) // until they are linked
		since := root.Relay().Peers()[0].Since
		publisher := n.Dial("publisher", node)
		for i := range 150 {
			publisher.Publish("demo", fmt.Sprint(i))
		}
		time.Sleep(time.Minute)
		if got := count(root, origin.Peer); got != 100 {
			t.Errorf("the root knows %d announcements of the node, want 100", got)
		}
		if p := root.Relay().Peers()[0]; !p.Connected || p.Since != since {
			t.Errorf("the link stands since %v, want since %v", p.Since, since)
		}
	})
}
