package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
)

var update = flag.Bool("update", false, "rewrite the golden screens")

// variable is what differs from run to run: numbers, units of rates and times.
var variable = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)

// golden compares a screen with testdata/screens/name.txt, numbers apart.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = variable.ReplaceAllString(got, "N")
	got = regexp.MustCompile(`N(ms|s|mNs)\b`).ReplaceAllString(got, "Ns")
	got = regexp.MustCompile(`N [kM]b/s`).ReplaceAllString(got, "N Mb/s")
	// A busy machine takes long enough for a further line of progress.
	got = strings.Join(slices.Compact(strings.Split(got, "\n")), "\n")
	file := "testdata/screens/" + name + ".txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// render shows what a terminal would after output, as far as it is lines and
// carriage returns, and counts how often the last line was painted.
func render(output string) (screen string, paints int) {
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(output, "\r\n", "\n"), "\n") {
		cells := []rune{}
		column := 0
		for _, r := range line {
			if r == '\r' {
				column = 0
				paints++
				continue
			}
			if column < len(cells) {
				cells[column] = r
			} else {
				cells = append(cells, r)
			}
			column++
		}
		lines = append(lines, strings.TrimRight(string(cells), " "))
	}
	return strings.Join(lines, "\n"), paints
}

// terminal runs a command with its standard error, or both outputs, on a
// terminal of 120 columns until it ends or has been interrupted after a time.
func terminal(t *testing.T, stdout bool, environ []string, after time.Duration, args ...string) (output string, first time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), append([]string{asCommand + "=1", "TERM=xterm"}, environ...)...)
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(ours, &pty.Winsize{Rows: 24, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = theirs
	if stdout {
		cmd.Stdout = theirs
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	if after > 0 {
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Signal(os.Interrupt) })
		defer timer.Stop()
	}
	var b bytes.Buffer
	chunk := make([]byte, 4096)
	for {
		n, err := ours.Read(chunk)
		if b.Len() == 0 && n > 0 {
			first = time.Since(began)
		}
		b.Write(chunk[:n])
		if err != nil { // EIO when the last of the command is gone
			break
		}
	}
	_ = ours.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("moq %v: %v\n%s", args, err, b.String())
	}
	return b.String(), first
}

// The screens of pub, sub and announced on a terminal and in files (U9), without
// escape sequences where they are not wanted (U10), early and not too often (U14).
func TestScreens(t *testing.T) {
	url := "http://" + startRelay(t)
	const name = "demo/clip"
	colour := regexp.MustCompile("\x1b\\[[0-9;]*m")
	terminals := map[string][]string{"color": nil, "no-color": {"NO_COLOR=1"}, "dumb": {"TERM=dumb"}}

	t.Run("Pub", func(t *testing.T) {
		file := exampleFile(t, clip.MP4[:73468])
		for kind, environ := range terminals {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				got, first := terminal(t, true, environ, 0, "pub", url, file, "--name", kind)
				if hasColour := colour.MatchString(got); hasColour != (kind == "color") {
					t.Errorf("colour %v: %q", hasColour, got)
				}
				screen, paints := render(colour.ReplaceAllString(got, ""))
				if first > time.Second || paints > 20 {
					t.Errorf("first sign after %v, then %d repaints in 2.5 s", first, paints)
				}
				golden(t, "pub", strings.ReplaceAll(screen, kind, name))
			})
		}
	})
	t.Run("Sub", func(t *testing.T) {
		pub := start(t, nil, "pub", url, "--name", name, "--loop")
		pub.awaitOutput(&pub.stderr, "over quic")
		t.Run("terminals", func(t *testing.T) {
			for kind, environ := range terminals {
				t.Run(kind, func(t *testing.T) {
					t.Parallel()
					got, first := terminal(t, false, environ, 0, "sub", url, "--name", name, "-o", os.DevNull, "--duration", "1500ms")
					if hasColour := colour.MatchString(got); hasColour != (kind == "color") {
						t.Errorf("colour %v: %q", hasColour, got)
					}
					screen, paints := render(colour.ReplaceAllString(got, ""))
					if first > time.Second && kind != "dumb" || paints > 20 {
						t.Errorf("first sign after %v, then %d repaints in 1.5 s", first, paints)
					}
					golden(t, "sub", screen)
				})
			}
		})
		t.Run("announced", func(t *testing.T) {
			got, _ := terminal(t, true, nil, time.Second, "announced", url)
			screen, _ := render(colour.ReplaceAllString(got, ""))
			golden(t, "announced", screen)
		})
		sub := start(t, nil, "sub", url, "--name", name, "--duration", "1500ms").wait(exitDone)
		golden(t, "sub", sub.stderr.String())
		quiet := start(t, nil, "sub", url, "--name", name, "--duration", "100ms", "--quiet").wait(exitDone)
		if quiet.stderr.String() != "" {
			t.Errorf("--quiet shows %q", quiet.stderr.String())
		}
		pub.interrupt(exitDone)
		golden(t, "pub", strings.ReplaceAll(pub.stderr.String(), "subscribed yes", "subscribed no"))
	})
}
