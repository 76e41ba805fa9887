package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// environmentMoq names the moq command, if it is not the one that `make build`
// makes.
const environmentMoq = "E2E_MOQ"

// moq returns the client to run.
func (c *Cluster) moq() string {
	if file := os.Getenv(environmentMoq); file != "" {
		return file
	}
	return c.path("bin", "moq")
}

// A moqProcess is a moq command that runs until it is ended.
type moqProcess struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, once done is closed
	log  string        // file of its standard error
	end  func()        // interrupts it and waits for its end
}

// begin starts the moq command. What it writes to standard output goes to take,
// if that is given.
func (c *Cluster) begin(t *testing.T, name string, take func(io.Reader) error, args ...string) *moqProcess {
	t.Helper()
	p := &moqProcess{done: make(chan struct{}), log: filepath.Join(t.TempDir(), name+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p.cmd = exec.CommandContext(ctx, c.moq(), args...)
	p.cmd.Stderr = log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 5 * time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process, which the cleanup ends and waits for
		defer close(p.done)
		defer log.Close()
		if take == nil {
			take = func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }
		}
		p.err = errors.Join(take(out), p.cmd.Wait())
	}()
	p.end = func() { cancel(); <-p.done }
	t.Cleanup(p.end)
	return p
}

// alive returns an error with the last words of a process that has ended.
func (p *moqProcess) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("moq %s ended: %w: %s", strings.Join(p.cmd.Args[1:], " "), p.err, p.lastWords())
	default:
		return nil
	}
}

func (p *moqProcess) lastWords() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const enough = 12
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(data)), "\n"), func(line string) bool {
		return strings.HasPrefix(line, `{"event":"progress"`)
	})
	return strings.Join(lines[max(0, len(lines)-enough):], "\n")
}

// publish publishes the sample clip for as long as the test runs.
func (c *Cluster) publish(t *testing.T, from source, broadcast string) *moqProcess {
	t.Helper()
	return c.begin(t, "publisher", nil,
		append([]string{"pub", from.url, "--name", broadcast, "--loop", "--json"}, from.trust()...)...)
}

// A watcher watches a broadcast and measures.
type watcher struct {
	*moqProcess
	*meter
	name string
}

// watch watches a broadcast for as long as the test runs.
func (c *Cluster) watch(t *testing.T, from source, broadcast, name string, flags ...string) *watcher {
	t.Helper()
	w := &watcher{meter: newMeter(), name: name}
	args := append([]string{"sub", from.url, "--name", broadcast, "--json"}, from.trust()...)
	w.moqProcess = c.begin(t, name, w.read, append(args, flags...)...)
	return w
}

// flows waits until groups whole of every track have come to all watchers since
// a moment.
func flows(ctx context.Context, within time.Duration, since time.Time, watchers ...*watcher) error {
	return poll(ctx, within, func(context.Context) error {
		for _, w := range watchers {
			if err := w.alive(); err != nil {
				return err
			}
			if err := w.flowing(since, 2); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
		return nil
	})
}

// plays plays a broadcast from somewhere, for a moment.
func (c *Cluster) plays(t *testing.T, from source, broadcast string, within time.Duration) {
	t.Helper()
	began := time.Now()
	w := c.watch(t, from, broadcast, "player-"+strings.NewReplacer("/", "-").Replace(broadcast))
	defer w.end()
	if err := flows(t.Context(), within, began, w); err != nil {
		t.Fatalf("%s does not play at %s: %v\n%s", broadcast, from.url, err, w.lastWords())
	}
}
