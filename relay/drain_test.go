package relay_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// told reports whether a client is told to go within a time.
func told(c *relaytest.Client, within time.Duration) bool {
	select {
	case <-c.GoingAway():
		return true
	case <-time.After(within):
		return false
	}
}

// TestDrainEndsWithTheLastSession: a stop takes as long as somebody is there.
func TestDrainEndsWithTheLastSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, 10*time.Millisecond)
		node := n.Start("relay", nil)
		began := time.Now()
		node.Stop()
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("with nobody there it took %v", took)
		}
		node.Restart()
		client := n.Dial("client", node)
		began = time.Now()
		go func() {
			<-client.GoingAway()
			time.Sleep(time.Second) // until it has found another relay
			client.Close()
		}()
		node.Stop()
		if took := time.Since(began); took < time.Second || took > 1500*time.Millisecond {
			t.Errorf("with a client that leaves after a second it took %v", took)
		}
	})
}

// TestDrainLameDuck: who comes while a relay stops is served, and told at once
// that it should go on; after five seconds it is refused. Publishers are told
// before viewers are.
func TestDrainLameDuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, 10*time.Millisecond)
		node := n.Start("relay", nil, func(c *config.Config) { c.DrainTimeout = 20 * time.Second })
		publisher, viewer := n.Dial("publisher", node), n.Dial("viewer", node)
		track := publisher.Publish("clip")
		time.Sleep(50 * time.Millisecond) // until it is announced
		sub, err := viewer.Subscribe("clip")
		if err != nil {
			t.Fatal(err)
		}
		open, err := track.AppendGroup() // that does not end before the bound of the stop
		if err != nil {
			t.Fatal(err)
		}
		_ = open.WriteFrame([]byte("a"))
		group, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer group.Close()

		began := time.Now()
		stopped := make(chan struct{})
		go func() { defer close(stopped); node.Stop() }()
		if !told(publisher, time.Second) {
			t.Error("the publisher is not told within a second")
		}
		if told(viewer, time.Second) {
			t.Error("the viewer is told before the publisher has had the time to go")
		}
		if !told(viewer, 2*time.Second) {
			t.Error("the viewer is not told")
		}
		late := n.Dial("late", node)
		if !told(late, 100*time.Millisecond) {
			t.Error("who comes while the relay stops is not told at once")
		}
		if s, err := late.Subscribe("clip"); err != nil {
			t.Errorf("who comes while the relay stops is not served: %v", err)
		} else if g, err := s.Next(t.Context()); err != nil {
			t.Errorf("who comes while the relay stops is not served: %v", err)
		} else {
			g.Close()
		}
		late.Close()

		time.Sleep(time.Until(began.Add(6 * time.Second)))
		conn, err := n.Connect(t.Context(), "later", node.Name, transport.DialConfig{})
		if err == nil {
			<-conn.Context().Done()
			err = context.Cause(conn.Context())
		}
		if e, ok := errors.AsType[*transport.CloseError](err); !ok || !e.Remote {
			t.Errorf("after the lame duck: %v, want a refusal", err)
		}
		if viewer.Lost() {
			t.Error("the viewer is cut in the middle of a group")
		}
		_ = open.Finish()
		<-stopped
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("stopped %v after the last group had ended", took-6*time.Second)
		}
	})
}

// TestDrainEndsNothing: when a relay stops whose publisher has not gone elsewhere,
// that is no end of what it publishes. Viewers at other nodes lose the track for
// now, and it stays announced for the linger.
func TestDrainEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, 10*time.Millisecond)
		n.Start("root", nil)
		near, far := n.Start("near", []string{"root"}), n.Start("far", []string{"root"})
		time.Sleep(3 * time.Second) // until they are linked
		publisher, viewer := n.Dial("publisher", near), n.Dial("viewer", far)
		track := publisher.Publish("clip")
		if err := viewer.Announced(t.Context(), false, "clip"); err != nil {
			t.Fatal(err)
		}
		sub, err := viewer.Subscribe("clip")
		if err != nil {
			t.Fatal(err)
		}
		if err := track.Write("a"); err != nil {
			t.Fatal(err)
		}
		group, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		group.Close()
		near.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := sub.Next(ctx); err == nil || errors.Is(err, moq.ErrEnded) {
			t.Errorf("the track has ended with %v", err)
		}
		if err := viewer.Announced(ctx, true, "clip"); err == nil {
			t.Error("it is not announced any more")
		}
	})
}
