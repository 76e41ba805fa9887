package local

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/page"
	"github.com/moqrelay/moqrelay/docs/schemas"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// twoRegions are a root and two nodes.
const twoRegions = `apiVersion: moqrelay.io/v1alpha1
kind: RelayCluster
metadata: {name: live}
spec:
  root: {}
  regions:
  - {name: eu, replicas: 1}
  - {name: us, replicas: 1}
`

// portOffset moves the ports of the relays that the test of the page runs.
const portOffset = 1000

// TestU33State: what the status page says of relays that run is as its schema says,
// while one publishes and another one watches, in an old protocol and a new one, and
// when the root is gone.
func TestU33State(t *testing.T) {
	schema := schemas.Load(t, "state.json")
	c := startCluster(t, twoRegions)
	url := servePage(t, c)
	// await looks at the page until it shows what is meant.
	await := func(what string, isMeant func(page.State) bool) {
		t.Helper()
		for end := time.Now().Add(15 * time.Second); ; <-time.After(100 * time.Millisecond) {
			answer := ask(t, url+"/state")
			schema.Check(t, answer)
			var state page.State
			if err := json.Unmarshal([]byte(answer), &state); err != nil {
				t.Fatal(err)
			}
			if isMeant(state) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("not seen: %s; the last look:\n%s", what, answer)
			}
		}
	}
	for _, protocol := range []string{protocols.MoqTransfork, "moq-lite-06"} {
		publisher, watcher := join(t, c, "eu-0", protocol), join(t, c, "us-0", protocol)
		track := publisher.Publish("demo", "clip", "video")
		await("the broadcast at both nodes, by "+protocol, func(s page.State) bool {
			return len(s.Broadcasts) == 1 && s.Broadcasts[0].Source == "eu-0" && slices.Contains(s.Broadcasts[0].KnownAt, "us-0")
		})
		sub, err := watcher.Subscribe("demo", "clip", "video")
		if err != nil {
			t.Fatal(err)
		}
		await("a rate, by "+protocol, func(s page.State) bool {
			_ = track.Write("frame") // fails once the track has ended
			bits := s.Nodes[2].EgressBits
			return bits != nil && *bits > 0 && len(s.Nodes[2].Sessions) > 0
		})
		sub.Close()
		publisher.Close()
		watcher.Close()
		await("nothing announced, by "+protocol, func(s page.State) bool { return len(s.Broadcasts) == 0 })
	}

	c.processes["root-0"].stop()
	await("no answer of the root, and a node that has lost it", func(s page.State) bool {
		root, node := s.Nodes[0], s.Nodes[1].Info
		return root.Info == nil && root.Sessions == nil && root.EgressBits == nil &&
			node != nil && len(node.Roots) == 1 && node.Roots[0].Since == nil && node.Roots[0].Error != ""
	})
	schema.CheckServed(t)
}

// startCluster runs the cluster of a manifest, as Run does, until the test ends.
func startCluster(t *testing.T, manifest string) *cluster {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "moq-relay")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../../moq-relay")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	plan, err := Render([]byte(manifest), dir, portOffset)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		Options:   Options{Step: func(string, string, time.Duration) {}},
		dir:       dir,
		files:     newCertificates(dir),
		processes: make(map[string]*process),
	}
	c.sup = newSupervisor(binary, io.Discard, func(n Node, err error) { t.Errorf("%s: %v", n.Name, err) })
	t.Cleanup(func() { c.stopAll(); c.sup.close() })
	if err := c.start(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	return c
}

// servePage serves the status page of a cluster until the test ends.
func servePage(t *testing.T, c *cluster) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- page.New(c.plan.Name, c.targets, http.NotFoundHandler()).Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("page: %v", err)
		}
	})
	return "http://" + listener.Addr().String()
}

// ask returns what the page answers.
func ask(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}

// join connects a client to a node.
func join(t *testing.T, c *cluster, node, protocol string) *relaytest.Client {
	t.Helper()
	conn, err := transport.Dial(t.Context(), c.processes[node].node.Config.Bind, transport.DialConfig{
		TLS:       &tls.Config{InsecureSkipVerify: true},
		Protocols: protocols.Only(protocol).QUIC(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return relaytest.NewClient(t, conn, "", slog.New(slog.DiscardHandler))
}
