package cluster_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/relaytest"
)

// TestManyWithdrawals: what ends together is withdrawn together at other nodes.
func TestManyWithdrawals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &story{T: t, Network: relaytest.NewNetwork(t, latency)}
		root := s.Start("root", nil)
		node := s.Start("a", []string{"root"})
		time.Sleep(2 * time.Second) // until they are linked
		known := func() int { return len(root.Relay().Announcements()) }
		before := known()
		const paths = 300
		publisher := s.Dial("publisher", node)
		for i := range paths {
			publisher.Publish("demo", fmt.Sprint(i))
		}
		s.within(time.Second, "the root knows all paths", func() bool { return known() == before+paths })
		publisher.Close()
		s.within(10*latency, "it knows none of them any more", func() bool { return known() == before })
	})
}
