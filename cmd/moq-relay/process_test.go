package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a relay that runs as a process of its own, on free ports of
// 127.0.0.1.
type process struct {
	t       *testing.T
	addr    string // host:port of QUIC and of the public HTTP
	private string // host:port of the private HTTP
	pair    pair   // what it shows to others
	args    []string

	cmd    *exec.Cmd
	stdin  io.Closer
	output *output
	done   chan struct{} // closed when it has ended
}

// output is what a process has written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// startRelay runs a relay with a certificate of its own until the test ends,
// and returns when it is ready. It comes without the flags that args give.
func startRelay(t *testing.T, ca *authority, args ...string) *process {
	t.Helper()
	p := newRelay(t, ca, args...)
	p.start()
	p.awaitReady()
	return p
}

// newRelay returns a relay that has its ports and certificate and does not run
// yet.
func newRelay(t *testing.T, ca *authority, args ...string) *process {
	t.Helper()
	p := &process{t: t, addr: freePort(t), private: freePort(t), pair: ca.issue(t, "127.0.0.1", "localhost")}
	p.args = append([]string{
		"--bind", p.addr, "--private-bind", p.private,
		"--tls-cert", p.pair.cert, "--tls-key", p.pair.key,
		"--log-format", "json",
		"--handshake-timeout", "20s", // of a machine that has other work
	}, args...)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() && p.output != nil {
			t.Logf("the last words of %s:\n%s", p.addr, tail(p.output.String(), 40))
		}
	})
	return p
}

// command returns the command with these arguments, not yet started. It ends
// when the returned pipe is closed at the latest.
func command(t *testing.T, args ...string) (cmd *exec.Cmd, stdin io.Closer, out *output) {
	t.Helper()
	cmd = exec.Command(os.Args[0], args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "MOQ_") && !strings.HasPrefix(v, "SSLKEYLOGFILE") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	// The race detector would have every process end a second late.
	cmd.Env = append(cmd.Env, asRelay+"=1", "GORACE=atexit_sleep_ms=0")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out = new(output)
	cmd.Stderr = out
	return cmd, stdin, out
}

// start runs the relay, again if it has ended.
func (p *process) start() {
	p.t.Helper()
	p.cmd, p.stdin, p.output = command(p.t, p.args...)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	p.done = done
	cmd := p.cmd
	go func() { // kill waits for it
		_ = cmd.Wait()
		close(done)
	}()
}

// awaitReady waits until the relay says that it is ready.
func (p *process) awaitReady() {
	p.t.Helper()
	within(p.t, 10*time.Second, p.addr+" is ready", func() bool {
		select {
		case <-p.done:
			p.t.Fatalf("the relay ended: %s", p.output)
		default:
		}
		status, _, err := get(p.t, "http://"+p.addr+"/readyz")
		return err == nil && status == http.StatusOK
	})
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	if p.done == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
	_ = p.stdin.Close()
}

// signal sends a signal.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%v to %s: %v", s, p.addr, err)
	}
}

// awaitExit waits for the end of the process and returns its exit code.
func (p *process) awaitExit(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("%s still runs after %v", p.addr, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// get fetches a page of the private port.
func (p *process) get(path string) string {
	p.t.Helper()
	status, body, err := get(p.t, "http://"+p.private+path)
	if err != nil || status != http.StatusOK {
		p.t.Fatalf("%s: status %d, %v", path, status, err)
	}
	return body
}

// read decodes a JSON page of the private port.
func (p *process) read(path string, into any) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.get(path)), into); err != nil {
		p.t.Fatalf("%s: %v", path, err)
	}
}

// metric returns the sum of a metric over its labels, or, with labels such as
// `reason="peer"`, over those that carry them.
func (p *process) metric(name string, labels ...string) float64 {
	p.t.Helper()
	sum, found := 0.0, false
	for line := range strings.Lines(p.get("/metrics")) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (rest[0] != ' ' && rest[0] != '{') {
			continue
		}
		fields := strings.Fields(rest)
		for _, l := range labels {
			ok = ok && strings.Contains(fields[0], l)
		}
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			p.t.Fatalf("metric %s: %v", name, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		p.t.Fatalf("there is no metric %s %v", name, labels)
	}
	return sum
}

// logged reports whether the relay has logged text.
func (p *process) logged(text string) bool { return strings.Contains(p.output.String(), text) }

// noErrors holds that nothing was logged as an error.
func (p *process) noErrors() {
	p.t.Helper()
	for line := range strings.Lines(p.output.String()) {
		var record struct{ Level string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Level == "ERROR" {
			p.t.Errorf("%s says: %s", p.addr, line)
		}
	}
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

func get(t *testing.T, url string) (status int, body string, err error) {
	t.Helper()
	return do(t, client, http.MethodGet, url)
}

func do(t *testing.T, c *http.Client, method, url string) (status int, body string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// within waits for ok and returns the time that it took.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond) // each look costs the relay a request
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		switch took := time.Since(began); {
		case ok():
			t.Logf("%s after %v", what, took.Round(time.Millisecond))
			return took
		case took > limit:
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// elapse lets time pass. Processes have no other time than the real one.
func elapse(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// taken holds the ports that were given out.
var taken = struct {
	sync.Mutex
	ports map[int]bool
}{ports: make(map[int]bool)}

// freePort returns an address whose port is free for UDP and TCP, below those
// that the system gives to clients: it stays free until it is used, and while a
// relay is being restarted.
func freePort(t *testing.T) string {
	t.Helper()
	taken.Lock()
	defer taken.Unlock()
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if !taken.ports[port] && isFree(addr) {
			taken.ports[port] = true
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

func isFree(addr string) bool {
	udp, udpErr := net.ListenPacket("udp", addr)
	tcp, tcpErr := net.Listen("tcp", addr)
	if udpErr == nil {
		udpErr = udp.Close()
	}
	if tcpErr == nil {
		tcpErr = tcp.Close()
	}
	return errors.Join(udpErr, tcpErr) == nil
}

// tail returns the last n lines.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
