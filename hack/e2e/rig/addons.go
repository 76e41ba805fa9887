package rig

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/moqrelay/moqrelay/hack/e2e/addons"
	"github.com/moqrelay/moqrelay/hack/e2e/image"
)

// packAddons writes the images of what runs in pods.
func (p *Plan) packAddons() error {
	for _, i := range addons.Images() {
		o := image.Options{Source: p.Source, Dir: filepath.Join(p.State, "images")}
		if _, err := image.Pack(i, filepath.Join(p.Bin, i.Name), o); err != nil {
			return fmt.Errorf("%w; run `e2e build`", err)
		}
	}
	return nil
}

// netpol enforces NetworkPolicies for the pods of a node.
func (p *Plan) netpol(n Node) component {
	return component{"netpol", "-kubeconfig", p.Kubeconfig(), "-node", n.Name}
}

// cloudArgs are what the cloud is called with; it is found by them.
func (p *Plan) cloudArgs() []string {
	return []string{"-kubeconfig", p.Kubeconfig(), "-range", p.LoadBalancerRange()}
}

// startCloud starts what serves Services of type LoadBalancer. It runs on the
// machine and not on a node: its routes are those of clients outside.
func (p *Plan) startCloud() error {
	log, err := os.Create(filepath.Join(p.State, "cloud.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(p.Bin, "cloud"), p.cloudArgs()...) //nolint:noctx // it outlives the command; Down ends it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start cloud: %w", err)
	}
	go cmd.Wait() //nolint:errcheck // reaped here if it ends first; its log says why
	return nil
}

// clouds are the processes of the cluster's cloud, wherever they came from.
func (p *Plan) clouds() []int {
	want := "\x00" + strings.Join(p.cloudArgs(), "\x00") + "\x00"
	return processesWhere(func(line string) bool { return strings.HasSuffix(line, want) })
}

// processesWhere returns the processes whose command line is such; each argument
// in it ends with a zero byte.
func processesWhere(such func(line string) bool) []int {
	folders, _ := fs.Glob(os.DirFS("/proc"), "[0-9]*") // the pattern is fine
	var pids []int
	for _, f := range folders {
		line, err := os.ReadFile(filepath.Join("/proc", f, "cmdline"))
		if err != nil || !such(string(line)) { // some have ended
			continue
		}
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
