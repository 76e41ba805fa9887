package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/hack/browser/devtools"
)

const (
	// startTimeout bounds the start of a process.
	startTimeout = 20 * time.Second
	// viewTimeout bounds what a page does by itself.
	viewTimeout = 15 * time.Second
	// playTimeout bounds the way of media from one page to another, on a machine
	// that has no hardware for it and other things to do.
	playTimeout = 40 * time.Second
)

// browser returns a running browser, or skips the test.
func browser(t *testing.T, flags ...string) *devtools.Browser {
	t.Helper()
	if os.Getenv("MOQ_BROWSER") == "" {
		t.Skip("MOQ_BROWSER is not set: \"make browser\" runs the page in Chromium")
	}
	if _, err := os.Stat("../../cmd/moq/internal/demo/dist/index.html"); err != nil {
		t.Skip("the page is not built: \"make page\" builds it")
	}
	path, err := devtools.Find()
	if err != nil {
		t.Skip(err)
	}
	return devtools.Start(t, path, flags...)
}

// node is a relay that the page is to offer.
type node struct{ name, region, url string }

// relays returns the relay to publish at and the one to watch at, and the
// address of a page that offers them, or skips the test.
func relays(t *testing.T) (nodes []node, base string) {
	t.Helper()
	if base := os.Getenv("MOQ_BROWSER_PAGE"); base != "" {
		return offered(t, base), base
	}
	if urls := os.Getenv("MOQ_BROWSER_RELAYS"); urls != "" {
		publish, watch, ok := strings.Cut(urls, ",")
		if !ok {
			t.Fatalf("MOQ_BROWSER_RELAYS=%q: want two URLs with a comma between them", urls)
		}
		nodes = []node{{"eu-0", "eu", publish}, {"us-0", "us", watch}}
		return nodes, page(t, nodes...)
	}
	first := startRelay(t, freePort(t))
	second := startRelay(t, freePort(t), "--cluster-connect", first.url)
	nodes = []node{{"eu-0", "eu", first.url}, {"us-0", "us", second.url}}
	return nodes, page(t, nodes...)
}

// offered returns the first node that a page offers and one of the last region.
func offered(t *testing.T, base string) []node {
	t.Helper()
	var config struct {
		Nodes []struct{ Name, Region, Role, URL string }
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"config.json", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(&config); err != nil {
		t.Fatal(err)
	}
	var first, last node
	for _, n := range config.Nodes {
		if n.Role == "root" {
			continue
		}
		if first.name == "" {
			first = node{n.Name, n.Region, n.URL}
		}
		if last.region != n.Region {
			last = node{n.Name, n.Region, n.URL}
		}
	}
	if first.name == "" {
		t.Fatalf("the page at %s offers no node", base)
	}
	return []node{first, last}
}

// relay is a relay of others that the test may stop.
type relay struct {
	url  string
	stop func()
}

// startRelay starts a moq-relay of others, or skips the test.
func startRelay(t *testing.T, port int, more ...string) relay {
	t.Helper()
	path := filepath.Join(os.Getenv("MOQ_PEERS_DIR"), "moq-relay-0.17.10", "bin", "moq-relay")
	if _, err := os.Stat(path); err != nil {
		t.Skip("no relay: name two in MOQ_BROWSER_RELAYS, or build those of others with \"make peers\"")
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	stop, _ := run(t, exec.Command(path, append([]string{
		"--listen", address, "--listen-tls-generate", "localhost", "--web-http-listen", address,
		"--auth-public", "**", "--iroh-enabled=false",
	}, more...)...))
	// Not localhost: a browser tries ::1 first, and does not try again over QUIC.
	r := relay{url: "http://" + address, stop: stop}
	await(t, "the relay's fingerprint", func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/certificate.sha256", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	return r
}

// buildServer builds the server of the page, once.
var buildServer = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("moqrelay-demo-%d", os.Getpid()))
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/moq/internal/demo/serve").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("MOQ_BROWSER") != "" {
		if path, err := buildServer(); err == nil {
			_ = os.Remove(path)
		}
	}
	os.Exit(code)
}

// page serves the page for these relays and returns its address.
func page(t *testing.T, nodes ...node) string {
	t.Helper()
	return pageWith(t, nil, nodes...)
}

// pageWith is page with further arguments for its server.
func pageWith(t *testing.T, args []string, nodes ...node) string {
	t.Helper()
	path, err := buildServer()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		args = append(args, "-node", n.name+","+n.region+","+n.url)
	}
	cmd := exec.Command(path, args...)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	_, stdout := run(t, cmd)
	var url string
	await(t, "the page's address", func() error {
		line, err := stdout.line()
		url = line
		return err
	})
	return url
}

// run runs cmd until the test ends or stop is called.
func run(t *testing.T, cmd *exec.Cmd) (stop func(), stdout *output) {
	t.Helper()
	stdout, stderr := new(output), new(output)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s:\n%s%s", filepath.Base(cmd.Path), stdout, stderr.tail(4000))
		}
	})
	return stop, stdout
}

// output is what a process wrote.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) tail(n int) string {
	s := o.String()
	return s[max(0, len(s)-n):]
}

// line returns the first line.
func (o *output) line() (string, error) {
	line, err := bufio.NewReader(strings.NewReader(o.String())).ReadString('\n')
	return strings.TrimSpace(line), err
}

// await calls ask until it succeeds.
func await(t *testing.T, what string, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, startTimeout, err)
		}
	}
}

// freePort returns a port that is free for UDP and TCP.
func freePort(t *testing.T) int {
	t.Helper()
	for range 20 {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", l.Addr().String())
		_ = l.Close()
		if err != nil {
			continue
		}
		_ = pc.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
	t.Fatal("no port is free for UDP and TCP")
	return 0
}

// keep stores a picture of a page, for people to look at.
func keep(t *testing.T, p *devtools.Page, name string, whole bool) {
	t.Helper()
	dir := filepath.Join("..", "..", "bin", "browser")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name+".png")
	if err := os.WriteFile(file, p.Screenshot(whole), 0o644); err != nil {
		t.Fatal(err)
	}
}
