package rig

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// programs are what a node runs of the machine's, packages those of Debian that
// hold them.
var (
	programs = []string{"runc", "containerd", "iptables", "nft", "ip", "nsenter", cniFolder + "/bridge"}
	packages = []string{"runc", "containerd", "iptables", "nftables", "containernetworking-plugins", "iproute2", "util-linux"}
)

// havePrograms installs what the machine lacks, where it has Debian's tools, and
// says what to install elsewhere.
func havePrograms(ctx context.Context, progress io.Writer) error {
	lacking := missingPrograms()
	if len(lacking) == 0 {
		return nil
	}
	install := "apt-get install --no-install-recommends " + strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("no %s here: install what these are in, on Debian: %s", strings.Join(lacking, ", "), install)
	}
	fmt.Fprintf(progress, "no %s here: %s\n", strings.Join(lacking, ", "), install)
	for _, args := range [][]string{
		{"update", "-qq"},
		append([]string{"install", "-qq", "--yes", "--no-install-recommends"}, packages...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", args[0], err, out)
		}
	}
	if lacking := missingPrograms(); len(lacking) > 0 {
		return fmt.Errorf("still no %s after %s", strings.Join(lacking, ", "), install)
	}
	return nil
}

func missingPrograms() []string {
	var lacking []string
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			lacking = append(lacking, program)
		}
	}
	return lacking
}
