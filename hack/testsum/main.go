// Command testsum runs `go test -json` with the arguments it is given and says
// what a person wants to know of it: a line per package as it ends, the output
// of what failed, the reason of every skip, and at the end how many tests
// passed and which tiers of proof ran:
//
//	812 passed, 0 failed, 3 skipped
//	tiers: 0 1 2 3
//
// Tier 0 is every plain test. A suite of a higher tier appends a line such as
// "tier 2" to the file that the environment variable MOQ_TIERS_FILE names, once
// it runs for real; where that is set already, what stands there counts as well, so
// that a suite outside of the module can have run before. Where CI is set to true a missing tier among those of -want
// is a failure; elsewhere it is said and forgiven.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// tiersFile is the variable that names the file in which suites note their tier.
const tiersFile = "MOQ_TIERS_FILE"

func main() {
	want := flag.String("want", "0", "tiers that must run where CI=true, separated by spaces")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, flag.Args(), strings.Fields(*want), os.Getenv("CI") == "true", os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run reports whether all tests passed and, where strict, all wanted tiers ran.
func run(ctx context.Context, args, want []string, strict bool, out io.Writer) (bool, error) {
	notes, remove, err := openNotes()
	if err != nil {
		return false, err
	}
	defer remove()

	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	// An interrupt reaches the whole process group; go test then ends its
	// children itself and still reports.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Env = append(os.Environ(), tiersFile+"="+notes.Name())
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	s := newSummary(out)
	readErr := s.read(stdout)
	waitErr := cmd.Wait()
	if exit := new(exec.ExitError); errors.As(waitErr, &exit) && s.failed > 0 {
		waitErr = nil // what failed has been shown
	}
	tiers, err := readTiers(notes)
	if err != nil {
		return false, err
	}
	if s.passed > 0 {
		tiers["0"] = true
	}
	ok := s.finish(tiers, want, strict)
	return ok, errors.Join(readErr, waitErr)
}

// openNotes opens the file in which suites note their tier.
func openNotes() (notes *os.File, remove func(), err error) {
	if name := os.Getenv(tiersFile); name != "" {
		notes, err = os.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o644)
		return notes, func() { notes.Close() }, err
	}
	notes, err = os.CreateTemp("", "moqrelay-tiers-*")
	return notes, func() { notes.Close(); os.Remove(notes.Name()) }, err
}

// readTiers returns the tiers that suites have noted.
func readTiers(r io.Reader) (map[string]bool, error) {
	tiers := make(map[string]bool)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "tier "); ok {
			tiers[n] = true
		}
	}
	return tiers, lines.Err()
}
