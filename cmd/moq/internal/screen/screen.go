// Package screen is what the moq command shows to people while it runs: lines
// that stay and one status line that is repainted. It stands beside the
// commands and knows nothing of media.
//
// What always holds: a terminal is repainted at most four times a second and
// without escape sequences, so that only colour ever writes one; what is not a
// terminal gets neither escape sequences nor carriage returns, but a line per
// ten seconds; with Quiet nothing but lines that were asked for.
package screen

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fatih/color"
	"golang.org/x/term"
)

const (
	repaintInterval = 250 * time.Millisecond
	lineInterval    = 10 * time.Second
	// defaultWidth is that of a terminal which does not say.
	defaultWidth = 80
)

// Config says what the output can do.
type Config struct {
	Animate bool       // it is a terminal that understands carriage returns
	Color   bool       // it shows colours
	Quiet   bool       // progress is not wanted
	Width   func() int // columns of the terminal; nil: 80
}

// ConfigFor returns what f can do, by what it is and what the environment says:
// colour needs a terminal, NO_COLOR unset and TERM other than dumb.
func ConfigFor(f *os.File, lookup func(string) (string, bool)) Config {
	isTerminal := term.IsTerminal(int(f.Fd()))
	noColor, _ := lookup("NO_COLOR")
	terminal, _ := lookup("TERM")
	isDumb := terminal == "dumb"
	return Config{
		Animate: isTerminal && !isDumb,
		Color:   isTerminal && !isDumb && noColor == "",
		Width: func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil || width <= 0 {
				return defaultWidth
			}
			return width
		},
	}
}

// Screen writes to one output. Its methods are for any goroutine.
type Screen struct {
	// Static after construction.
	config Config

	mu    sync.Mutex
	out   io.Writer
	shown int // columns of the status line that stands; 0: none
}

// New returns a Screen that writes to out.
func New(out io.Writer, c Config) *Screen {
	if c.Width == nil {
		c.Width = func() int { return defaultWidth }
	}
	return &Screen{config: c, out: out}
}

// Line writes a line that stays, above the status line.
func (s *Screen) Line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eraseLocked()
	_, _ = fmt.Fprintf(s.out, format+"\n", args...) // nobody is left to tell
}

// Note is Line, unless Quiet.
func (s *Screen) Note(format string, args ...any) {
	if !s.config.Quiet {
		s.Line(format, args...)
	}
}

// Good returns text in green, or as it is where colours are not shown.
func (s *Screen) Good(text string) string { return s.paint(text, color.FgGreen) }

// Bad returns text in red, or as it is.
func (s *Screen) Bad(text string) string { return s.paint(text, color.FgRed) }

// Strong returns text in bold, or as it is.
func (s *Screen) Strong(text string) string { return s.paint(text, color.Bold) }

func (s *Screen) paint(text string, a color.Attribute) string {
	c := color.New(a)
	if s.config.Color {
		c.EnableColor()
	} else {
		c.DisableColor()
	}
	return c.Sprint(text)
}

// Run shows status until ctx is done, then its last state as a line that stays.
// An empty status shows nothing.
func (s *Screen) Run(ctx context.Context, status func() string) {
	if s.config.Quiet {
		<-ctx.Done()
		return
	}
	interval := lineInterval
	if s.config.Animate {
		interval = repaintInterval
		s.repaint(status())
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			if text := status(); text != "" {
				s.Line("%s", text)
			}
			return
		case <-ticker.C:
		}
		if s.config.Animate {
			s.repaint(status())
		} else if text := status(); text != "" {
			s.Line("%s", text)
		}
	}
}

// repaint replaces the status line. Blanks cover what is left of the old one.
func (s *Screen) repaint(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text = cut(text, s.config.Width()-1)
	columns := utf8.RuneCountInString(plain(text))
	blanks := max(0, s.shown-columns)
	if columns == 0 && blanks == 0 {
		return
	}
	_, _ = io.WriteString(s.out, "\r"+text+strings.Repeat(" ", blanks))
	s.shown = columns
	if columns == 0 {
		_, _ = io.WriteString(s.out, "\r")
	}
}

func (s *Screen) eraseLocked() {
	if s.shown > 0 {
		_, _ = io.WriteString(s.out, "\r"+strings.Repeat(" ", s.shown)+"\r")
		s.shown = 0
	}
}

// cut shortens text to a number of columns. Colours are given up then, rather
// than left switched on.
func cut(text string, columns int) string {
	bare := plain(text)
	if utf8.RuneCountInString(bare) <= columns {
		return text
	}
	runes := []rune(bare)
	return string(runes[:max(0, columns)])
}

// plain takes the colours out of text.
func plain(text string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "\x1b[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, text, _ = strings.Cut(after, "m")
	}
}
