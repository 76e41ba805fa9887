package rig

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build compiles what a cluster runs, unless that is there already, and notes in
// the plan where.
func Build(ctx context.Context, p *Plan, progress io.Writer) error {
	if p.Bin != "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.Source, "hack", "e2e", "build.sh"))
	cmd.Stderr = progress
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("compile Kubernetes: %w", err)
	}
	p.Bin = strings.TrimSpace(string(out))
	return nil
}
