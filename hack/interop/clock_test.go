package interop

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// clock is a program that publishes or shows the time of day.
type clock string

const (
	ourClock = clock(ours)
	clock05  = clock("moq-clock-0.5.12")
)

// late says that a receiver registers a subscription only when it has read
// INFO, and refuses groups that come before. To it an old sender loses the
// running minute more often than not; ours sends the group again.
var late = map[string]bool{string(clock05): true, relay068: true}

// patience is how long a row may wait for its first tick: the running minute
// must arrive where one side of each hop is careful, else the next one.
func patience(hops ...string) time.Duration {
	for i := range len(hops) - 1 {
		if late[hops[i+1]] && hops[i] != ours {
			return 75 * time.Second
		}
	}
	return 7 * time.Second // the last of five ticks is due within 12 s
}

func (c clock) publish(t *testing.T, certs pki, url string) *process {
	t.Helper()
	if c == ourClock {
		return start(t, "our clock pub", our(t, "moq"), "clock", "pub", url, "--tls-root", certs.ca, "--protocol", "moqf-02")
	}
	return start(t, "clock pub", peer(t, string(c)), "--bind", "127.0.0.1:0", "--publish", "--tls-root", certs.ca, url)
}

func (c clock) subscribe(t *testing.T, certs pki, url string) *process {
	t.Helper()
	if c == ourClock {
		return start(t, "our clock sub", our(t, "moq"), "clock", "sub", url, "--tls-root", certs.ca, "--protocol", "moqf-02")
	}
	return start(t, "clock sub", peer(t, string(c)), "--bind", "127.0.0.1:0", "--tls-root", certs.ca, url)
}

// tick reads a line of a clock.
func tick(line line) (time.Time, bool) {
	at, err := time.Parse(time.DateTime, strings.TrimSpace(line.text))
	return at, err == nil
}

// wantTicks waits for the first tick, then for five consecutive ones of the
// present time, and returns the first and how long it took.
func wantTicks(t *testing.T, p *process, patience time.Duration) (first time.Time, took time.Duration) {
	t.Helper()
	begin, from := time.Now(), p.stdout.len()
	ok := p.stdout.scan(from, patience, func(line line) bool {
		at, ok := tick(line)
		if ok {
			first, took = at, line.at.Sub(begin)
		}
		return ok
	})
	if !ok {
		t.Fatalf("%s: no tick within %v", p.name, patience)
	}
	var run []time.Time
	ok = p.stdout.scan(from, 12*time.Second, func(line line) bool {
		at, ok := tick(line)
		if !ok {
			return false
		}
		if n := len(run); n > 0 && at.Sub(run[n-1]) != time.Second {
			t.Errorf("%s: %v follows %v", p.name, at, run[n-1])
		}
		if line.at.Sub(at).Abs() < 3*time.Second { // not of the past of the minute
			run = append(run, at)
		} else {
			run = nil
		}
		return len(run) == 5
	})
	if !ok {
		t.Fatalf("%s: %d consecutive ticks within 12 s of the first, want 5", p.name, len(run))
	}
	return first, took
}

// wantRunningMinute fails if a subscriber that joined late did not get the
// running minute from the first second in it that was published.
func wantRunningMinute(t *testing.T, first, published time.Time) {
	t.Helper()
	minute := time.Now().UTC().Truncate(time.Minute)
	want := published
	if want.Before(minute) {
		want = minute
	}
	// The minute may have turned while the row looked at its ticks.
	if !slices.ContainsFunc([]time.Time{want, published}, func(w time.Time) bool { return first.Sub(w).Abs() <= time.Second }) {
		t.Errorf("the late subscriber begins at %s, want %s", first.Format(time.TimeOnly), want.Format(time.TimeOnly))
	}
}

// row is a publisher and a subscriber of the clock around one relay.
type row struct {
	name     string
	relay    string
	pub, sub clock
	in, out  string // transports: https or moqf
}

// TestClock_ThroughOurs: the old clocks, by every mix of transports, and beside
// our own.
func TestClock_ThroughOurs(t *testing.T) {
	needPeers(t)
	for _, r := range []row{
		{"moq-clock 0.5.12 to itself by h3", ours, clock05, clock05, "https", "https"},
		{"moq-clock 0.5.12 to itself by raw QUIC", ours, clock05, clock05, "moqf", "moqf"},
		{"moq-clock 0.5.12 from h3 to raw QUIC", ours, clock05, clock05, "https", "moqf"},
		{"moq-clock 0.5.12 to ours by h3", ours, clock05, ourClock, "https", "https"},
		{"ours to moq-clock 0.5.12 by raw QUIC", ours, ourClock, clock05, "moqf", "moqf"},
		{"ours to ours from raw QUIC to h3", ours, ourClock, ourClock, "moqf", "https"},
	} {
		t.Run(r.name, func(t *testing.T) { t.Parallel(); r.run(t) })
	}
}

// TestClock_ThroughTheirs: our clock with the relays of others between. Their
// own clocks through their own relay are there for comparison.
//
// Ours reaches them by raw QUIC, also where the URL asks for WebTransport first:
// theirs is of an older draft than that of the library we dial with.
func TestClock_ThroughTheirs(t *testing.T) {
	needPeers(t)
	for _, r := range []row{
		{"0.6.8: ours to ours", relay068, ourClock, ourClock, "moqf", "moqf"},
		{"0.6.8: ours to ours by an https URL", relay068, ourClock, ourClock, "https", "https"},
		{"0.6.8: ours to moq-clock 0.5.12", relay068, ourClock, clock05, "moqf", "https"},
		{"0.6.8: moq-clock 0.5.12 to ours", relay068, clock05, ourClock, "https", "moqf"},
		{"0.6.8: moq-clock 0.5.12 to itself", relay068, clock05, clock05, "https", "https"},
		{"0.6.19: ours to ours", relay619, ourClock, ourClock, "moqf", "moqf"},
		{"0.6.19: ours to ours by an https URL", relay619, ourClock, ourClock, "https", "https"},
		{"0.6.19: ours to moq-clock 0.5.12", relay619, ourClock, clock05, "moqf", "https"},
		{"0.6.19: moq-clock 0.5.12 to ours", relay619, clock05, ourClock, "https", "moqf"},
		{"0.6.19: moq-clock 0.5.12 to itself", relay619, clock05, clock05, "https", "https"},
	} {
		t.Run(r.name, func(t *testing.T) { t.Parallel(); r.run(t) })
	}
}

// run plays the whole row: the first group arrives and ticks follow, a late
// subscriber gets the running minute, and, where the relay is ours, a killed
// publisher comes back and SIGTERM tells everybody.
func (r row) run(t *testing.T) {
	t.Helper()
	var first time.Duration
	board.add(t, func() string { return "first tick after " + first.Round(10*time.Millisecond).String() })
	needPrograms(t, r.relay, string(r.pub), string(r.sub))
	certs := newPKI(t)
	relay := startRelay(t, r.relay, certs, node{})
	relayed := patience(string(r.pub), r.relay, string(r.sub))

	pub := r.pub.publish(t, certs, relay.url(r.in))
	wantAnnounced(t, relay, pub, r.pub)
	published := time.Now().UTC().Truncate(time.Second)
	sub := r.sub.subscribe(t, certs, relay.url(r.out))
	_, first = wantTicks(t, sub, relayed)

	lateSub := r.sub.subscribe(t, certs, relay.url(r.out))
	begin, _ := wantTicks(t, lateSub, patience(r.relay, string(r.sub)))
	if relayed < 10*time.Second {
		wantRunningMinute(t, begin, published)
	}
	if r.relay != ours {
		return
	}
	relay.wantQuiet(t)

	pub.kill(t)
	pub = r.pub.publish(t, certs, relay.url(r.in))
	wantAnnounced(t, relay, pub, r.pub)
	again := r.sub.subscribe(t, certs, relay.url(r.out))
	wantTicks(t, again, relayed)

	if code := relay.terminate(t, 12*time.Second); code != 0 {
		t.Errorf("our relay exits with %d after SIGTERM, want 0", code)
	}
	// An old clock that subscribes ends when it is told, far before its idle
	// time-out of 10 s; ours tries again.
	if r.sub == clock05 {
		again.wantEnd(t, 3*time.Second)
	}
	relay.wantQuiet(t)
}

// TestHint: a relay that our client cannot reach in the way it is told to, it
// tells how to reach.
func TestHint(t *testing.T) {
	needPeers(t)
	for _, kind := range []string{relay068, relay619} {
		t.Run(kind, func(t *testing.T) {
			relay := startRelay(t, kind, newPKI(t), node{})
			sub := start(t, "our clock sub", our(t, "moq"), "clock", "sub", relay.url("https"), "--tls-root", relay.pki.ca, "--protocol", "h3")
			sub.wantEnd(t, 12*time.Second)
			sub.stderr.want(t, "it does not speak WebTransport as it is now", time.Second)
			sub.stderr.want(t, "hint: leave --protocol h3 out", time.Second)
			if code := sub.cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("our sub exits with %d, want 1", code)
			}
		})
	}
}

// wantAnnounced waits until the relay knows of what a clock publishes.
func wantAnnounced(t *testing.T, r *relay, pub *process, c clock) {
	t.Helper()
	if c == ourClock {
		announced(t, r, "moqf", "clock", 5*time.Second)
		return
	}
	pub.stderr.want(t, "connected", 5*time.Second)
}
