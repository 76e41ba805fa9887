package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/relaytest"
)

// dials returns the nodes that node is linked with or tries to reach.
func dials(node *relaytest.Node) string {
	var names []string
	for _, p := range node.Relay().Peers() {
		names = append(names, p.Node)
	}
	return strings.Join(names, " ")
}

// TestS20InternalIsClosedToClients: what a client announces below internal/
// reaches nobody and has nobody dialled, and what is there it does not see.
func TestS20InternalIsClosedToClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, latency)
		root := n.Start("root", nil)
		a := n.Start("a", []string{"root"})
		time.Sleep(time.Second)

		evil := n.Dial("client", root)
		evil.Publish("internal", "origins", "evil:4443")
		evil.Publish("internal", "secret")
		evil.Publish("demo")
		time.Sleep(10 * time.Second)
		if got, want := dials(root), relaytest.Host("a"); got != want {
			t.Errorf("the root dials %q, want %q", got, want)
		}
		if got, want := dials(a), relaytest.Host("root"); got != want {
			t.Errorf("a dials %q, want %q", got, want)
		}
		for _, node := range []*relaytest.Node{root, a} {
			if knows(node, "internal", "origins", "evil:4443") || knows(node, "internal", "secret") {
				t.Errorf("%s knows what a client announced below internal/", node.Name)
			}
		}
		if !knows(a, "demo") {
			t.Error("the session that announced below internal/ ended, or its other announcements did")
		}

		viewer := n.Dial("viewer", a)
		time.Sleep(time.Second)
		for _, seen := range viewer.In.Snapshot() {
			if seen.Path.HasPrefix(moq.NewPath("internal")) {
				t.Errorf("a client is told of %v", seen.Path)
			}
		}
		sub, err := viewer.Subscribe("internal", "origins", relaytest.Host("a"))
		if err == nil {
			_, err = relaytest.Next(t.Context(), sub)
		}
		if !errors.Is(err, moq.ErrNotFound) {
			t.Errorf("a client that subscribes below internal/ gets %v, want not found", err)
		}
	})
}

// TestS21PeersProveTheirName: a mark makes a peer of nobody who cannot show
// the certificate for it, and a peer speaks for itself alone.
func TestS21PeersProveTheirName(t *testing.T) {
	for name, tc := range map[string]struct {
		mark, host string
		announces  string
		wantDialed bool
		reason     string
	}{
		"a node": {
			mark: "b:4443;1", host: "b", announces: "b:4443", wantDialed: true,
			reason: "A node that proves its name may announce its presence.",
		},
		"the name of another": {
			mark: "a:4443;1", host: "evil", announces: "a:4443",
			reason: "A certificate for evil does not prove the name a.",
		},
		"the presence of another": {
			mark: "b:4443;1", host: "b", announces: "victim:4443",
			reason: "Only a root may introduce others.",
		},
		"no mark": {
			mark: "", host: "b", announces: "b:4443",
			reason: "A client with a certificate is a client.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := relaytest.NewNetwork(t, latency)
				root := n.Start("root", nil)
				peer := n.DialAs(tc.mark, tc.host, root)
				peer.Publish("internal", "origins", tc.announces)
				peer.Publish("demo")
				time.Sleep(3 * time.Second)
				dialed := strings.Contains(dials(root), tc.announces)
				if dialed != tc.wantDialed {
					t.Errorf("dialled: %v, want %v. %s", dialed, tc.wantDialed, tc.reason)
				}
				if !knows(root, "demo") {
					t.Error("what else the session announces is not known")
				}
			})
		})
	}
}

// TestS21LimitsOfClients: who gives a mark and does not prove it has the limits of
// a client, and is counted as one.
func TestS21LimitsOfClients(t *testing.T) {
	for name, tc := range map[string]struct {
		mark, host string
		isNode     bool
	}{
		"a node":              {"b:4443;1", "b", true},
		"the name of another": {"a:4443;1", "evil", false},
		"no instance":         {"b:4443", "b", false},
		"no mark":             {"", "b", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := relaytest.NewNetwork(t, latency)
				root := n.Start("root", nil, func(c *config.Config) { c.MaxPaths = 2 })
				peer := n.DialAs(tc.mark, tc.host, root)
				time.Sleep(time.Second)
				if got := nodeSessions(t, root) == 1; got != tc.isNode {
					t.Errorf("counted as a node: %t, want %t", got, tc.isNode)
				}
				for i := range 3 {
					peer.Publish("demo", fmt.Sprint(i))
				}
				time.Sleep(time.Second)
				if peer.Lost() == tc.isNode {
					t.Errorf("its session has ended: %t, beyond the paths of a client", peer.Lost())
				}
			})
		})
	}
}

// nodeSessions returns how many sessions with nodes a node counts.
func nodeSessions(t *testing.T, node *relaytest.Node) int {
	t.Helper()
	families, err := node.Relay().Metrics().Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, family := range families {
		if family.GetName() != "moq_relay_sessions" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "peer" && label.GetValue() == "node" {
					total += int(m.GetGauge().GetValue())
				}
			}
		}
	}
	return total
}

// TestS21HostileRoot: a root that names hosts which no cluster has is not
// obeyed.
func TestS21HostileRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, latency)
		root := n.Start("root", nil)
		a := n.Start("a", []string{"root"})
		time.Sleep(time.Second)
		hosts := []string{"localhost:4443", "127.0.0.1:4443", "[::1]:22", "169.254.169.254:80", "[fe80::1]:4443", "0.0.0.0:4443", "a:b:c"}
		for _, host := range hosts {
			root.Relay().Introduce(host)
		}
		root.Relay().Introduce("honest:4443")
		time.Sleep(2 * time.Second)
		got := dials(a)
		if !strings.Contains(got, "honest:4443") {
			t.Errorf("a dials %q, want the honest node among them: what the root says does not arrive", got)
		}
		for _, host := range hosts {
			if strings.Contains(got, host) {
				t.Errorf("a dials %s because the root said so", host)
			}
		}
	})
}
