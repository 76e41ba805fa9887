package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/hack/e2e/provider"
)

// TestKilledUpLeavesNothing kills the making of a cluster in the middle, as no
// signal handler can see. Beside the one of the suite, it is gone after a while,
// and with it its network, its processes, its cgroups and its files.
func TestKilledUpLeavesNothing(t *testing.T) {
	c := open(t)
	command := os.Getenv(provider.EnvironmentCommand)
	if command == "" || c.Provider != provider.Local {
		t.Skipf("no e2e command of provider local: `e2e test` sets %s", provider.EnvironmentCommand)
	}
	const id = "killed"
	up := exec.Command(command, "up", "--id", id, "--nodes", "1", "--state", filepath.Dir(c.state), "--source", c.root, "--bin", c.Bin)
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(filepath.Dir(c.state), id)
	traces := []string{state, "/sys/class/net/e2e-" + id, "/sys/fs/cgroup/cpu/moqrelay-" + id}
	eventually(t, time.Minute, "a cluster in the making", func(context.Context) error {
		for _, trace := range traces {
			if _, err := os.Stat(trace); err != nil {
				return err
			}
		}
		return nil
	})
	if err := up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = up.Wait() // it was killed
	eventually(t, time.Minute, "nothing left of it", func(context.Context) error {
		for _, trace := range traces {
			if _, err := os.Stat(trace); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("%s: %w", trace, errors.Join(err, errors.New("still there")))
			}
		}
		left, err := processes(func(p process) bool {
			return slices.Contains(p.args, id)
		})
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%v run", left)
		}
		return err
	})
}
