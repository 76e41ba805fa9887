package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const karp07 = "moq-karp-0.7.1"

// clip is the sample of this repository.
var clip = filepath.Join("..", "..", "cmd", "moq", "internal", "clip", "clip.mp4")

// TestKarp: video published by moq-karp, through our relay and through theirs,
// comes out of our client sample for sample. Of the sound karp itself drops
// frames that come together, so that only the picture is compared.
func TestKarp(t *testing.T) {
	needPeers(t)
	for _, r := range []struct {
		name, relay, in, out string
	}{
		{"through ours by h3", ours, "https", "https"},
		{"through ours by raw QUIC", ours, "moqf", "moqf"},
		{"through 0.6.8 by h3 and raw QUIC", relay068, "https", "moqf"},
		{"through 0.6.19 by raw QUIC", relay619, "moqf", "moqf"},
	} {
		t.Run(r.name, func(t *testing.T) { t.Parallel(); runKarp(t, r.relay, r.in, r.out) })
	}
}

func runKarp(t *testing.T, kind, in, out string) {
	t.Helper()
	var got movie
	board.add(t, func() string { return fmt.Sprintf("%d video samples", len(got.of("vide"))) })
	needPrograms(t, kind, karp07)
	certs := newPKI(t)
	relay := startRelay(t, kind, certs, node{})
	published := readMovie(t, clip).loop(8)

	// A relay that registers late loses the one group of the catalog more often
	// than not, and for good; then karp begins anew.
	tries := 1
	if late[kind] {
		tries = 8
	}
	for try := range tries {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.mp4", try))
		if !playKarp(t, relay, published, in, out, file) {
			continue
		}
		got = readMovie(t, file)
		wantSamples(t, published, got, "vide", 90) // 3 s at 30 per second
		if len(got.of("soun")) == 0 {
			t.Error("no sound")
		}
		relay.wantQuiet(t)
		return
	}
	t.Fatalf("our sub got nothing in %d tries", tries)
}

// playKarp publishes with karp and has our client write some of it to file; it
// reports whether that got anything.
func playKarp(t *testing.T, relay *relay, published movie, in, out, file string) bool {
	t.Helper()
	pub := start(t, "karp", peer(t, karp07), "--bind", "127.0.0.1:0", "--tls-root", relay.pki.ca,
		"--url", relay.url(in), "--path", "demo", "--path", "karp", "publish")
	defer pub.kill(t)
	go feed(pub, published) // ends when karp ends, at the latest
	name := announced(t, relay, out, "demo/karp", 7*time.Second)
	sub := start(t, "our sub", our(t, "moq"), "sub", relay.url(out), "--name", name,
		"--tls-root", relay.pki.ca, "-o", file, "--duration", "6s")
	select {
	case <-sub.done:
	case <-time.After(15 * time.Second):
		sub.kill(t)
	}
	info, err := os.Stat(file)
	return err == nil && info.Size() > 0
}

// feed writes a movie to a program as a live source does: a sample in each
// fragment, at its time.
func feed(p *process, m movie) {
	defer p.stdin.Close()
	begin := time.Now()
	if _, err := p.stdin.Write(m.header); err != nil {
		return // it has ended
	}
	for i, s := range m.samples {
		select {
		case <-time.After(m.at(s) - time.Since(begin)):
		case <-p.done:
			return
		}
		if _, err := p.stdin.Write(s.single(uint32(i + 1))); err != nil {
			return
		}
	}
}

// protocol is what our client is held to with a scheme, so that it sees what the
// clients of MoqTransfork do: moq-lite tells of no tracks.
func protocol(scheme string) string {
	if scheme == "moqt" {
		return "moq-lite-06"
	}
	return "moqf-02"
}

// announced waits until our client sees a broadcast below prefix at the relay,
// and returns its name.
func announced(t *testing.T, r *relay, scheme, prefix string, within time.Duration) string {
	t.Helper()
	list := start(t, "our announced", our(t, "moq"), "announced", r.url(scheme), prefix, "--json", "--tls-root", r.pki.ca, "--protocol", protocol(scheme))
	var name string
	ok := list.stdout.scan(0, within, func(line line) bool {
		var event struct{ Name string }
		if err := json.Unmarshal([]byte(line.text), &event); err != nil {
			t.Errorf("announced prints %q: %v", line.text, err)
		}
		name = strings.TrimSuffix(event.Name, "/catalog.json")
		return strings.HasPrefix(name, prefix)
	})
	if !ok {
		t.Fatalf("nothing is announced below %s within %v", prefix, within)
	}
	list.kill(t)
	return name
}
