package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/moqrelay/moqrelay/relay"
	"github.com/moqrelay/moqrelay/relay/config"
)

// asCommand in the environment makes the test binary the command itself.
const asCommand = "MOQ_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// startRelay runs a relay on a free port until the test ends and returns host:port.
func startRelay(t *testing.T) string {
	t.Helper()
	c := config.Default()
	c.Bind, c.PrivateBind, c.Dev = "127.0.0.1:0", "", true
	sockets, err := relay.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(sockets.UDP.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	r, err := relay.New(c, relay.Environment{Sockets: sockets, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop2, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, stop2) }()
	t.Cleanup(func() {
		stop()
		cancel() // at once
		if err := <-done; err != nil {
			t.Errorf("relay: %v", err)
		}
	})
	return "localhost:" + port
}

// A running command of a test.
type running struct {
	t              *testing.T
	stop           context.CancelFunc // as Ctrl-C does
	stdout, stderr safeBuffer
	done           chan struct{}
	code           int // read it after done
}

// start runs a command line in this process.
func start(t *testing.T, stdin io.Reader, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.code = run(ctx, args, environment{
			stdin: stdin, stdout: &r.stdout, stderr: &r.stderr,
			lookup: func(string) (string, bool) { return "", false },
			lead:   1500 * time.Millisecond, // machines of tests are busy
		})
	}()
	t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// wait waits for the end of the command and checks its exit code.
func (r *running) wait(code int) *running {
	r.t.Helper()
	<-r.done
	if r.code != code {
		r.t.Errorf("exit code %d, want %d\n%s", r.code, code, r.stderr.String())
	}
	return r
}

// interrupt does what Ctrl-C does, and waits.
func (r *running) interrupt(code int) *running {
	r.t.Helper()
	r.stop()
	return r.wait(code)
}

// awaitOutput waits until standard output or standard error contains text.
func (r *running) awaitOutput(b *safeBuffer, text string) {
	r.t.Helper()
	for {
		got, more := b.watch()
		if strings.Contains(got, text) {
			return
		}
		select {
		case <-more:
		case <-r.done:
			if got, _ := b.watch(); !strings.Contains(got, text) {
				r.t.Fatalf("ended without %q: %q", text, got)
			}
			return
		}
	}
}

// safeBuffer is a buffer for one writer and many readers.
type safeBuffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return s.b.Write(p)
}

func (s *safeBuffer) watch() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.b.String(), s.changed
}

func (s *safeBuffer) String() string {
	text, _ := s.watch()
	return text
}

func (s *safeBuffer) Bytes() []byte { return []byte(s.String()) }

// twoLines checks that an error is shown as it has to be and returns it without
// its prefixes.
func twoLines(t *testing.T, stderr string) (problem, hint string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines instead of two: %q", len(lines), stderr)
	}
	problem, isProblem := strings.CutPrefix(lines[0], "moq: ")
	hint, isHint := strings.CutPrefix(lines[1], "hint: ")
	if !isProblem || !isHint || problem == "" || hint == "" {
		t.Fatalf("not an error with a hint: %q", stderr)
	}
	return problem, hint
}

func exampleFile(t *testing.T, content []byte) string {
	t.Helper()
	name := fmt.Sprintf("%s/example.mp4", t.TempDir())
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
