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
