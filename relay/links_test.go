package relay_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/transport"

	"github.com/moqrelay/moqrelay/relay/session/protocols"
)

// TestShortGroupsOverALink: groups of one frame, as of audio, come whole to a
// viewer at another node, whatever the two ends speak: the age by which a link
// asks for the newest group is not passed on to the publisher.
func TestShortGroupsOverALink(t *testing.T) {
	for _, from := range []string{protocols.MoqTransfork, "moq-lite-03", "moq-lite-05", "moq-lite-06"} {
		for _, to := range []string{protocols.MoqTransfork, "moq-lite-05", "moq-lite-06"} {
			t.Run(from+" to "+to, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { playShortGroups(t, from, to) })
			})
		}
	}
}

func playShortGroups(t *testing.T, from, to string) {
	n := relaytest.NewNetwork(t, 5*time.Millisecond)
	root := n.Start("root", nil)
	node := n.Start("node", []string{"root"})
	time.Sleep(2 * time.Second) // until they are linked
	publisher := n.DialSpeaking("publisher", root, transport.DialConfig{Protocols: protocols.Only(from).QUIC()})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for track := publisher.Publish("demo", "audio"); ; {
			if err := track.Write("frame"); err != nil {
				return
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	}()
	viewer := n.DialSpeaking("viewer", node, transport.DialConfig{Protocols: protocols.Only(to).QUIC()})
	time.Sleep(time.Second)
	sub, err := viewer.Subscribe("demo", "audio")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	seen := make(map[uint64]bool)
	for range 80 {
		group, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		seen[group.Sequence()] = true
		if _, err := group.NextFrame(ctx); err != nil {
			t.Errorf("group %d: %v", group.Sequence(), err)
		}
		if _, err := group.NextFrame(ctx); !errors.Is(err, io.EOF) {
			t.Errorf("group %d ends with %v", group.Sequence(), err)
		}
		group.Close()
	}
	if missing := missingOf(seen); missing > 0 {
		t.Errorf("%d groups are missing", missing)
	}
}
