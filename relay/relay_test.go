package relay_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/session"
)

// TestS27Panic: a panic in a session of a program ends that session and no
// other, and is counted.
func TestS27Panic(t *testing.T) {
	session.PanicsAreFatal = false
	t.Cleanup(func() { session.PanicsAreFatal = true })
	synctest.Test(t, func(t *testing.T) {
		n := relaytest.NewNetwork(t, 10*time.Millisecond)
		node := n.Start("relay", nil)
		node.Relay().AnnounceBug(moq.NewPath("bug"))
		camera := n.Dial("camera", node).Publish("demo")
		beside := n.Dial("beside", node)
		if err := beside.Announced(t.Context(), false, "demo"); err != nil {
			t.Fatal(err)
		}
		sub, err := beside.Subscribe("demo")
		if err != nil {
			t.Fatal(err)
		}
		wantNext := func(want string) {
			t.Helper()
			if err := camera.Write(want); err != nil {
				t.Fatal(err)
			}
			if got, err := relaytest.Next(t.Context(), sub); err != nil || got != want {
				t.Fatalf("a viewer beside gets %q, %v; want %q", got, err, want)
			}
		}
		wantNext("before")

		for range 2 { // nothing stays locked behind the first
			victim := n.Dial("victim", node)
			if _, err := victim.Subscribe("bug"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if !victim.Lost() {
				t.Error("the session that panicked lives on")
			}
			wantNext("after")
		}
		const want = `
# HELP moq_relay_panics_total Sessions that ended by a panic, which is a bug of this relay.
# TYPE moq_relay_panics_total counter
moq_relay_panics_total 2
`
		if err := testutil.GatherAndCompare(node.Relay().Metrics().Registry(), strings.NewReader(want), "moq_relay_panics_total"); err != nil {
			t.Error(err)
		}
	})
}
