package readme

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the output in README.md")

// root is the folder of the repository.
var root = filepath.Join("..", "..")

// TestREADME (U5) runs what the README says and compares what it prints with
// what the README shows, numbers aside.
func TestREADME(t *testing.T) {
	note(t, "tier 1")
	bin := build(t)
	for _, b := range []struct {
		block, show string
		args        []string
		last        string // the first word of the last line, after which an endless command is interrupted
	}{
		{"up", "make up", []string{"up", "-f", "config/samples/relaycluster.yaml"}, "watch"},
		{"demo", "make demo", []string{"demo", "-f", "config/samples/relaycluster.yaml"}, ""},
	} {
		t.Run(b.block, func(t *testing.T) {
			got := fmt.Sprintf("$ %s\n%s", b.show, run(t, filepath.Join(bin, "moq"), b.args, b.last))
			file := filepath.Join(root, "README.md")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			begin, end := block(t, text, b.block)
			if *update {
				text = append(append(bytes.Clone(text[:begin]), got...), text[end:]...)
				if err := os.WriteFile(file, text, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(shape(string(text[begin:end])), shape(got)); diff != "" {
				t.Errorf("README.md shows other output (-shown +real); go test ./hack/readme -update rewrites it:\n%s", diff)
			}
		})
	}
}

// note tells the summary of a whole run which tier ran.
func note(t *testing.T, line string) {
	t.Helper()
	name := os.Getenv("MOQ_TIERS_FILE")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

// build returns a folder with our commands.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "./cmd/moq-relay", "./cmd/moq")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// run returns what a command prints, both streams as on a screen, until it ends
// or, if last is given, until the line that begins with it; then it is
// interrupted. It must end well.
func run(t *testing.T, program string, args []string, last string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Args[0] = "bin/" + filepath.Base(program) // as make calls it
	cmd.Dir = root
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	screen, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	cmd.Stdout, cmd.Stderr = input, input
	err = cmd.Start()
	input.Close()
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	seen := false
	lines := bufio.NewScanner(screen)
	for lines.Scan() {
		if !seen {
			shown.WriteString(lines.Text() + "\n")
		}
		if words := strings.Fields(lines.Text()); !seen && len(words) > 0 && words[0] == last {
			seen = true
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v", strings.Join(args, " "), err)
	}
	if last != "" && !seen {
		t.Errorf("%s never printed a line that begins with %q:\n%s", strings.Join(args, " "), last, shown.String())
	}
	return shown.String()
}

// block returns where the output of a name begins and ends in the README.
func block(t *testing.T, text []byte, name string) (begin, end int) {
	t.Helper()
	mark, fence := "<!-- output: "+name+" -->\n```\n", "```\n<!-- /output -->"
	begin = bytes.Index(text, []byte(mark))
	if begin < 0 {
		t.Fatalf("README.md has no block %q", name)
	}
	begin += len(mark)
	length := bytes.Index(text[begin:], []byte(fence))
	if length < 0 {
		t.Fatalf("block %q of README.md has no end", name)
	}
	return begin, begin + length
}

var (
	versions = regexp.MustCompile(`\bv?\d+\.\d+\.\d+\S*|\bdevel\b`)
	numbers  = regexp.MustCompile(`\d+(\.\d+)?`)
	spaces   = regexp.MustCompile(` +`)
)

// shape drops from output what differs from run to run.
func shape(s string) string {
	s = versions.ReplaceAllString(s, "VERSION")
	s = numbers.ReplaceAllString(s, "N")
	return spaces.ReplaceAllString(s, " ")
}
