package rig

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Version is that of Kubernetes, as in go.mod.
const Version = "1.37.2"

// components are the names that the one binary of Kubernetes is called by.
// kubectl is the last to appear: where it is, the folder is complete.
var components = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"}

// built says whether all that a cluster runs is there.
func (p *Plan) built() bool {
	for _, name := range append(programs(), "kubectl") {
		if !exists(filepath.Join(p.Bin, name)) {
			return false
		}
	}
	return true
}

// Build compiles what a cluster runs, unless that is there already.
func Build(ctx context.Context, p *Plan, progress io.Writer) error {
	if p.built() {
		return nil
	}
	fmt.Fprintf(progress, "compiling Kubernetes %s into %s: 7 to 14 minutes on two cores, once\n", Version, p.Bin)
	if err := os.MkdirAll(p.Bin, 0o755); err != nil {
		return err
	}
	minor, _, _ := strings.Cut(strings.TrimPrefix(Version, "1."), ".")
	const x = "k8s.io/component-base/version"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", p.Bin+"/",
		"-ldflags", "-s -w -X "+x+".gitVersion=v"+Version+" -X "+x+".gitMajor=1 -X "+x+".gitMinor="+minor,
		"./kube", "./addons/cmd/...", "sigs.k8s.io/metrics-server/cmd/metrics-server", "helm.sh/helm/v4/cmd/helm")
	cmd.Dir = filepath.Join(p.Source, "hack", "e2e")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	cmd.Stdout, cmd.Stderr = progress, progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compile Kubernetes: %w", err)
	}
	for _, name := range components {
		link := filepath.Join(p.Bin, name)
		_ = os.Remove(link) // of a build that was cut off
		if err := os.Symlink("kube", link); err != nil {
			return err
		}
	}
	return nil
}
