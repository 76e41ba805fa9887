package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/moqrelay/moqrelay/hack/e2e/image"
	"github.com/moqrelay/moqrelay/hack/e2e/install"
	"github.com/moqrelay/moqrelay/hack/e2e/provider"
)

// test makes a cluster, runs the suite on it and removes it, also when it is
// interrupted or killed. The last that it prints is the table of the story.
func test(ctx context.Context, s *settings) (err error) {
	began := time.Now()
	p, err := provider.New(s.provider, s.plan)
	if err != nil {
		return err
	}
	release, err := guard(s)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, p.Down(context.WithoutCancel(ctx)), release())
	}()
	if err := p.Up(ctx, os.Stderr); err != nil {
		return err
	}
	t, err := target(s)
	if err != nil {
		return err
	}
	if err := suiteImages(ctx, t); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "✓ %-24s %5.1f s\n", "images of the product", time.Since(began).Seconds())
	table := filepath.Join(t.State, "table.txt")
	err = runSuite(ctx, s, table)
	if text, e := os.ReadFile(table); e == nil { // it is not there if the story never began
		fmt.Printf("\n%s", text)
	}
	fmt.Printf("e2e: %v in all\n", time.Since(began).Round(time.Second))
	return err
}

// suiteImages gives the nodes what the suite installs and rolls out: the release
// at hand, variants of the relay, and the release before.
func suiteImages(ctx context.Context, t install.Target) error {
	version, err := install.AppVersion(filepath.Join(t.Source, "charts", "moq-operator"))
	if err != nil {
		return err
	}
	now := image.Release{Version: version}
	if err := t.LoadImages(ctx, append(image.Products(now), image.Variants(now)...)...); err != nil {
		return err
	}
	before := t
	before.State = filepath.Join(t.State, "previous")
	if before.Source, err = checkOut(ctx, t.Source, install.PreviousCommit, before.State); err != nil {
		return err
	}
	relayAndOperator := image.Products(image.Release{Version: install.PreviousVersion})[:2]
	return before.LoadImages(ctx, relayAndOperator...)
}

// checkOut writes the files of a commit into a folder below dir. A clone without
// the whole history asks where it came from.
func checkOut(ctx context.Context, source, commit, dir string) (string, error) {
	folder := filepath.Join(dir, "source")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	if exec.CommandContext(ctx, "git", "-C", source, "cat-file", "-e", commit).Run() != nil {
		_ = exec.CommandContext(ctx, "git", "-C", source, "fetch", "--quiet", "origin", commit).Run() // what follows says what is missing
	}
	archive := filepath.Join(dir, "source.tar")
	for _, args := range [][]string{
		{"git", "-C", source, "archive", "--output", archive, commit},
		{"tar", "-xf", archive, "-C", folder},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("files of the release before, commit %s: %w: %s: a clone of the whole history has them, git fetch --unshallow", commit, err, out)
		}
	}
	return folder, nil
}

// suiteTime bounds the suite.
const suiteTime = "40m"

func runSuite(ctx context.Context, s *settings, table string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// A program of our own making ends with us; one that go test starts would not.
	dir, program := filepath.Join(s.plan.Source, "hack", "e2e", "suite"), filepath.Join(s.plan.State, "suite.test")
	compile := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, ".")
	compile.Dir, compile.Stdout, compile.Stderr = dir, os.Stderr, os.Stderr
	if err := compile.Run(); err != nil {
		return fmt.Errorf("compile the suite: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"-test.v", "-test.timeout=" + suiteTime}, s.args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		provider.EnvironmentCluster+"="+s.plan.File(), provider.EnvironmentTable+"="+table, provider.EnvironmentCommand+"="+self)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}
