package follow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/follow"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// cached is for how long a relay keeps groups, retained for how long the publisher
// of these tests does.
const cached, retained = 3 * time.Second, 5 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start has a publisher and two viewers, one in each region, until everything
// flows.
func (w *world) start() (publisher *client, viewers []*viewing, clients []*client) {
	publisher = w.join("publisher", "eu-0", "eu-1")
	publisher.publish()
	time.Sleep(time.Second)
	near, far := w.join("near", "eu-0", "eu-1"), w.join("far", "us-0", "us-1")
	viewers = []*viewing{near.watch("near"), far.watch("far")}
	time.Sleep(2 * time.Second)
	for _, v := range viewers {
		v.wantSmooth("at first", groupTime)
	}
	return publisher, viewers, []*client{near, far}
}

// One relay after the other drains, as in a rollout: nobody notices.
func TestDrainOneByOne(t *testing.T) {
	tell(t, func(w *world) {
		_, viewers, clients := w.start()
		for _, name := range []string{"eu-0", "eu-1", "us-0", "us-1", "root"} {
			began := time.Now()
			w.nodes[name].Stop()
			took := time.Since(began)
			time.Sleep(time.Second)
			for _, v := range viewers {
				v.wantSmooth(name+" drained", groupTime)
			}
			if took > 3*time.Second {
				t.Errorf("%s drained for %v", name, took)
			}
			t.Logf("%s drained for %v", name, took)
			w.nodes[name].Restart()
			time.Sleep(3 * time.Second)
		}
		for _, c := range clients {
			t.Log(c.history())
		}
	})
}

// A relay that is killed is noticed, and what it carried flows again within 3 s,
// with the groups that were missed.
func TestKillOneByOne(t *testing.T) {
	tell(t, func(w *world) {
		publisher, viewers, clients := w.start()
		for range 3 {
			for _, name := range []string{publisher.at(), clients[1].at()} {
				w.nodes[name].Kill()
				time.Sleep(5 * time.Second)
				for _, v := range viewers {
					v.wantSmooth(name+" killed", 3*time.Second)
				}
				w.nodes[name].Restart()
				time.Sleep(5 * time.Second)
			}
		}
	})
}

// So are the short groups of a sound, 50 a second, of which there are many by the
// time that the loss is noticed.
func TestKillWithShortGroups(t *testing.T) {
	tell(t, func(w *world) {
		w.pace = 20 * time.Millisecond / framesPerGroup
		_, viewers, clients := w.start()
		for range 3 {
			at := clients[1].at()
			w.nodes[at].Kill()
			time.Sleep(5 * time.Second)
			viewers[1].wantSmooth(at+" killed", 3*time.Second)
			w.nodes[at].Restart()
			time.Sleep(5 * time.Second)
		}
	})
}

// A link between relays that breaks ends what is subscribed through it. What is
// still announced is subscribed again.
func TestLinkBreaks(t *testing.T) {
	tell(t, func(w *world) {
		publisher, viewers, clients := w.start()
		for range 3 {
			w.nodes[clients[1].at()].Relay().CloseLink(publisher.at() + ":4443")
			time.Sleep(3 * time.Second)
			for _, v := range viewers {
				v.wantSmooth("link closed", time.Second)
			}
		}
		w.Partition(publisher.at(), clients[1].at())
		time.Sleep(4 * time.Second)
		w.Heal(publisher.at(), clients[1].at())
		time.Sleep(4 * time.Second)
		viewers[0].wantSmooth("4 s of partition", groupTime)
		lost, longest := viewers[1].lost()
		t.Logf("4 s of partition, far: %d groups lost, longest gap %v", len(lost), longest)
		if most := max(int((longest-cached)/groupTime)+1, 0); longest > 6*time.Second || len(lost) > most {
			t.Errorf("4 s of partition: longest gap %v, %d groups lost, want at most %d", longest, len(lost), most)
		}
	})
}

// While no relay is there at all, it is dialled on, and all goes on when one is
// back. A group that the publisher does not have any more is lost, no other. A
// viewer whose relay is there, and knows of nothing, has some patience.
func TestOutage(t *testing.T) {
	tell(t, func(w *world) {
		_, viewers, clients := w.start()
		for _, name := range []string{"eu-0", "eu-1"} {
			w.nodes[name].Kill()
		}
		time.Sleep(30 * time.Second)
		if at := clients[0].at(); at != "" {
			t.Errorf("the viewer is at %s, which is dead", at)
		}
		w.nodes["eu-1"].Restart()
		time.Sleep(8 * time.Second)
		near, far := viewers[0], viewers[1]
		lost, longest := near.lost()
		t.Logf("%d groups lost, longest gap %v", len(lost), longest)
		// After the outage a dial that began in it may take its 4 s to fail, and the
		// next one begins at most 2.25 s later.
		const outage, back = 30 * time.Second, 6250*time.Millisecond + 2*time.Second
		if most := int((longest-retained)/groupTime) + 1; len(lost) > most || longest > outage+back {
			t.Errorf("longest gap %v, %d groups lost, want at most %d", longest, len(lost), most)
		}
		if near.quietFor() > groupTime {
			t.Errorf("nothing comes")
		}
		select {
		case <-far.done:
			if errors.Is(far.err, moq.ErrEnded) {
				t.Error("a track that is gone has ended well")
			}
		default:
			t.Error("a track that has been gone for long has not ended")
		}
	})
}

// A viewer whose relay is the only one that it may use ends with it.
func TestNoReconnect(t *testing.T) {
	tell(t, func(w *world) {
		w.join("publisher", "eu-0").publish()
		time.Sleep(time.Second)
		dial := w.dials("viewer", []string{"us-0"}, nil, moq.NewBudget(1<<20))
		first, err := dial(w.Context())
		if err != nil {
			t.Fatal(err)
		}
		f := follow.New(follow.Config{}, first)
		ended := make(chan error, 1)
		go func() { ended <- f.Run(context.Background()) }()
		track, err := f.Track(clip)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := track.Subscribe(moq.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := sub.Next(w.Context())
		if err != nil {
			t.Error(err)
			return
		}
		g.Close()
		w.nodes["us-0"].Kill()
		if err := <-ended; !errors.Is(err, transport.ErrTimeout) {
			t.Errorf("ended with %v, want that the relay is silent", err)
		}
		for err = nil; err == nil; {
			g, err = sub.Next(w.Context())
			if err == nil {
				g.Close()
			}
		}
		if !errors.Is(err, moq.ErrGoingAway) {
			t.Errorf("the track ended with %v", err)
		}
		if _, err := f.Track(clip); err == nil {
			t.Error("a track is still to be had")
		}
	})
}

// A publisher that ends its track ends it for the viewers, at once and well.
func TestEnd(t *testing.T) {
	tell(t, func(w *world) {
		p := w.join("publisher", "eu-0", "eu-1")
		stop := p.publish()
		time.Sleep(time.Second)
		v := w.join("far", "us-0", "us-1").watch("far")
		time.Sleep(time.Second)
		go stop()
		began := time.Now()
		<-v.done
		if took := time.Since(began); !errors.Is(v.err, moq.ErrEnded) || took > time.Second {
			t.Errorf("ended with %v after %v, want a clean end within 1 s", v.err, took)
		}
		time.Sleep(2 * time.Second)
	})
}

// A publisher that finds no other relay when its own leaves is gone for a while,
// and that is no end of what it publishes: viewers wait, and go on with it.
func TestDrainWithNowhereToGo(t *testing.T) {
	tell(t, func(w *world) {
		publisher := w.join("publisher", "eu-0")
		publisher.publish()
		time.Sleep(time.Second)
		far := w.join("far", "us-0", "us-1").watch("far")
		time.Sleep(2 * time.Second)
		far.wantSmooth("at first", groupTime)
		w.nodes["eu-0"].Stop()
		w.nodes["eu-0"].Restart()
		time.Sleep(5 * time.Second)
		select {
		case <-far.done:
			t.Fatalf("the track has ended: %v", far.err)
		default:
		}
		lost, longest := far.lost()
		t.Logf("%d groups lost, longest gap %v", len(lost), longest)
		if far.quietFor() > groupTime {
			t.Error("nothing comes")
		}
	})
}
