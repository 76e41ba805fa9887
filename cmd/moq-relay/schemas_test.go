package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/docs/schemas"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/server"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// clip is the broadcast that the stories below publish.
const clip = "demo/clip"

// eachProtocol has a client publish at one node and another one watch at the other,
// in an old protocol and a new one, and calls look while they do.
func (c *cluster) eachProtocol(look func()) {
	c.Helper()
	for _, protocol := range []string{protocols.MoqTransfork, "moq-lite-06"} {
		speaking := func(c *transport.DialConfig) { c.Protocols = protocols.Only(protocol).QUIC() }
		publisher := film(c.T, join(c.T, c.ca, c.nodes[0], speaking), 0, "demo", "clip", "video")
		watcher := join(c.T, c.ca, c.nodes[1], speaking)
		within(c.T, 2*promptly, "watched in "+protocol, func() bool { return watches(c.T, watcher, "demo", "clip", "video") })
		look()
		publisher.stop()
		publisher.done.Wait()
		publisher.Close()
		watcher.Close()
		within(c.T, 2*promptly, "nothing is announced any more", func() bool {
			return !slices.ContainsFunc(c.all(), func(p *process) bool { return strings.Contains(p.get("/broadcasts"), clip) })
		})
	}
}

// watches subscribes, for as long as the client is there, and reports whether a
// group comes.
func watches(t *testing.T, v *viewer, path ...string) bool {
	t.Helper()
	sub, err := v.Subscribe(path...)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = relaytest.Next(ctx, sub)
	return err == nil
}

// TestU33Private: what relays answer on their private port is as its schemas say, in
// old protocols and new ones, without a root and while a node stops.
func TestU33Private(t *testing.T) {
	t.Parallel()
	nodes, sessions, broadcasts := schemas.Load(t, "nodes.json"), schemas.Load(t, "sessions.json"), schemas.Load(t, "broadcasts.json")
	c := startCluster(t, 2)
	check := func(relays ...*process) {
		t.Helper()
		for _, p := range relays {
			nodes.Check(t, p.get("/nodes"))
			sessions.Check(t, p.get("/sessions"))
			broadcasts.Check(t, p.get("/broadcasts"))
		}
	}
	check(c.all()...) // while nothing happens
	c.eachProtocol(func() {
		check(c.all()...)
		for i, p := range c.nodes {
			wantTrack(t, p, []string{"", c.nodes[0].addr}[i])
		}
	})

	c.root.kill()
	within(t, idleTimeout+2*promptly, "the root is lost, and dialled in vain", func() bool {
		return !slices.ContainsFunc(c.nodes, func(p *process) bool { return !hasLost(p, c.root) })
	})
	check(c.nodes...)
	if status, _, err := do(t, client, http.MethodPost, "http://"+c.nodes[0].private+"/drain"); status != http.StatusAccepted {
		t.Fatalf("POST /drain: status %d, %v", status, err)
	}
	within(t, promptly, "a node stops", func() bool {
		var info server.NodeInfo
		c.nodes[0].read("/nodes", &info)
		return info.DrainingSince != nil
	})
	check(c.nodes...)
	for _, s := range []*schemas.Schema{nodes, sessions, broadcasts} {
		s.CheckServed(t)
	}
}

// wantTrack holds that a relay knows of the clip's one track that it comes from
// source and has one subscriber.
func wantTrack(t *testing.T, p *process, source string) {
	t.Helper()
	var list []server.BroadcastInfo
	p.read("/broadcasts?limit=1&prefix="+clip, &list)
	if len(list) != 1 || list[0].Source != source || len(list[0].Tracks) != 1 {
		t.Errorf("%s has %+v", p.addr, list)
		return
	}
	if track := list[0].Tracks[0]; track.Group == nil || track.GroupSince == nil || track.Subscribers != 1 {
		t.Errorf("%s has a track %+v", p.addr, track)
	}
}

// hasLost reports whether p says that it has no link with a root, and why.
func hasLost(p, root *process) bool {
	p.t.Helper()
	var info server.NodeInfo
	p.read("/nodes", &info)
	isLost := slices.ContainsFunc(info.Roots, func(r server.RootInfo) bool {
		return r.URL == root.addr && !r.Connected && r.Since == nil && r.Error != ""
	})
	return isLost && slices.ContainsFunc(info.Peers, func(peer server.PeerInfo) bool {
		return peer.Node == root.addr && peer.RTTSeconds == nil && peer.SentBytes == nil && peer.Error != ""
	})
}

// TestU33Announced: the list of broadcasts on the public port is as its schema says,
// at the node where they are published and at another one, in old protocols and new
// ones, and when it is empty.
func TestU33Announced(t *testing.T) {
	t.Parallel()
	announced := schemas.Load(t, "announced.json")
	c := startCluster(t, 2)
	check := func(hasClip bool) {
		t.Helper()
		for _, p := range c.nodes {
			for prefix, want := range map[string]string{"": `"` + clip + `"`, "/demo": `"clip"`, "/demo/clip": `""`} {
				status, body, err := get(t, "http://"+p.addr+"/announced"+prefix+"?format=json")
				if err != nil || status != http.StatusOK || strings.Contains(body, `"path": `+want) != hasClip {
					t.Errorf("%s: status %d, %v, %s", prefix, status, err, body)
				}
				announced.Check(t, body)
			}
		}
	}
	check(false)
	c.eachProtocol(func() { check(true) })
	c.root.kill()
	check(false)
	announced.CheckServed(t)
}
