package follow_test

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/moqrelay/moqrelay/relay/moq"
)

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
			if took > 5*time.Second {
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
