package relay_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// TestDatagramPairs: a datagram reaches those watchers that can have it, as it was
// published, whatever it is that carries it on either side. Others get nothing of
// it, and their streams go on.
func TestDatagramPairs(t *testing.T) {
	for _, from := range speakers() {
		if !from.hasTimestamps() {
			continue
		}
		for _, to := range speakers() {
			t.Run(fmt.Sprintf("%v to %v", from, to), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := relaytest.NewNetwork(t, 5*time.Millisecond)
					node := n.Start("relay", nil)
					playDatagrams(t, n.DialSpeaking("publisher", node, from.config()), n.DialSpeaking("watcher", node, to.config()), to)
				})
			})
		}
	}
}

// TestDatagramsOverLinks: datagrams go from node to node as well.
func TestDatagramsOverLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, 5*time.Millisecond)
		n.Start("root", nil)
		near, far := n.Start("near", []string{"root"}), n.Start("far", []string{"root"})
		time.Sleep(5 * time.Second)
		lite := speaker{protocol: "moq-lite-06"}
		playDatagrams(t, n.DialSpeaking("publisher", near, lite.config()), n.DialSpeaking("watcher", far, lite.config()), lite)
	})
}

func playDatagrams(t *testing.T, publisher, watcher *relaytest.Client, to speaker) {
	t.Helper()
	path := []string{"demo", "cam", "video"}
	track := publisher.Publish(path...)
	track.SetInfo(moq.Info{Priority: 7, Timescale: 90_000})
	wantAnnounced(t, watcher, true)
	sub, err := watcher.Subscribe(path...)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	inbox := moq.NewMailbox()
	sub.TakeDatagrams(inbox, 0)
	time.Sleep(100 * time.Millisecond) // until the publisher has heard of it
	publishGroup(t, track, []string{"on a stream"}, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	wantGroup(ctx, t, sub, 0, []string{"on a stream"}, func(int, uint64) {})

	largest := string(make([]byte, wire.MaxDatagram))
	for i, payload := range []string{"a", "", largest, largest + "one too many", "last"} {
		track.PublishDatagram(uint64(i)+5, 90_000+uint64(i), []byte(payload))
		track.PublishDatagram(uint64(i)+5, 90_000+uint64(i), []byte("again"))
	}
	publishGroup(t, track, []string{"and on"}, 0)
	wantGroup(ctx, t, sub, 1, []string{"and on"}, func(int, uint64) {})
	var want []moq.Datagram
	if to.hasTimestamps() {
		for i, payload := range []string{"a", "", largest} {
			want = append(want, moq.Datagram{Sequence: uint64(i) + 5, Timestamp: 90_000 + uint64(i), Payload: []byte(payload)})
		}
		want = append(want, moq.Datagram{Sequence: 9, Timestamp: 90_004, Payload: []byte("last")})
	}
	wantDatagrams(t, inbox, want)
	if fetched, err := watcher.Fetch(5, path...); err == nil {
		end, err := fetched.Subscribe(moq.SubscribeOptions{})
		if err == nil {
			_, err = end.Next(ctx)
			end.Close()
		}
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a datagram is fetched: %v", err)
		}
	}
}

// wantDatagrams holds that these come, in any order, and no other.
func wantDatagrams(t *testing.T, inbox *moq.Mailbox, want []moq.Datagram) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	got := make(map[uint64]moq.Datagram)
	for {
		_, d, _, err := inbox.Next(ctx)
		if err != nil {
			break
		}
		if _, ok := got[d.Sequence]; ok {
			t.Errorf("datagram %d comes twice", d.Sequence)
		}
		got[d.Sequence] = d
	}
	for _, w := range want {
		g, ok := got[w.Sequence]
		if !ok || g.Timestamp != w.Timestamp || !slices.Equal(g.Payload, w.Payload) {
			t.Errorf("datagram %d: got %d bytes at %d, %t, want %d at %d", w.Sequence, len(g.Payload), g.Timestamp, ok, len(w.Payload), w.Timestamp)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d datagrams, want %d", len(got), len(want))
	}
}

// TestS16StrayDatagrams: datagrams of no subscription, malformed ones and ones
// that are too large are dropped, however many, and nothing ends.
func TestS16StrayDatagrams(t *testing.T) {
	for _, to := range []speaker{{protocol: "moq-lite-05"}, {"moq-lite-06", true}} {
		t.Run(to.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := relaytest.NewNetwork(t, 5*time.Millisecond)
				node := n.Start("relay", nil)
				conn, err := n.Connect(t.Context(), "hostile", node.Name, to.config())
				if err != nil {
					t.Fatal(err)
				}
				hostile := relaytest.NewClient(t, conn, "", slog.New(slog.DiscardHandler))
				hostile.Publish("demo", "cam", "video")
				watcher := n.DialSpeaking("watcher", node, to.config())
				wantAnnounced(t, watcher, true)
				sub, err := watcher.Subscribe("demo", "cam", "video")
				if err != nil {
					t.Fatal(err)
				}
				defer sub.Close()
				inbox := moq.NewMailbox()
				sub.TakeDatagrams(inbox, 0)
				time.Sleep(100 * time.Millisecond)
				good := wire.Datagram{ID: 0, Sequence: 1, Payload: []byte("good")}
				unknown, large := good, good
				unknown.ID = 1 << 40
				large.Payload = make([]byte, wire.MaxDatagram+1)
				for range 1000 {
					for _, b := range [][]byte{nil, {0}, {0, 1}, {0xff}, unknown.Append(nil), large.Append(nil)} {
						if err := conn.SendDatagram(b); err != nil {
							t.Fatal(err)
						}
					}
				}
				time.Sleep(time.Second)
				for range 2 { // the second one is known
					if err := conn.SendDatagram(good.Append(nil)); err != nil {
						t.Fatal(err)
					}
				}
				wantDatagrams(t, inbox, []moq.Datagram{{Sequence: 1, Payload: []byte("good")}})
				if hostile.Lost() || watcher.Lost() {
					t.Error("a session has ended")
				}
			})
		})
	}
}
