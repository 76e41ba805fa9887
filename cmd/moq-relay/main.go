// Command moq-relay is one relay: alone, or a node of a cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/moqrelay/moqrelay/relay"
	"github.com/moqrelay/moqrelay/relay/config"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

// run is the command; it returns the exit code.
func run(args []string, lookup func(string) (string, bool), stdout, stderr *os.File) int {
	if len(args) == 1 && args[0] == "--version" {
		fmt.Fprintln(stdout, "moq-relay", relay.Version)
		return 0
	}
	c, err := config.Parse(args, lookup)
	if errors.Is(err, pflag.ErrHelp) {
		usage(stdout)
		return 0
	}
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return fail(stderr, exitUsage, err, usageHint(err))
	}
	tuneMemory()
	if err := serve(c, newLog(c, stderr)); err != nil {
		return fail(stderr, exitFailed, err, startHint(err))
	}
	return 0
}

// serve runs the relay until the first signal asks it to stop; the second one
// ends it at once.
func serve(c config.Config, log *slog.Logger) error {
	ctx, hard := signals()
	sockets, err := relay.Listen(c)
	if err != nil {
		return err
	}
	r, err := relay.New(c, relay.Environment{Sockets: sockets, Log: log})
	if err != nil {
		return errors.Join(err, sockets.Close())
	}
	return r.Run(ctx, hard)
}

// signals returns a context that the first SIGINT or SIGTERM ends, and one that
// the second ends.
func signals() (first, second context.Context) {
	first, stop := context.WithCancel(context.Background())
	second, kill := context.WithCancel(context.Background())
	c := make(chan os.Signal, 2) // both signals may come before they are read
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	go func() { // for as long as the process lives
		<-c
		stop()
		<-c
		kill()
	}()
	return first, second
}

// tuneMemory trades a little CPU for a fifth of the memory per subscriber, and
// has the collector work harder near the limit of the container. What the
// environment says wins.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		_, _ = memlimit.Set(memlimit.WithProvider(memlimit.FromCgroup), memlimit.WithRatio(0.9)) // no cgroup, no limit
	}
}

func newLog(c config.Config, stderr *os.File) *slog.Logger {
	level := slog.LevelInfo
	switch {
	case c.Quiet > 1:
		return slog.New(slog.DiscardHandler)
	case c.Quiet == 1:
		level = slog.LevelError
	case c.Verbose > 0:
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "text" || (c.LogFormat == "auto" && term.IsTerminal(int(stderr.Fd()))) {
		return slog.New(slog.NewTextHandler(stderr, options))
	}
	return slog.New(slog.NewJSONHandler(stderr, options))
}

func fail(stderr io.Writer, code int, err error, hint string) int {
	for line := range strings.Lines(err.Error()) { // one for each thing that is wrong
		fmt.Fprintln(stderr, "moq-relay:", strings.TrimSuffix(line, "\n"))
	}
	if hint != "" {
		fmt.Fprintln(stderr, "hint:", hint)
	}
	return code
}

func usage(w io.Writer) {
	c := config.Default()
	fs := pflag.NewFlagSet("moq-relay", pflag.ContinueOnError)
	c.Register(fs)
	fmt.Fprintf(w, `moq-relay forwards live media: from publishers to subscribers, and to other relays.

Examples:
  moq-relay --bind 127.0.0.1:4443 --dev
  moq-relay --bind '[::]:443' --tls-cert cert.pem --tls-key key.pem

Usage:
  moq-relay [flags]

Flags, each also a variable such as %s:
%s`, config.EnvName("tls-cert"), fs.FlagUsagesWrapped(100))
}
