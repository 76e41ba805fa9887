package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/server"
)

const sigterm = syscall.SIGTERM

// TestGracefulStop: SIGTERM delivers what is under way, tells every peer that
// the session ends, and leaves with code 0 and without a word of error.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t)
			p := startRelay(t, ca, "--drain-timeout", "2s") // these viewers do not go elsewhere when told
			publish(t, ca, p, "demo")
			raw := join(t, ca, p)
			raw.receive(5*time.Second, "demo")
			wt := join(t, ca, p, overWebTransport)
			sub, err := wt.Subscribe("demo")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := relaytest.Next(t.Context(), sub); err != nil {
				t.Fatal(err)
			}

			began := time.Now()
			p.signal(sig)
			for name, v := range map[string]*viewer{"raw QUIC": raw, "WebTransport": wt} {
				if e := wantClosed(t, v.conn, 5*time.Second); e.Code != 0 || e.Reason == "" {
					t.Errorf("%s: closed with %d %q, want 0 and a reason", name, e.Code, e.Reason)
				}
			}
			if code := p.awaitExit(5 * time.Second); code != 0 {
				t.Errorf("exit code %d", code)
			}
			t.Logf("stopped %v after the signal", time.Since(began).Round(time.Millisecond))
			p.noErrors()
			if out := p.output.String(); !strings.Contains(out, "relay started") || !strings.Contains(out, "relay stopped") {
				t.Errorf("said:\n%s", out)
			}
		})
	}
}

// TestSecondSignal: who does not want to wait for viewers need not.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p := startRelay(t, ca, "--drain-timeout", "1m")
	publishFrames(t, ca, p, 8<<10, "demo")
	frozen := freeze(t, ca, p, "demo")
	within(t, 5*time.Second, "the viewer takes no more", func() bool {
		var sessions []server.SessionInfo
		p.read("/sessions", &sessions)
		return slices.ContainsFunc(sessions, func(s server.SessionInfo) bool { return s.QueuedBytes > 16<<10 })
	})
	p.signal(sigterm)
	within(t, 5*time.Second, "the relay drains", func() bool { return strings.Contains(p.output.String(), "draining") })
	select {
	case <-p.done:
		t.Fatal("the relay does not wait for a viewer that still has to get a group")
	case <-frozen.Context().Done():
		t.Fatal("the viewer's session has ended while the relay drains")
	case <-time.After(500 * time.Millisecond):
	}
	began := time.Now()
	p.signal(sigterm)
	code := p.awaitExit(2 * time.Second)
	t.Logf("exit code %d, %v after the second signal", code, time.Since(began).Round(time.Millisecond))
	p.noErrors()
}
