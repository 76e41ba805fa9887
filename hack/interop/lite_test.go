package interop

import (
	"path/filepath"
	"testing"
	"time"
)

// clock10 is the clock of today's family.
const clock10 = "moq-clock-0.10.21"

// startTheirs runs a relay of today's family, and waits until it serves.
func startTheirs(t *testing.T, certs pki, args ...string) (url string) {
	t.Helper()
	addr := freeAddr(t)
	args = append([]string{
		"--listen", addr, "--listen-tls-cert", certs.cert, "--listen-tls-key", certs.key,
		"--auth-public", "**", "--iroh-enabled=false",
	}, args...)
	theirs := start(t, relay1710, peer(t, relay1710), args...)
	theirs.stderr.want(t, "listening", 10*time.Second)
	return "moqt://" + addr
}

// TestLite_Cluster: our relay and theirs as peers, whichever of them dials the
// other. What is published at one of them is played at the other, every sample
// of it.
func TestLite_Cluster(t *testing.T) {
	needPeers(t)
	for _, version := range []string{"moq-lite-06", "moq-lite-05"} {
		for _, dialled := range []string{"ours", "theirs"} {
			t.Run(version+" dialled "+dialled, func(t *testing.T) {
				t.Parallel()
				var there, here movie
				board.add(t, func() string { return counts(there) + " from theirs, " + counts(here) + " from ours" })
				needPrograms(t, relay1710)
				certs := newPKI(t)
				ours, theirs := startLinked(t, certs, version, dialled == "ours")
				atTheirs, playHere := play(t, certs, theirs, ours, "demo/there")
				atOurs, playThere := play(t, certs, ours, theirs, "demo/here")
				for _, p := range []*process{atTheirs.process, atOurs.process} {
					p.wantEnd(t, 30*time.Second)
				}
				there, here = playHere(), playThere()
			})
		}
	}
}

// startLinked returns the addresses of our relay and theirs, which are linked by
// one version.
func startLinked(t *testing.T, certs pki, version string, oursIsDialled bool) (ourURL, theirURL string) {
	t.Helper()
	if oursIsDialled {
		r := startRelay(t, ours, certs, node{self: true, open: true})
		return r.url("moqt"), startTheirs(t, certs, "--cluster-connect", "https://"+r.addr, "--connect-tls-root", certs.ca, "--connect-version", version)
	}
	theirURL = startTheirs(t, certs, "--listen-version", version)
	r := startRelay(t, ours, certs, node{root: &relay{addr: theirURL[len("moqt://"):]}, open: true})
	return r.url("moqt"), theirURL
}

// publisher is our client that publishes the clip.
type publisher struct{ *process }

// play publishes the clip at one relay and plays it at another. The movie that it
// returns is to be asked for when the publisher has ended.
func play(t *testing.T, certs pki, from, to, name string) (pub publisher, got func() movie) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "out.mp4")
	sub := start(t, "our sub of "+name, our(t, "moq"), "sub", to, "--tls-root", certs.ca, "--name", name, "-o", file)
	pub = publisher{start(t, "our pub of "+name, our(t, "moq"), "pub", from, "--tls-root", certs.ca, "--name", name, clip)}
	return pub, func() movie {
		sub.wantEnd(t, 15*time.Second)
		m, published := readMovie(t, file), readMovie(t, clip)
		wantSamples(t, published, m, "vide", len(published.of("vide"))-30) // it may have come late by a keyframe
		wantSamples(t, published, m, "soun", len(published.of("soun"))*3/4)
		return m
	}
}

// TestLite_Clock: the clock of today's family and ours, in both roles, through our
// relay.
func TestLite_Clock(t *testing.T) {
	needPeers(t)
	for name, r := range map[string]struct{ pub, sub, scheme string }{
		"to itself by h3":        {clock10, clock10, "https"},
		"to ours by h3":          {clock10, ours, "https"},
		"ours to it by h3":       {ours, clock10, "https"},
		"to itself by raw QUIC":  {clock10, clock10, "moqt"},
		"to ours by raw QUIC":    {clock10, ours, "moqt"},
		"ours to it by raw QUIC": {ours, clock10, "moqt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var first time.Duration
			board.add(t, func() string { return "first tick after " + first.Round(10*time.Millisecond).String() })
			needPrograms(t, clock10)
			relay := startRelay(t, ours, newPKI(t), node{})
			liteClock(t, r.pub, relay, r.scheme, "publish")
			sub := liteClock(t, r.sub, relay, r.scheme, "subscribe")
			_, first = wantTicks(t, sub, patience(ours))
			relay.wantQuiet(t)
		})
	}
}

// liteClock starts a clock, ours or theirs.
func liteClock(t *testing.T, kind string, r *relay, scheme, role string) *process {
	t.Helper()
	if kind == ours {
		return start(t, "our clock "+role, our(t, "moq"), "clock", role[:3], r.url(scheme), "--tls-root", r.pki.ca, "--name", "clock")
	}
	return start(t, "clock "+role, peer(t, kind), "--client-bind", "127.0.0.1:0", "--url", r.url(scheme), "--broadcast", "clock", "--tls-root", r.pki.ca, role)
}
