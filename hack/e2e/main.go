// Command e2e runs a real Kubernetes on this machine, as root and without a
// container engine or registry, and proves the product on it:
//
//	e2e build                         compile Kubernetes and what goes with it, once
//	e2e up [--id ID] [--nodes N]      start a cluster; prints its KUBECONFIG
//	e2e install [--id ID]             install the operator by Helm and a RelayCluster
//	e2e load-images [--id ID] FILE…   give it images from OCI archives
//	e2e status [--id ID] [--json]     tell where it is
//	e2e down [--id ID]                remove it and all that it left
//	e2e test [-- -test.run=X]         the suite, on a cluster of its own
//
// With --provider kind the cluster is made by kind, with none it is the one at
// $KUBECONFIG.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/moqrelay/moqrelay/hack/e2e/install"
	"github.com/moqrelay/moqrelay/hack/e2e/provider"
	"github.com/moqrelay/moqrelay/hack/e2e/rig"
)

const usage = "usage: e2e build | up | install | load-images FILE… | status | down | test, each with -h for its flags"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "e2e:", err)
		}
		os.Exit(1)
	}
}

// settings are what the flags say, and what follows from them.
type settings struct {
	plan     *rig.Plan
	provider string
	asJSON   bool
	args     []string
}

func parse(args []string) (*settings, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	state := cmp.Or(os.Getenv("XDG_STATE_HOME"), filepath.Join(home, ".local", "state"))
	flags := flag.NewFlagSet("e2e "+args[0], flag.ContinueOnError)
	id := flags.String("id", defaultID(args[0]), "name of the cluster; two of different names run side by side")
	nodes := flags.Int("nodes", 2, "how many nodes")
	beside := flags.String("beside", "", "id of a cluster whose network the nodes of this one share")
	from := flags.String("provider", provider.Local, "what makes the cluster: local, kind, or none for the one at $KUBECONFIG")
	source := flags.String("source", ".", "top of the repository")
	asJSON := flags.Bool("json", false, "status for programs")
	stateHome := flags.String("state", filepath.Join(state, "moqrelay", "e2e"), "folder of all clusters")
	bin := flags.String("bin", "", "folder of what build compiles (default one for each version, outside the checkout)")
	if err := flags.Parse(args[1:]); err != nil {
		return nil, err
	}
	top, err := filepath.Abs(*source)
	if err != nil {
		return nil, err
	}
	p, err := rig.NewPlan(*id, *beside, *stateHome, *bin, *nodes)
	if err != nil {
		return nil, err
	}
	p.Source = top
	return &settings{plan: p, provider: *from, asJSON: *asJSON, args: flags.Args()}, nil
}

// defaultID keeps the suite away from the cluster that one plays with.
func defaultID(command string) string {
	if command == "test" {
		return fmt.Sprintf("t%d", os.Getpid()%1e6)
	}
	return "dev"
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	s, err := parse(args)
	if err != nil {
		return err
	}
	switch args[0] {
	case "build":
		return rig.Build(ctx, s.plan, os.Stderr)
	case "status":
		return status(s)
	case "node": // how up starts nodes
		return node(s)
	case "guard": // how up and test see to their end
		return rig.RunGuard(s.plan, os.Stdin)
	}
	if s.provider == provider.Local && os.Geteuid() != 0 {
		return fmt.Errorf("%s needs root: its nodes have networks and mounts of their own; use sudo", args[0])
	}
	switch args[0] {
	case "up":
		return up(ctx, s)
	case "install":
		return installOn(ctx, s)
	case "load-images":
		return load(ctx, s)
	case "down":
		return down(ctx, s)
	case "test":
		return test(ctx, s)
	}
	return fmt.Errorf("unknown command %q; %s", args[0], usage)
}

func up(ctx context.Context, s *settings) error {
	p, err := provider.New(s.provider, s.plan)
	if err != nil {
		return err
	}
	release, err := guard(s)
	if err != nil {
		return err
	}
	if err := p.Up(ctx, os.Stderr); err != nil {
		return err
	}
	d, err := provider.Read(s.plan.File())
	if err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG=%s\n", d.Kubeconfig)
	return release()
}

// guard has a local cluster removed if this command ends before it calls release.
func guard(s *settings) (release func() error, err error) {
	if s.provider != provider.Local {
		return func() error { return nil }, nil
	}
	g, err := rig.NewGuard(s.plan)
	if err != nil {
		return nil, err
	}
	return g.Release, nil
}

func installOn(ctx context.Context, s *settings) error {
	t, err := target(s)
	if err != nil {
		return err
	}
	return install.Run(ctx, t, os.Stdout, os.Stderr)
}

// target is a cluster that is up.
func target(s *settings) (install.Target, error) {
	p, err := provider.Of(s.plan)
	if err != nil {
		return install.Target{}, notUp(s.plan, err)
	}
	d, err := provider.Read(s.plan.File())
	return install.Target{Description: d, Source: s.plan.Source, State: s.plan.State, Load: p.Load}, err
}

func load(ctx context.Context, s *settings) error {
	if len(s.args) == 0 {
		return errors.New("load-images: want files, such as dist/images/*.tar")
	}
	t, err := target(s)
	if err != nil {
		return err
	}
	for _, a := range s.args {
		path, err := filepath.Abs(a)
		if err != nil {
			return err
		}
		if err := t.Load(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

func status(s *settings) error {
	d, err := provider.Read(s.plan.File())
	if err != nil {
		return notUp(s.plan, err)
	}
	if s.asJSON {
		text, err := os.ReadFile(s.plan.File())
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(text)
		return err
	}
	fmt.Printf("cluster %s of provider %s, KUBECONFIG=%s\n", d.ID, d.Provider, d.Kubeconfig)
	for _, n := range d.Nodes {
		fmt.Println(strings.Join([]string{n.Name, n.Address, n.Region}, "\t"))
	}
	return nil
}

// down removes the cluster, whoever made it; what a cluster of ours left that was
// never up as well.
func down(ctx context.Context, s *settings) error {
	p, err := provider.Of(s.plan)
	if errors.Is(err, os.ErrNotExist) {
		p, err = provider.New(s.provider, s.plan)
	}
	if err != nil {
		return err
	}
	return p.Down(ctx)
}

func node(s *settings) error {
	i, err := strconv.Atoi(strings.Join(s.args, " "))
	if err != nil || i < 0 || i >= len(s.plan.Nodes) {
		return fmt.Errorf("no node %q", s.args)
	}
	return rig.RunNode(s.plan, i)
}

func notUp(p *rig.Plan, err error) error {
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return fmt.Errorf("cluster %s is not up: run `e2e up --id %s`", p.ID, p.ID)
}
