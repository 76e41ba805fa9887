// Command e2e runs a real Kubernetes on this machine, as root and without a
// container engine or registry:
//
//	e2e build                         compile Kubernetes and what goes with it, once
//	e2e up [--id ID] [--nodes N]      start a cluster; prints its KUBECONFIG
//	e2e install [--id ID]             install the operator by Helm and a RelayCluster
//	e2e load-images [--id ID] FILE…   give it images from OCI archives
//	e2e status [--id ID] [--json]     tell where it is
//	e2e down [--id ID]                remove it and all that it left
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/moqrelay/moqrelay/hack/e2e/install"
	"github.com/moqrelay/moqrelay/hack/e2e/rig"
)

const usage = "usage: e2e build | up | install | load-images FILE… | status | down, each with -h for its flags"

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

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	cache := cmp.Or(os.Getenv("XDG_CACHE_HOME"), filepath.Join(home, ".cache"))
	state := cmp.Or(os.Getenv("XDG_STATE_HOME"), filepath.Join(home, ".local", "state"))
	flags := flag.NewFlagSet("e2e "+args[0], flag.ContinueOnError)
	id := flags.String("id", "dev", "name of the cluster; two of different names run side by side")
	nodes := flags.Int("nodes", 2, "how many nodes")
	source := flags.String("source", ".", "top of the repository")
	asJSON := flags.Bool("json", false, "status for programs")
	stateHome := flags.String("state", filepath.Join(state, "moqrelay", "e2e"), "folder of all clusters")
	bin := flags.String("bin", filepath.Join(cache, "moqrelay", "kubernetes-"+rig.Version), "folder of what build compiles")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	p, err := rig.NewPlan(*id, *stateHome, *bin, *nodes)
	if err != nil {
		return err
	}
	if p.Source, err = filepath.Abs(*source); err != nil {
		return err
	}
	if args[0] != "build" && args[0] != "status" && os.Geteuid() != 0 {
		return fmt.Errorf("%s needs root: its nodes have networks and mounts of their own; use sudo", args[0])
	}
	switch args[0] {
	case "build":
		return rig.Build(ctx, p, os.Stderr)
	case "up":
		return up(ctx, p)
	case "install":
		if _, err := os.Stat(p.File()); err != nil {
			return notUp(p)
		}
		return install.Run(ctx, p, os.Stdout, os.Stderr)
	case "load-images":
		return load(ctx, p, flags.Args())
	case "status":
		return status(p, *asJSON)
	case "down":
		return rig.Down(p)
	case "node": // how up starts nodes
		return node(p, flags.Arg(0))
	}
	return fmt.Errorf("unknown command %q; %s", args[0], usage)
}

func up(ctx context.Context, p *rig.Plan) error {
	if err := rig.Build(ctx, p, os.Stderr); err != nil {
		return err
	}
	for _, program := range []string{"runc", "containerd", "iptables", "nft", "ip", "nsenter", "/usr/lib/cni/bridge"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("no %s here: apt-get install --no-install-recommends runc containerd iptables nftables containernetworking-plugins iproute2", program)
		}
	}
	if err := rig.Up(ctx, p, os.Stderr); err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG=%s\n", p.Kubeconfig())
	return nil
}

func load(ctx context.Context, p *rig.Plan, archives []string) error {
	if len(archives) == 0 {
		return errors.New("load-images: want files, such as dist/images/*.tar")
	}
	for _, a := range archives {
		path, err := filepath.Abs(a)
		if err != nil {
			return err
		}
		if err := rig.Load(ctx, p, path); err != nil {
			return err
		}
	}
	return nil
}

func status(p *rig.Plan, asJSON bool) error {
	text, err := os.ReadFile(p.File())
	if err != nil {
		return notUp(p)
	}
	if asJSON {
		_, err := os.Stdout.Write(text)
		return err
	}
	var d rig.Description
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("%s: %w", p.File(), err)
	}
	fmt.Printf("cluster %s, KUBECONFIG=%s\n", d.ID, d.Kubeconfig)
	for _, n := range d.Nodes {
		fmt.Println(strings.Join([]string{n.Name, n.Address, n.Region}, "\t"))
	}
	return nil
}

func node(p *rig.Plan, index string) error {
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || i >= len(p.Nodes) {
		return fmt.Errorf("no node %q", index)
	}
	return rig.RunNode(p, i)
}

func notUp(p *rig.Plan) error {
	return fmt.Errorf("cluster %s is not up: run `e2e up --id %s`", p.ID, p.ID)
}
