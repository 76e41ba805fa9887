package screen

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// run shows a status that counts, for a number of seconds, with a line after one.
func run(t *testing.T, c Config, seconds int) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		s := New(&out, c)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second+time.Millisecond)
		defer cancel()
		time.AfterFunc(time.Second+time.Millisecond, func() { s.Note("joined %s", s.Strong("x")) })
		s.Run(ctx, func() string {
			return s.Good("live") + " " + Elapsed(time.Since(start)) + strings.Repeat(".", max(0, 8-int(time.Since(start).Seconds())))
		})
	})
	return out.String()
}

func TestTerminal(t *testing.T) {
	got := run(t, Config{Animate: true}, 3)
	if strings.Contains(got, "\x1b") {
		t.Errorf("escape sequence without colour: %q", got)
	}
	if paints := strings.Count(got, "\rlive"); paints > 4*3+2 || paints < 10 {
		t.Errorf("%d repaints in 3 s", paints)
	}
	if !strings.HasPrefix(got, "\rlive 0s........\r") {
		t.Errorf("not shown at once: %q", got)
	}
	lines := strings.Split(got, "\n")
	if want := "\r" + strings.Repeat(" ", 14) + "\rjoined x"; !strings.HasSuffix(lines[0], want) {
		t.Errorf("line above the status: %q", lines[0])
	}
	if !strings.HasSuffix(lines[1], "\rlive 3s.....") || lines[2] != "" {
		t.Errorf("at the end: %q", lines[1:])
	}
}

func TestColor(t *testing.T) {
	got := run(t, Config{Animate: true, Color: true, Width: func() int { return 12 }}, 1)
	if !strings.HasPrefix(got, "\rlive 0s....\rlive") {
		t.Errorf("a line too long for the terminal: %q", got)
	}
	got = run(t, Config{Animate: true, Color: true}, 2)
	if !strings.HasPrefix(got, "\r\x1b[32mlive\x1b[0m 0s") || !strings.Contains(got, "\x1b[1mx\x1b[") {
		t.Errorf("colours: %q", got)
	}
}

func TestFile(t *testing.T) {
	got := run(t, Config{}, 25)
	if strings.ContainsAny(got, "\r\x1b") {
		t.Errorf("control characters: %q", got)
	}
	if want := "joined x\nlive 10s\nlive 20s\nlive 25s\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

func TestQuiet(t *testing.T) {
	if got := run(t, Config{Animate: true, Quiet: true}, 25); got != "" {
		t.Errorf("wrote %q", got)
	}
}

func TestConfigFor(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := ConfigFor(file, func(string) (string, bool) { return "", false })
	if c.Animate || c.Color || c.Width() != defaultWidth {
		t.Errorf("a file is %+v", c)
	}
}

func TestFormats(t *testing.T) {
	got := fmt.Sprint(
		Rate(4_100_000), ", ", Rate(128_400), ", ", Rate(2.5e9), ", ",
		Elapsed(41*time.Second), ", ", Elapsed(72*time.Second), ", ", Elapsed(7500*time.Second), ", ",
		Millis(400*time.Microsecond), ", ", Millis(84*time.Millisecond), ", ", Millis(1234*time.Millisecond), ", ",
		Count(1, "group"), ", ", Count(0, "group"),
	)
	const want = "4.1 Mb/s, 128 kb/s, 2.5 Gb/s, 41s, 1m12s, 2h05m, 0.4ms, 84ms, 1.2s, 1 group, 0 groups"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
