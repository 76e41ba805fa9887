package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/local"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/screen"
	"github.com/moqrelay/moqrelay/relay"
)

// relayProgram is the program that up runs, beside this one or on the PATH.
const relayProgram = "moq-relay"

// upFlags are the flags of up.
type upFlags struct {
	file, state, page string
	offset            int
	json              bool
}

func newUp(env *environment) *cobra.Command {
	var flags upFlags
	cmd := &cobra.Command{
		Use:   "up -f FILE",
		Short: "Run a RelayCluster on this machine",
		Long: `Run a RelayCluster on this machine: the relays that Kubernetes would run, as
processes on loopback. Edits to the file are applied while it runs.`,
		Example: `  moq up -f config/samples/relaycluster.yaml
  moq up -f relaycluster.yaml --json | jq .status`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return up(cmd.Context(), env, flags) },
	}
	flags.register(cmd.Flags())
	cmd.Flags().BoolVar(&flags.json, "json", false, "write one object per line to standard output: ready, then changes")
	return cmd
}

func (f *upFlags) register(fs *pflag.FlagSet) {
	fs.StringVarP(&f.file, "file", "f", "", "`FILE` with the manifest of the RelayCluster")
	fs.StringVar(&f.state, "state", "", "`FOLDER` for certificates and logs, kept afterwards (default a temporary one)")
	fs.StringVar(&f.page, "page", "127.0.0.1:8080", "`ADDRESS` of the status page")
	fs.IntVar(&f.offset, "port-offset", 0, "move every port of the relays by `N`, for a second cluster beside the first")
}

// noArguments refuses arguments of a command that has flags only.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misused(fmt.Sprintf("%q shows how it is called", cmd.CommandPath()+" --help"), "unexpected argument %q", args[0])
	}
	return nil
}

// up runs the cluster until ctx is done.
func up(ctx context.Context, env *environment, flags upFlags) error {
	return runUp(ctx, env, flags, func(local.Ready) {})
}

// runUp is up, and calls ready when everything runs.
func runUp(ctx context.Context, env *environment, flags upFlags, ready func(local.Ready)) error {
	if flags.file == "" {
		return misused("name the manifest: moq up -f config/samples/relaycluster.yaml", "--file is missing")
	}
	binary, err := findRelay()
	if err != nil {
		return failed(err, "run \"make build\", which puts both programs into bin/, or put %s on the PATH", relayProgram)
	}
	s := env.screen()
	tell := teller{env: env, screen: s, json: flags.json}
	s.Note("RelayCluster of %s  moqrelay %s", flags.file, relay.Version)
	err = local.Run(ctx, local.Options{
		Manifest:   flags.file,
		State:      flags.state,
		Binary:     binary,
		Page:       flags.page,
		Program:    cmp.Or(env.program, "moq"),
		PortOffset: flags.offset,
		Step:       tell.step,
		Ready:      func(r local.Ready) { tell.ready(r); ready(r) },
		Trouble:    tell.trouble,
	})
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &failure{err: err, hint: "give the path of a manifest, such as config/samples/relaycluster.yaml", code: exitUsage}
	case errors.Is(err, syscall.EADDRINUSE):
		return failed(err, "stop what uses the port: another \"moq up\"? \"ss -lnup\" and \"ss -lntp\" name it")
	default:
		return failed(err, "correct it and run the same command again")
	}
}

// findRelay returns the path of the relay's program.
func findRelay() (string, error) {
	self, err := os.Executable()
	if err == nil {
		beside := filepath.Join(filepath.Dir(self), relayProgram)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath(relayProgram)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside this program nor on the PATH", relayProgram)
	}
	return path, nil
}

// teller tells people, or scripts, what up does.
type teller struct {
	env    *environment
	screen *screen.Screen
	json   bool
}

func (t teller) step(what, detail string, took time.Duration) {
	t.screen.Note("  %s  %-13s %-40s %4.1fs", t.screen.Good("ok"), what, detail, took.Seconds())
}

func (t teller) trouble(err error) { t.screen.Line("  %s  %v", t.screen.Bad("trouble"), err) }

// readyEvent is the line that --json writes when everything runs.
type readyEvent struct {
	Event  string      `json:"event"` // ready
	Status string      `json:"status"`
	Demo   string      `json:"demo"` // where to publish and watch in a browser
	Nodes  []nodeEvent `json:"nodes"`
}

// nodeEvent is a node in a readyEvent.
type nodeEvent struct {
	Name        string `json:"name"`
	Region      string `json:"region"`
	Role        string `json:"role"`
	URL         string `json:"url"`
	Fingerprint string `json:"fingerprint"`
}

func (t teller) ready(r local.Ready) {
	if t.json {
		event := readyEvent{Event: "ready", Status: r.Status, Demo: r.Demo}
		for _, n := range r.Nodes {
			event.Nodes = append(event.Nodes, nodeEvent{n.Name, n.Region, n.Role(), n.URL, n.Fingerprint})
		}
		_ = json.NewEncoder(t.env.stdout).Encode(event)
	}
	first, last := r.Ends()
	moq := cmp.Or(t.env.program, "moq")
	t.screen.Note("%s: %s.", t.screen.Strong(r.Cluster), countRelays(r))
	t.screen.Note("Ready in %.1fs. Edits to the file are applied. Ctrl-C stops everything.", r.Took.Seconds())
	t.screen.Note("  page     %s", r.Status)
	t.screen.Note("  browser  %s", r.Demo)
	t.screen.Note("  publish  %s pub %s --name demo/clip --loop", moq, first)
	t.screen.Note("  watch    %s sub %s --name demo/clip -o - | ffplay -", moq, last)
}

// countRelays says in words what runs.
func countRelays(r local.Ready) string {
	roots := 0
	for _, n := range r.Nodes {
		if n.Root {
			roots++
		}
	}
	parts := []string{screen.Count(roots, "root"), screen.Count(len(r.Regions), "region"), screen.Count(len(r.Nodes), "relay")}
	return strings.Join(parts, ", ")
}
