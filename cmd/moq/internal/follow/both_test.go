package follow_test

import (
	"sync"
	"testing"
	"time"
)

// A region whose relays all leave at once is gone for its viewers, but the relays
// do leave, within their bound.
func TestRegionLeaves(t *testing.T) {
	tell(t, func(w *world) {
		_, viewers, _ := w.start()
		began := time.Now()
		var stops sync.WaitGroup
		for _, name := range []string{"us-0", "us-1"} {
			stops.Go(w.nodes[name].Stop)
		}
		stops.Wait()
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, name := range []string{"us-0", "us-1"} {
			w.nodes[name].Restart()
		}
		time.Sleep(8 * time.Second)
		for _, v := range viewers {
			if v.quietFor() > groupTime {
				t.Error("nothing comes")
			}
		}
	})
}

// A publisher whose way to its relay breaks, and which finds another relay, is not
// missed for longer than it takes to notice, where protocols say who publishes: its
// old relay does not know for 5 s.
func TestPublisherIsCutOff(t *testing.T) {
	tellIn(t, "moq-lite-06", func(w *world) {
		publisher, viewers, _ := w.start()
		for range 4 {
			at := publisher.at()
			w.Partition("publisher", at)
			time.Sleep(8 * time.Second)
			for _, v := range viewers {
				v.wantSmooth("publisher cut off from "+at, 3*time.Second)
			}
			w.Heal("publisher", at)
			time.Sleep(4 * time.Second)
		}
	})
}
