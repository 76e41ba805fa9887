package main

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/server"
)

// TestU25KilledClients: of clients that are gone without a word nothing is left
// after the idle timeout, neither in the gauges nor in the lists, and the
// counters add up.
func TestU25KilledClients(t *testing.T) {
	t.Parallel()
	const killed, others = 100, 2
	ca := newAuthority(t)
	p := startRelay(t, ca, "--idle-timeout", idleTimeout.String(), "--keep-alive", "500ms")
	publish(t, ca, p, "demo")
	survivor := join(t, ca, p)
	survivor.receive(promptly, "demo")
	victims := joinMany(t, ca, p, killed)
	for i, v := range victims {
		if i%4 == 0 {
			v.Publish("victim", strconv.Itoa(i))
		}
		if _, err := v.Subscribe("demo"); err != nil {
			t.Fatal(err)
		}
	}
	within(t, promptly, "all are there", func() bool {
		return p.metric("moq_relay_sessions") == killed+others &&
			p.metric("moq_relay_subscriptions", `side="down"`) >= killed &&
			p.metric("moq_relay_broadcasts", `source="local"`) == killed/4+1
	})

	for _, v := range victims {
		v.vanish()
	}
	within(t, idleTimeout+time.Second, "nothing is left of those killed", func() bool {
		return p.metric("moq_relay_sessions") == others
	})
	opened, closed := p.metric("moq_relay_sessions_opened_total"), p.metric("moq_relay_sessions_closed_total")
	if opened != killed+others || opened-closed != others {
		t.Errorf("%v sessions opened, %v closed, %d live", opened, closed, others)
	}
	if got := p.metric("moq_relay_sessions_closed_total", `reason="timeout"`); got != killed {
		t.Errorf("%v sessions closed by timeout, want %d", got, killed)
	}
	if got := p.metric("moq_relay_broadcasts", `source="local"`); got != 1 {
		t.Errorf("%v broadcasts are left, want 1", got)
	}
	var sessions []server.SessionInfo
	p.read("/sessions", &sessions)
	if len(sessions) != others {
		t.Errorf("/sessions lists %d sessions, want %d", len(sessions), others)
	}
	survivor.receive(promptly, "demo")
	within(t, promptly, "their subscriptions are gone", func() bool {
		return p.metric("moq_relay_subscriptions", `side="down"`) == 0
	})
	p.noErrors()
}

// TestRotation: certificates that are replaced on disk are served to who comes
// next, without a restart and without the end of a session.
func TestRotation(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p := startRelay(t, ca)
	publish(t, ca, p, "demo")
	before := join(t, ca, p)
	before.receive(promptly, "demo")
	sub, err := before.Subscribe("demo")
	if err != nil {
		t.Fatal(err)
	}
	old := fingerprint(t, p)

	// The key comes first: for a moment the two do not fit.
	next := ca.issue(t, "127.0.0.1", "localhost")
	copyFile(t, next.key, p.pair.key)
	copyFile(t, next.cert, p.pair.cert)
	within(t, 2*promptly, "the new certificate is served", func() bool { return fingerprint(t, p) != old })

	after := join(t, ca, p)
	if got := leafOf(t, ca, p); got == old || got != fingerprint(t, p) {
		t.Errorf("QUIC serves the certificate %s, HTTP tells of %s, the old one is %s", got, fingerprint(t, p), old)
	}
	var info server.NodeInfo
	p.read("/nodes", &info)
	if !slices.ContainsFunc(info.Certificates, func(c server.CertificateInfo) bool { return c.Fingerprint != old }) || len(info.Certificates) != 1 {
		t.Errorf("/nodes tells of %+v", info.Certificates)
	}
	after.receive(promptly, "demo")
	if _, err := relaytest.Next(t.Context(), sub); err != nil || before.Lost() {
		t.Errorf("the session from before: %v", err)
	}

	// What cannot be used changes nothing.
	good := fingerprint(t, p)
	copyFile(t, ca.issue(t, "127.0.0.1").key, p.pair.key)
	within(t, 2*promptly, "the broken pair is noticed", func() bool { return p.logged("certificate not reloaded") })
	if got := leafOf(t, ca, p); got != good {
		t.Errorf("with a broken pair on disk QUIC serves %s, want the last good one, %s", got, good)
	}
}
