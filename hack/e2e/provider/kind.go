package provider

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/moqrelay/moqrelay/hack/e2e/rig"
)

// kind is a cluster in containers, by the kind command. Its nodes are reached at
// the addresses of their containers, which takes Linux.
type kind struct{ plan *rig.Plan }

// name is that of the cluster among others of kind.
func (k kind) name() string { return "moqrelay-" + k.plan.ID }

func (k kind) kubeconfig() string { return filepath.Join(k.plan.State, "kubeconfig") }

// config is a control plane, and a worker for each node of the plan.
func (k kind) config() string {
	var b strings.Builder
	b.WriteString("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n")
	for _, n := range k.plan.Nodes {
		fmt.Fprintf(&b, "- role: worker\n  labels: {%s: %s}\n", regionLabel, n.Region)
	}
	return b.String()
}

func (k kind) Up(ctx context.Context, progress io.Writer) error {
	if err := os.MkdirAll(k.plan.State, 0o755); err != nil {
		return err
	}
	kubeconfig := k.kubeconfig()
	if err := k.run(ctx, k.config(), progress, "create", "cluster", "--name", k.name(), "--kubeconfig", kubeconfig, "--config", "-", "--wait", "3m"); err != nil {
		return err
	}
	nodes, err := nodesOf(ctx, kubeconfig)
	if err != nil {
		return err
	}
	return write(k.plan, rig.Description{ID: k.plan.ID, Provider: Kind, Kubeconfig: kubeconfig, Nodes: nodes})
}

func (k kind) Load(ctx context.Context, archive string) error {
	return k.run(ctx, "", io.Discard, "load", "image-archive", archive, "--name", k.name())
}

func (k kind) Down(ctx context.Context) error {
	if err := k.run(ctx, "", io.Discard, "delete", "cluster", "--name", k.name(), "--kubeconfig", k.kubeconfig()); err != nil {
		return err
	}
	return os.RemoveAll(k.plan.State)
}

func (k kind) run(ctx context.Context, stdin string, progress io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "kind", args...)
	var out strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), progress, io.MultiWriter(progress, &out)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kind %s: %w: %s", strings.Join(args[:2], " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}
