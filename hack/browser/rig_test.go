package browser

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/hack/browser/devtools"
)

const (
	// root is the folder of the repository.
	root = "../.."
	// startTimeout bounds the start of a process.
	startTimeout = 20 * time.Second
	// leaveTimeout bounds the end of one that was asked to.
	leaveTimeout = 10 * time.Second
	// viewTimeout bounds what a page does by itself.
	viewTimeout = 15 * time.Second
	// playTimeout bounds the way of media from one page to another, on a machine
	// that has no hardware for it and other things to do.
	playTimeout = 40 * time.Second
)

// missing skips the test for want of something, or fails it where nothing may be
// missing.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// browser returns a running browser, or skips the test.
func browser(t *testing.T, flags ...string) *devtools.Browser {
	t.Helper()
	if os.Getenv("MOQ_BROWSER") == "" {
		t.Skip("MOQ_BROWSER is not set: \"make browser\" runs the page in Chromium")
	}
	if _, err := os.Stat(filepath.Join(root, "cmd/moq/internal/demo/dist/index.html")); err != nil {
		missing(t, "the page is not built: \"make page\" builds it")
	}
	path, err := devtools.Find()
	if err != nil {
		missing(t, "%v", err)
	}
	return devtools.Start(t, path, flags...)
}

// node is a relay that the page is to offer.
type node struct{ name, region, url string }

// relays returns the relay to publish at and the one to watch at, and the
// address of a page that offers them. Without further word they are ours: the
// sample cluster, with its two regions.
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
	base = startCluster(t)
	return offered(t, base), base
}

// startCluster runs the sample cluster, by the command that people run, and
// returns the address of its page.
func startCluster(t *testing.T) (base string) {
	t.Helper()
	const tries = 10
	for i := range tries {
		// Above the ports that other tests take, and below those that the system
		// gives to whoever asks for any.
		offset := 8000 + 50*rand.IntN(180)
		p := run(t, ours(t, "moq", "up", "-f", filepath.Join(root, "config/samples/relaycluster.yaml"),
			"--json", "--page", "127.0.0.1:0", "--port-offset", strconv.Itoa(offset)))
		var ready struct{ Demo string }
		err := p.await(t, func() error {
			line, err := p.stdout.line()
			if err != nil {
				return err
			}
			return json.Unmarshal([]byte(line), &ready)
		})
		switch {
		case err == nil:
			return ready.Demo
		case i == tries-1 || !strings.Contains(p.stderr.String(), "address already in use"):
			t.Fatalf("the sample cluster: %v\n%s", err, &p.stderr)
		}
	}
	panic("unreachable")
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

// startRelay starts a relay of ours that makes a certificate for itself.
func startRelay(t *testing.T, port int) (url string, p *process) {
	t.Helper()
	// Not localhost: a browser tries ::1 first, and does not try again over QUIC.
	address := fmt.Sprintf("127.0.0.1:%d", port)
	p = run(t, ours(t, "moq-relay", "--dev", "--bind", address))
	url = "http://" + address
	err := p.await(t, func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/certificate.sha256", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	if err != nil {
		t.Fatalf("the relay's fingerprint: %v\n%s", err, &p.stderr)
	}
	return url, p
}

// build builds our commands into the folder, once, with the page in them.
var build = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/moq", "./cmd/moq-relay")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
})

// bin is the folder of our commands, while tests run.
var bin string

func TestMain(m *testing.M) {
	var err error
	if bin, err = os.MkdirTemp("", "moqrelay-browser-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(bin)
	os.Exit(code)
}

// ours returns a command line of ours.
func ours(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Args[0] = "bin/" + name // which the page shows, as `make up` has it
	return cmd
}

// page serves the page for these relays and returns its address.
func page(t *testing.T, nodes ...node) string {
	t.Helper()
	return pageWith(t, nil, nodes...)
}

// pageWith is page with further arguments for its command.
func pageWith(t *testing.T, args []string, nodes ...node) string {
	t.Helper()
	args = append([]string{"page", "--listen", "127.0.0.1:0", "--base", "/demo/"}, args...)
	for _, n := range nodes {
		args = append(args, "--node", n.name+","+n.region+","+n.url)
	}
	p := run(t, ours(t, "moq", args...))
	var url string
	err := p.await(t, func() (err error) {
		url, err = p.stdout.line()
		return err
	})
	if err != nil {
		t.Fatalf("the page: %v\n%s", err, &p.stderr)
	}
	return url
}

// process is a program that runs until the test ends, at most.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{}
}

// run runs cmd until the test ends.
func run(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	endsWithUs(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // until it has ended, which the cleanup waits for
		_ = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.leave()
		if t.Failed() {
			t.Logf("%s:\n%s%s", strings.Join(cmd.Args, " "), &p.stdout, p.stderr.tail(4000))
		}
	})
	return p
}

// leave asks the process to end, as Ctrl-C does, and sees to it.
func (p *process) leave() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.ended:
	case <-time.After(leaveTimeout):
		p.kill()
	}
}

// wait waits for the process to end by itself, and well.
func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(startTimeout):
		t.Fatalf("%s: not done within %v\n%s", strings.Join(p.cmd.Args, " "), startTimeout, p.stderr.tail(2000))
	}
	if !p.cmd.ProcessState.Success() {
		t.Errorf("%s: %v\n%s", strings.Join(p.cmd.Args, " "), p.cmd.ProcessState, p.stderr.tail(2000))
	}
}

// kill ends the process without its doing anything about it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// await calls ask until it succeeds, the process ends, or time is up.
func (p *process) await(t *testing.T, ask func() error) error {
	t.Helper()
	late := time.After(startTimeout)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-p.ended:
			return fmt.Errorf("it has ended: %v", p.cmd.ProcessState)
		case <-late:
			return fmt.Errorf("not within %v: %w", startTimeout, err)
		}
	}
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
	write(t, filepath.Join(root, "bin", "browser", name+".png"), p.Screenshot(whole))
}

// update has the tests rewrite what the documentation shows.
var update = flag.Bool("update", false, "rewrite the picture in README.md")

// illustrate stores the window of a page where the README has it, if that is
// wanted. It may be as large as readers put up with.
func illustrate(t *testing.T, p *devtools.Page, name string) {
	t.Helper()
	const limit = 200_000
	if !*update {
		return
	}
	p.Do(`Object.assign(document.documentElement.style, { overflow: "hidden", scrollbarGutter: "auto" })`)
	png := p.Screenshot(false)
	if len(png) > limit {
		t.Errorf("%s has %d bytes, want at most %d", name, len(png), limit)
	}
	write(t, filepath.Join(root, "docs", "images", name+".png"), png)
}

// write writes a file, and the folder that it is in.
func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
