package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// patience is how long a relay may drain before it is told to stop at once.
	patience = time.Second
	// stopTimeout is how long a relay may take to stop before it is killed.
	stopTimeout = 5 * time.Second
	// restartDelay is the time between the end of a relay that was not asked to
	// stop and its next start.
	restartDelay = time.Second
)

// A process is one relay, kept running until stop.
type process struct {
	node   Node
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended for good
}

// A supervisor runs processes. All are started from one thread that lives as
// long as the supervisor, so that the kernel ends them when this process dies.
type supervisor struct {
	binary string
	log    io.Writer // what the relays write
	failed func(Node, error)
	starts chan func() // executed on the thread
	wg     sync.WaitGroup
}

func newSupervisor(binary string, log io.Writer, failed func(Node, error)) *supervisor {
	s := &supervisor{binary: binary, log: log, failed: failed, starts: make(chan func())}
	s.wg.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for f := range s.starts {
			f()
		}
	})
	return s
}

// close ends the thread; every process must have been stopped.
func (s *supervisor) close() {
	close(s.starts)
	s.wg.Wait()
}

// run keeps a relay for node running until the process is stopped.
func (s *supervisor) run(node Node) *process {
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{node: node, cancel: cancel, done: make(chan struct{})}
	go func() { // ends with stop, which waits for it
		defer close(p.done)
		for ctx.Err() == nil {
			err := s.once(ctx, node)
			if ctx.Err() != nil {
				return
			}
			s.failed(node, err)
			select {
			case <-time.After(restartDelay):
			case <-ctx.Done():
			}
		}
	}()
	return p
}

// once runs the relay until it ends, and ends it when ctx does: first by
// asking, then by force.
func (s *supervisor) once(ctx context.Context, node Node) error {
	cmd := exec.CommandContext(ctx, s.binary, node.Args...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = childAttributes()
	cmd.Cancel = func() error {
		time.AfterFunc(patience, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) // gone by then, mostly
		return cmd.Process.Signal(syscall.SIGTERM)
	}
	cmd.WaitDelay = stopTimeout

	started := make(chan error)
	s.starts <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", s.binary, err)
	}
	err := cmd.Wait()
	if err == nil {
		return errors.New("ended without being asked to")
	}
	return err
}

// stop ends the process and waits until it is gone.
func (p *process) stop() {
	p.cancel()
	<-p.done
}
