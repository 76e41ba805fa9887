package rig

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A Guard sees to it that a cluster ends with the command that wanted it, however
// that ends: it is a process of its own that waits for the end of the command and
// then removes the cluster.
type Guard struct{ pipe *os.File }

// released is what a guard is told when the cluster may stay.
const released = 'r'

// NewGuard starts the guard of a cluster. The executable has to call [RunGuard]
// when it is called with the arguments "guard" and those of the plan.
// There is one at a time: another command that works on the cluster, or the guard
// of one that was killed a moment ago, is waited for.
func NewGuard(p *Plan) (*Guard, error) {
	want := "guard\x00" + strings.Join(p.flags()[:4], "\x00") + "\x00" // id and state
	for deadline := time.Now().Add(2 * downTime); ; time.Sleep(50 * time.Millisecond) {
		others := processesWhere(func(line string) bool {
			_, args, _ := strings.Cut(line, "\x00")
			return strings.HasPrefix(args, want)
		})
		if len(others) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("another e2e command makes cluster %s at the moment, see process %d: wait for it, or choose another --id", p.ID, others[0])
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(self, append([]string{"guard"}, p.flags()...)...) //nolint:noctx // it outlives the command, that is what it is for
	cmd.Stdin, cmd.Stderr = theirs, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it is not for the signals that end the command
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the guard of %s: %w", p.ID, err), ours.Close())
	}
	go cmd.Wait() //nolint:errcheck // reaped here if it ends first
	return &Guard{pipe: ours}, nil
}

// Release lets the cluster be.
func (g *Guard) Release() error {
	_, err := g.pipe.Write([]byte{released})
	return errors.Join(err, g.pipe.Close())
}

// RunGuard is the guard's process. It returns when the cluster was released, or
// is removed because the other end of in has gone without a word.
func RunGuard(p *Plan, in io.Reader) error {
	if n, _ := in.Read(make([]byte, 1)); n > 0 {
		return nil
	}
	// The command may have been killed in the middle of starting a node.
	if err := Down(p); err != nil {
		return fmt.Errorf("remove cluster %s, whose files are in %s: %w; try `e2e down --id %s`", p.ID, p.State, err, p.ID)
	}
	return nil
}
