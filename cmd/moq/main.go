// Command moq publishes and plays live media through relays, and runs a whole
// cluster of them on this machine. Each subcommand is a file here; what is not
// a command's own business is a package in internal.
//
// What always holds for every command: media and results go to standard output
// and everything else to standard error; the exit code is 0 if it did what it
// was asked, 1 if it failed and 2 if it was called wrongly; an error is one line
// that says what is wrong and one that says what to do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/screen"
)

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], environment{
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		lookup: os.LookupEnv,

		program: os.Args[0],
	}))
}

// environment is the world that a command runs in.
type environment struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	lookup func(string) (string, bool)

	// program is how this program was called, for commands to paste; "" is moq.
	program string

	lead time.Duration // of pub; 0 is leadTime

	// Flags of every command.
	quiet   bool
	noColor bool
}

// run executes a command line and returns the exit code. It ends early, and
// well, when ctx is done.
func run(ctx context.Context, args []string, env environment) int {
	root := newRoot(&env)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	return report(env.stderr, err)
}

func newRoot(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "moq",
		Short: "Publish and play live media over QUIC",
		Example: `  moq pub http://localhost:4443 --name demo/clip --loop
  moq sub http://localhost:4443 --name demo/clip -o - | ffplay -`,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.SetFlagErrorFunc(badFlag)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	root.PersistentFlags().BoolVarP(&env.quiet, "quiet", "q", false, "show no progress")
	root.PersistentFlags().BoolVar(&env.noColor, "no-color", false, "show no colours")
	root.AddCommand(newUp(env), newDemo(env), newPage(env), newPub(env), newSub(env), newAnnounced(env), newClock(env))
	return root
}

// Help opens with the examples.
const (
	helpTemplate  = "{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}{{end}}\n\n{{.UsageString}}"
	usageTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}Usage:
  {{if .Runnable}}{{.UseLine}}{{else}}{{.CommandPath}} COMMAND{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`
)

// screen returns what progress is shown on.
func (e *environment) screen() *screen.Screen {
	c := screen.Config{}
	if f, ok := e.stderr.(*os.File); ok {
		c = screen.ConfigFor(f, e.lookup)
	}
	c.Quiet = e.quiet
	c.Color = c.Color && !e.noColor
	return screen.New(e.stderr, c)
}

// A failure is an error together with what the user can do about it.
type failure struct {
	err  error
	hint string
	code int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed is a failure of what the command was asked to do.
func failed(err error, hint string, args ...any) error {
	return &failure{err: err, hint: fmt.Sprintf(hint, args...), code: exitFailed}
}

// misused is a failure of how the command was called.
func misused(hint, format string, args ...any) error {
	return &failure{err: fmt.Errorf(format, args...), hint: hint, code: exitUsage}
}

// report shows an error and returns the exit code.
func report(w io.Writer, err error) int {
	code := exitFailed
	fmt.Fprintln(w, "moq:", err)
	if f, ok := errors.AsType[*failure](err); ok {
		code = f.code
		if f.hint != "" {
			fmt.Fprintln(w, "hint:", f.hint)
		}
	}
	return code
}
