package interop

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestCluster: relays of both kinds in one cluster. At each a publisher, and at
// each other one a subscriber of it.
func TestCluster(t *testing.T) {
	needPeers(t)
	for _, r := range []struct {
		name  string
		root  string
		nodes []string
	}{
		{"root 0.6.8 with two of ours", relay068, []string{ours, ours}},
		{"our root with 0.6.8 and ours", ours, []string{relay068, ours}},
		{"root 0.6.19 with ours and 0.6.19", relay619, []string{ours, relay619}},
		{"our root with 0.6.19 and ours", ours, []string{relay619, ours}},
		{"our root with 0.6.19 and 0.6.8", ours, []string{relay619, relay068}},
		{"ours only", ours, []string{ours, ours}},
		{"0.6.8 only", relay068, []string{relay068, relay068}},
	} {
		t.Run(r.name, func(t *testing.T) { t.Parallel(); runCluster(t, r.root, r.nodes) })
	}
}

func runCluster(t *testing.T, root string, nodes []string) {
	t.Helper()
	var slowest time.Duration
	board.add(t, func() string { return "slowest first tick after " + slowest.Round(10*time.Millisecond).String() })
	needPrograms(t, append(nodes, root, string(clock05))...)
	certs := newPKI(t)
	mixed := slices.ContainsFunc(append(nodes, root), func(kind string) bool { return kind != ours })
	relays := []*relay{startRelay(t, root, certs, node{self: true, open: mixed})}
	for _, kind := range nodes {
		relays = append(relays, startRelay(t, kind, certs, node{root: relays[0], open: mixed}))
	}

	for i, r := range relays {
		pub := start(t, fmt.Sprintf("clock pub at %d", i), peer(t, string(clock05)),
			"--bind", "127.0.0.1:0", "--publish", "--path", trackAt(i), "--tls-root", certs.ca, r.url("moqf"))
		wantAnnounced(t, r, pub, clock05)
	}
	var (
		mu       sync.Mutex
		watching sync.WaitGroup
	)
	for i, from := range relays {
		for j, to := range relays {
			if i == j {
				continue
			}
			watching.Go(func() {
				took, err := watch(t, to, trackAt(i), patience(string(clock05), from.kind, to.kind, string(clock05)))
				mu.Lock()
				defer mu.Unlock()
				slowest = max(slowest, took)
				if err != nil {
					t.Errorf("published at %s %d, watched at %s %d: %v", from.kind, i, to.kind, j, err)
				}
			})
		}
	}
	watching.Wait()
	for _, r := range relays {
		r.wantQuiet(t)
	}
	for i, r := range relays {
		if r.kind == ours && !t.Failed() {
			if code := r.terminate(t, 12*time.Second); code != 0 {
				t.Errorf("our relay %d exits with %d after SIGTERM, want 0", i, code)
			}
		}
	}
}

func trackAt(i int) string { return fmt.Sprintf("clock-%d", i) }

// watch subscribes until five consecutive ticks have come. A subscriber that
// comes before the announcement ends at once; it tries again for a while.
func watch(t *testing.T, at *relay, track string, patience time.Duration) (took time.Duration, err error) {
	t.Helper()
	begin := time.Now()
	linked := begin.Add(15 * time.Second)
	for {
		sub := start(t, "clock sub of "+track, peer(t, string(clock05)),
			"--bind", "127.0.0.1:0", "--path", track, "--tls-root", at.pki.ca, at.url("moqf"))
		ticks, last := 0, time.Time{}
		sub.stdout.scan(0, patience+12*time.Second, func(line line) bool {
			now, ok := tick(line)
			if !ok {
				return false
			}
			if took == 0 {
				took = line.at.Sub(begin)
			}
			if now.Sub(last) != time.Second {
				ticks = 0
			}
			ticks, last = ticks+1, now
			return ticks == 5
		})
		switch {
		case ticks == 5:
			return took, nil
		case took > 0 || time.Now().After(linked):
			return took, fmt.Errorf("%d consecutive ticks, want 5", ticks)
		}
		sub.quiet = true
		sub.kill(t)
		<-time.After(200 * time.Millisecond)
	}
}
