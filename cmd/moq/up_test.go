package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
	demopage "github.com/moqrelay/moqrelay/cmd/moq/internal/demo"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
)

const sampleCluster = "../../config/samples/relaycluster.yaml"

// syncBuffer collects what a command writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// await returns the first match of pattern, as soon as it is there.
func (s *syncBuffer) await(t *testing.T, pattern string, limit time.Duration) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(limit); time.Now().Before(end); {
		if m := re.FindStringSubmatch(s.String()); m != nil {
			return m
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("not within %v: %s in\n%s", limit, pattern, s.String())
	return nil
}

// buildRelay puts moq-relay onto the PATH.
func buildRelay(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../moq-relay")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// moqCommand runs a command of moq to its end and returns its exit code and output.
func moqCommand(ctx context.Context, line string) (code int, stderr *syncBuffer) {
	stderr = new(syncBuffer)
	env := environment{stdin: strings.NewReader(""), stdout: io.Discard, stderr: stderr, lookup: func(string) (string, bool) { return "", false }}
	return run(ctx, strings.Fields(line), env), stderr
}

// TestU1U2U3UpPlaysAcrossRegions: `moq up` is ready, the commands that it prints
// carry the clip from one region to the other, sample for sample, in whichever
// protocol it is watched, an edit of the manifest is applied, and Ctrl-C leaves
// nothing behind.
func TestU1U2U3UpPlaysAcrossRegions(t *testing.T) {
	declareTier(t, "tier 1")
	buildRelay(t)
	manifest := filepath.Join(t.TempDir(), "relaycluster.yaml")
	sample, err := os.ReadFile(sampleCluster)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifest, sample, 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "state")
	ctx, interrupt := context.WithCancel(t.Context())
	stdout, stderr := new(syncBuffer), new(syncBuffer)
	ended := make(chan int)
	args := []string{"up", "-f", manifest, "--json", "--state", state, "--page", "127.0.0.1:0", "--port-offset", "3000"}
	go func() {
		ended <- run(ctx, args, environment{stdout: stdout, stderr: stderr, lookup: func(string) (string, bool) { return "", false }})
	}()
	t.Cleanup(interrupt)

	stdout.await(t, `"event":"ready"`, 30*time.Second)
	var ready readyEvent
	if err := json.Unmarshal([]byte(strings.SplitN(stdout.String(), "\n", 2)[0]), &ready); err != nil {
		t.Fatal(err)
	}
	if len(ready.Nodes) != 5 || ready.Nodes[0].Role != "root" || len(ready.Nodes[0].Fingerprint) != 64 {
		t.Errorf("ready event: %+v", ready)
	}
	checkDemo(t, ready)

	publish := stderr.await(t, `publish +moq (.*)`, time.Second)[1]
	watch := stderr.await(t, `watch +moq (.*) -o -`, time.Second)[1]
	publishing, stop := context.WithCancel(t.Context())
	published := make(chan int)
	go func() {
		code, _ := moqCommand(publishing, publish)
		published <- code
	}()
	out := filepath.Join(t.TempDir(), "out.mp4")
	if code, text := moqCommand(t.Context(), watch+" --duration 3s -o "+out); code != exitDone {
		t.Errorf("%s: exit code %d\n%s", watch, code, text)
	}
	checkSamples(t, out, 100)
	for _, protocol := range protocols.Names() {
		line := fmt.Sprintf("%s --protocol %s --duration 500ms -o %s", watch, protocol, out)
		if code, text := moqCommand(t.Context(), line); code != exitDone {
			t.Errorf("%s: exit code %d\n%s", line, code, text)
		}
		checkSamples(t, out, 15)
	}

	if err := os.WriteFile(manifest, append(sample, []byte("\n  - name: \"ap\"\n    replicas: 1\n")...), 0o600); err != nil {
		t.Fatal(err)
	}
	stderr.await(t, `applied +6 relays`, 15*time.Second)
	if code, text := moqCommand(t.Context(), strings.Replace(watch, "7461", "7471", 1)+" --duration 1s -o "+out); code != exitDone {
		t.Errorf("watching in the new region: exit code %d\n%s", code, text)
	}
	if err := os.WriteFile(manifest, []byte("kind: Nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stderr.await(t, `is not applied`, 5*time.Second)

	stop()
	if code := <-published; code != exitDone {
		t.Errorf("publish ends with exit code %d after Ctrl-C", code)
	}
	interrupt()
	select {
	case code := <-ended:
		if code != exitDone {
			t.Errorf("up ends with exit code %d\n%s", code, stderr)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("up has not ended 5 s after Ctrl-C")
	}
	for _, n := range ready.Nodes {
		addr := strings.Replace(strings.TrimPrefix(n.URL, "http://"), "localhost", "127.0.0.1", 1)
		pc, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", addr)
		if err != nil {
			t.Errorf("%s is still in use: %v", addr, err)
			continue
		}
		_ = pc.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

// checkDemo asks the page for browsers what it knows.
func checkDemo(t *testing.T, ready readyEvent) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ready.Demo+"config.json", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var got demopage.Config
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if len(got.Nodes) != len(ready.Nodes) || got.CLI == "" || got.Status != "../" {
		t.Errorf("the page for browsers knows %+v", got)
	}
}

// checkSamples holds the samples of an MP4 against those of the clip: each is in
// the clip, and follows the one before it in there. There are to be so many.
func checkSamples(t *testing.T, file string, least int) {
	t.Helper()
	type place struct {
		track uint32
		n     int
	}
	data := make(map[place][]byte)
	counts := make(map[uint32]int)
	read(t, clip.MP4, func(s fmp4.Sample) {
		data[place{s.Track, counts[s.Track]}] = bytes.Clone(s.Data)
		counts[s.Track]++
	})
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	next := make(map[uint32]int)
	samples := 0
	read(t, got, func(s fmp4.Sample) {
		n, known := next[s.Track]
		if !known {
			for n = 0; n < counts[s.Track] && !bytes.Equal(data[place{s.Track, n}], s.Data); n++ {
			}
		}
		if !bytes.Equal(data[place{s.Track, n % max(1, counts[s.Track])}], s.Data) {
			t.Fatalf("sample %d of track %d is not the clip's sample %d", samples, s.Track, n)
		}
		next[s.Track] = (n + 1) % counts[s.Track]
		samples++
	})
	if samples < least || len(next) != 2 {
		t.Errorf("%d samples of %d tracks, want at least %d of 2", samples, len(next), least)
	}
}

func read(t *testing.T, mp4 []byte, each func(fmp4.Sample)) {
	t.Helper()
	r := fmp4.NewReader(bytes.NewReader(mp4))
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		each(s)
	}
}

// TestU4UpRefuses: what is wrong is told in two lines, with the exit code for
// its kind.
func TestU4UpRefuses(t *testing.T) {
	buildRelay(t)
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("apiVersion: moqrelay.io/v1alpha1\nkind: RelayCluster\nmetadata: {name: live}\nspec: {root: {}, regions: [{name: EU}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:8443")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, tc := range map[string]struct {
		line string
		code int
		want string
	}{
		"no file":      {"up", exitUsage, "--file is missing"},
		"missing file": {"up -f " + dir + "/none.yaml", exitUsage, "none.yaml"},
		"bad manifest": {"up -f " + bad, exitFailed, "spec.regions[0].name"},
		"port taken":   {"up -f " + sampleCluster + " --port-offset 4000", exitFailed, "root-0: listen udp 127.0.0.1:8443"},
		"an argument":  {"up file.yaml", exitUsage, "file.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stderr := moqCommand(t.Context(), tc.line+" --quiet")
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			if code != tc.code || len(lines) != 2 || !strings.Contains(lines[0], tc.want) || !strings.HasPrefix(lines[1], "hint: ") {
				t.Errorf("exit code %d, want %d; output, want two lines, the first with %q:\n%s", code, tc.code, tc.want, stderr)
			}
		})
	}
}

// declareTier says that a tier of proof has run.
func declareTier(t *testing.T, tier string) {
	t.Helper()
	file := os.Getenv("MOQ_TIERS_FILE")
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(tier + "\n"); err != nil {
		t.Fatal(err)
	}
}
