package relay_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// lite is how clients dial that speak the newest moq-lite, as a publisher that
// says who it is.
func lite(n *relaytest.Network, host string, node *relaytest.Node, hop origin.Hop) *relaytest.Client {
	return n.DialHop(host, node, transport.DialConfig{Protocols: protocols.Only("moq-lite-06").QUIC()}, hop)
}

// feed publishes a numbered group each 100 ms until ctx is done.
func feed(ctx context.Context, track *relaytest.Publisher) {
	for i := 0; ; i++ {
		if err := track.Write(fmt.Sprint(i)); err != nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// gaps reads groups for a time and returns the longest silence, and how many
// groups were not there.
func gaps(t *testing.T, sub *moq.Subscription, during time.Duration) (silence time.Duration, missing uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	seen := make(map[uint64]bool)
	began := time.Now()
	for at := began; ; at = time.Now() {
		group, err := sub.Next(ctx)
		silence = max(silence, time.Since(at))
		if ctx.Err() != nil {
			return silence, missingOf(seen)
		}
		if err != nil {
			t.Fatalf("after %v the subscription ends: %v", time.Since(began), err)
		}
		if seen[group.Sequence()] {
			t.Fatalf("group %d comes twice", group.Sequence())
		}
		seen[group.Sequence()] = true
		group.Close()
	}
}

// missingOf returns how many groups there are not between the first and the last.
func missingOf(seen map[uint64]bool) uint64 {
	numbers := slices.Collect(maps.Keys(seen))
	return slices.Max(numbers) - slices.Min(numbers) + 1 - uint64(len(numbers))
}

// TestSubscriptionMoves: a viewer of a node whose link to the publisher's node is
// cut goes on with its subscription by way of a third node, and nobody else's
// groups are mixed in.
func TestSubscriptionMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, 10*time.Millisecond)
		root := n.Start("root", nil)
		a, z := n.Start("a", []string{"root"}), n.Start("z", []string{"root"})
		time.Sleep(3 * time.Second) // until they are linked
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go feed(ctx, lite(n, "camera", a, 77).Publish("demo", "video"))
		viewer := lite(n, "viewer", z, 0)
		sub := subscribeTo(t, viewer, "demo", "video")
		defer sub.Close()
		if silence, missing := gaps(t, sub, 2*time.Second); silence > 150*time.Millisecond || missing > 0 {
			t.Errorf("before, %v of silence and %d groups missing", silence, missing)
		}
		n.Partition("a", "z")
		silence, missing := gaps(t, sub, 10*time.Second)
		t.Logf("cut: %v of silence, %d groups missing", silence, missing)
		if silence > 4*time.Second {
			t.Errorf("%v of silence after the cut", silence)
		}
		_ = root
	})
}

// TestSubscriptionMovesBeforeTheEnd: what a node carries for others that leaves goes
// by way of another one as soon as it says so, with no group lost.
func TestSubscriptionMovesBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, 10*time.Millisecond)
		nodes := map[string]*relaytest.Node{"root": n.Start("root", nil)}
		for _, name := range []string{"a", "m", "z"} {
			nodes[name] = n.Start(name, []string{"root"})
		}
		n.Partition("a", "z")
		time.Sleep(3 * time.Second) // until they are linked
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go feed(ctx, lite(n, "camera", nodes["a"], 77).Publish("demo", "video"))
		sub := subscribeTo(t, lite(n, "viewer", nodes["z"], 0), "demo", "video")
		defer sub.Close()
		gaps(t, sub, 2*time.Second)
		for _, name := range []string{"root", "m"} {
			began, took := time.Now(), make(chan time.Duration, 1)
			go func() { nodes[name].Stop(); took <- time.Since(began) }()
			silence, missing := gaps(t, sub, 8*time.Second)
			t.Logf("%s leaves: %v of silence, %d groups missing", name, silence, missing)
			if silence > 250*time.Millisecond || missing > 0 {
				t.Errorf("%s leaves: %v of silence and %d groups missing", name, silence, missing)
			}
			if took := <-took; took > 2*time.Second {
				t.Errorf("%s has left after %v", name, took)
			}
			nodes[name].Restart()
			if silence, missing := gaps(t, sub, 5*time.Second); silence > 250*time.Millisecond || missing > 0 {
				t.Errorf("%s is back: %v of silence and %d groups missing", name, silence, missing)
			}
		}
	})
}

// TestPublisherComesBack: a publisher whose connection is lost and that comes back
// under the same hop is not missed: what it announced stands, and subscriptions
// go on, those that are made meanwhile as well. One that does not come back is
// withdrawn, and they end.
func TestPublisherComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, 10*time.Millisecond)
		node := n.Start("relay", nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first := lite(n, "camera", node, 77)
		track := first.Publish("demo", "video")
		go feed(ctx, track)
		viewer := lite(n, "viewer", node, 0)
		sub := subscribeTo(t, viewer, "demo", "video")
		defer sub.Close()
		gaps(t, sub, time.Second)
		announced := viewer.In.Watch(moq.NewPath("demo"), nil)
		defer announced.Close()

		first.Abort()
		time.Sleep(time.Second)
		late := subscribeTo(t, lite(n, "late viewer", node, 0), "demo", "video")
		defer late.Close()
		time.Sleep(time.Second)
		again := lite(n, "camera", node, 77)
		again.Announce(track)
		if silence, _ := gaps(t, sub, 3*time.Second); silence > 500*time.Millisecond {
			t.Errorf("%v of silence after the publisher was back", silence)
		}
		if silence, _ := gaps(t, late, time.Second); silence > 150*time.Millisecond {
			t.Errorf("%v of silence for who has come meanwhile", silence)
		}
		if ended(announced) {
			t.Error("viewers were told that the broadcast ended")
		}

		again.Abort()
		began := time.Now()
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		defer stop()
		var err error
		for err == nil {
			var group *moq.GroupReader
			if group, err = sub.Next(ctx); err == nil {
				group.Close()
			}
		}
		if took := time.Since(began); errors.Is(err, moq.ErrEnded) || took < 4*time.Second || took > 7*time.Second {
			t.Errorf("the publisher does not come back: after %v the subscription ends with %v", took, err)
		}
		time.Sleep(time.Second)
		if !ended(announced) {
			t.Error("viewers were not told that the broadcast ended")
		}
	})
}

// ended tells whether a watch has an end to tell.
func ended(w *origin.Watch) bool {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		e, err := w.Next(done)
		if err != nil {
			return false
		}
		if e.Type == origin.Ended {
			return true
		}
	}
}

func subscribeTo(t *testing.T, viewer *relaytest.Client, path ...string) *moq.Subscription {
	t.Helper()
	for range 100 {
		if _, ok := viewer.In.Route(moq.NewPath(path...), nil); ok {
			sub, err := viewer.Subscribe(path...)
			if err != nil {
				t.Fatal(err)
			}
			return sub
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%v is not announced", path)
	return nil
}
