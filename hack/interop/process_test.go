package interop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// needPeers skips where the programs of others are not asked for.
func needPeers(t *testing.T) {
	t.Helper()
	if os.Getenv("MOQ_PEERS_DIR") == "" {
		t.Skip("other relays and clients are run by make interop, or with MOQ_PEERS_DIR set")
	}
}

// needPrograms skips if one of these, ours aside, is not there, before anything
// runs.
func needPrograms(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if name != ours {
			peer(t, name)
		}
	}
}

// peer returns the program of others with this name and version, or skips.
func peer(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("MOQ_PEERS_DIR")
	path := filepath.Join(dir, name, "bin", name[:strings.LastIndexByte(name, '-')])
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not in %s; make peers builds it", name, dir)
	}
	return path
}

// built holds the programs of this repository, each built when first needed.
var built struct {
	mu    sync.Mutex
	dir   string
	paths map[string]string
}

// our returns a program of this repository.
func our(t *testing.T, name string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if path, ok := built.paths[name]; ok {
		return path
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "moqrelay-interop-*") //nolint:usetesting // outlives the row that needs it first
		if err != nil {
			t.Fatal(err)
		}
		built.dir, built.paths = dir, make(map[string]string)
	}
	path := filepath.Join(built.dir, name)
	cmd := exec.Command("go", "build", "-o", path, "./cmd/"+name)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	built.paths[name] = path
	return path
}

func removeOurs() {
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
}

// process is a program that runs; its output is kept line by line.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *lines
	stderr *lines
	done   chan struct{} // closed when it has ended
	err    error         // set before done is closed
	quiet  bool          // is not worth a word if the row fails
}

// start runs a program until the test ends at the latest. What it said is
// logged if the test failed.
func start(t *testing.T, name, program string, args ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(program, args...), stdout: newLines(), stderr: newLines(), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "NO_COLOR=1", "TZ=UTC")
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.stdout.read(stdout) })
	reading.Go(func() { p.stderr.read(stderr) })
	go func() { // ends with the process, which the cleanup ends
		reading.Wait()
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() && !p.quiet {
			t.Logf("%s %s\nsaid on stdout:\n%s\non stderr:\n%s", name, strings.Join(args, " "), p.stdout.tail(20), p.stderr.tail(40))
		}
	})
	return p
}

// kill ends the process as a crash would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill %s: %v", p.name, err)
	}
	<-p.done
}

// terminate asks the process to stop, which must take no longer than within,
// and returns its exit code.
func (p *process) terminate(t *testing.T, within time.Duration) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("stop %s: %v", p.name, err)
	}
	p.wantEnd(t, within)
	return p.cmd.ProcessState.ExitCode()
}

// wantEnd waits for the process to end by itself.
func (p *process) wantEnd(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		t.Fatalf("%s still runs after %v", p.name, within)
	}
}

// lines is text that grows.
type lines struct {
	mu    sync.Mutex
	all   []line
	grown chan struct{} // closed and replaced with each line
	ended bool
}

// line is a line of text and when it came.
type line struct {
	text string
	at   time.Time
}

func newLines() *lines { return &lines{grown: make(chan struct{})} }

// escapes are the colours that some programs print into files too.
var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

func (l *lines) read(r io.Reader) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		l.mu.Lock()
		l.all = append(l.all, line{escapes.ReplaceAllString(in.Text(), ""), time.Now()})
		close(l.grown)
		l.grown = make(chan struct{})
		l.mu.Unlock()
	}
	l.mu.Lock()
	l.ended = true
	close(l.grown)
	l.mu.Unlock()
}

// from returns the lines from the nth on, and a channel that is closed when
// there are more; ended says that there will be none.
func (l *lines) from(n int) (rest []line, more <-chan struct{}, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[min(n, len(l.all)):], l.grown, l.ended
}

// len returns the number of lines so far.
func (l *lines) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// tail returns the last n lines.
func (l *lines) tail(n int) string {
	all, _, _ := l.from(0)
	var b strings.Builder
	for _, line := range all[max(0, len(all)-n):] {
		fmt.Fprintf(&b, "%s  %s\n", line.at.Format("15:04:05.000"), line.text)
	}
	return b.String()
}

// scan hands the lines from the nth on to take, those that are there and those
// to come, until it returns true; it reports whether it did so in time.
func (l *lines) scan(n int, within time.Duration, take func(line) bool) bool {
	deadline := time.After(within)
	for {
		rest, more, ended := l.from(n)
		if slices.ContainsFunc(rest, take) {
			return true
		}
		n += len(rest)
		if ended {
			return false
		}
		select {
		case <-more:
		case <-deadline:
			return false
		}
	}
}

// want waits for a line that contains text.
func (l *lines) want(t *testing.T, text string, within time.Duration) {
	t.Helper()
	if !l.scan(0, within, func(line line) bool { return strings.Contains(line.text, text) }) {
		t.Fatalf("no line with %q within %v", text, within)
	}
}
