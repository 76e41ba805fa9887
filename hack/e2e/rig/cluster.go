package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moqrelay/moqrelay/hack/e2e/addons"
)

// Description is what cluster.json and `e2e status --json` say.
type Description struct {
	ID         string `json:"id"`
	Provider   string `json:"provider"` // local, kind or none
	Kubeconfig string `json:"kubeconfig"`
	// Bin is the folder of kubectl and helm, "" where they are on the PATH.
	Bin   string `json:"bin,omitempty"`
	Nodes []Node `json:"nodes"`
	// LoadBalancerRange is where Services of type LoadBalancer get addresses from.
	LoadBalancerRange string `json:"loadBalancerRange,omitempty"`
	// Beside is the cluster whose network this one shares.
	Beside string `json:"beside,omitempty"`
}

// Command returns a tool of the cluster as a command: kubectl or helm.
func (d Description) Command(ctx context.Context, tool string, args ...string) *exec.Cmd {
	if d.Bin != "" {
		tool = filepath.Join(d.Bin, tool)
	}
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+d.Kubeconfig)
	return cmd
}

// Up makes the cluster, from images in the folder images, and returns once pods
// can run and names resolve. What an earlier run of the id left is removed
// first, and so is everything if it does not succeed.
func Up(ctx context.Context, p *Plan, progress io.Writer) (err error) {
	if exists(p.File()) && len(p.processes()) > 0 {
		return fmt.Errorf("cluster %s is up already: see `e2e status --id %s`, or end it with `e2e down --id %s`", p.ID, p.ID, p.ID)
	}
	if err := havePrograms(ctx, progress); err != nil {
		return err
	}
	if err := Down(p); err != nil {
		return err
	}
	if err := p.isAddressFree(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, Down(p))
		}
	}()
	start := time.Now()
	tick := func(what string) { fmt.Fprintf(progress, "✓ %-24s %5.1f s\n", what, time.Since(start).Seconds()) }
	if err := p.prepare(); err != nil {
		return err
	}
	tick("images")
	if err := p.startNodes(); err != nil {
		return err
	}
	steps, err := p.steps()
	if err != nil {
		return err
	}
	for _, s := range steps {
		if err := p.poll(ctx, s.done); err != nil {
			return fmt.Errorf("wait for %s: %w; %s", s.what, err, p.lastWords())
		}
		tick(s.what)
	}
	return p.startCloud()
}

// Describe tells where the cluster is.
func (p *Plan) Describe() Description {
	return Description{
		ID: p.ID, Provider: "local", Kubeconfig: p.Kubeconfig(), Bin: p.Bin,
		Nodes: p.Nodes, LoadBalancerRange: p.LoadBalancerRange(), Beside: p.Beside,
	}
}

// isAddressFree makes sure that no other cluster, or anybody else, has the network.
func (p *Plan) isAddressFree() error {
	if p.Beside != "" {
		return nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.Contains(net.ParseIP(p.gateway())) {
			return fmt.Errorf("cluster %s would have the addresses %v, which are in use here: choose another --id", p.ID, n)
		}
	}
	return nil
}

type step struct {
	what string
	done func() bool
}

// steps are what has to become true, in this order. A node that is ready is not
// usable yet: its taint and the ServiceAccount of pods take some seconds more.
func (p *Plan) steps() ([]step, error) {
	coredns, err := addons.CoreDNS(addons.Options{Nodes: len(p.Nodes)})
	if err != nil {
		return nil, err
	}
	metricsServer, err := addons.MetricsServer()
	if err != nil {
		return nil, err
	}
	out := func(args ...string) string { b, _ := p.kubectl(args...).Output(); return string(b) }
	steps := []step{{"API server", func() bool { return p.kubectl("get", "--raw", "/readyz").Run() == nil }}}
	for _, n := range p.Nodes {
		steps = append(steps, step{"node " + n.Name, func() bool {
			return out("get", "node", n.Name, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`) == "True"
		}})
	}
	return append(steps,
		step{"nodes take pods", func() bool {
			return p.kubectl("get", "serviceaccount", "default").Run() == nil && out("get", "nodes", "-o", "jsonpath={.items[*].spec.taints}") == ""
		}},
		step{"CoreDNS", p.rolledOut("coredns", coredns)},
		step{"metrics-server", p.rolledOut("metrics-server", metricsServer)}), nil
}

// rolledOut applies a manifest until that succeeds, then asks for its Deployment.
func (p *Plan) rolledOut(name string, manifest []byte) func() bool {
	applied := false
	return func() bool {
		if !applied {
			cmd := p.kubectl("apply", "-f", "-")
			cmd.Stdin = bytes.NewReader(manifest)
			applied = cmd.Run() == nil
		}
		return applied && p.kubectl("-n", "kube-system", "rollout", "status", "deployment/"+name, "--timeout=5s").Run() == nil
	}
}

// upTime bounds each step of Up.
const upTime = 3 * time.Minute

func (p *Plan) poll(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, upTime)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		if n := len(p.processes()); n < len(p.Nodes) {
			return fmt.Errorf("of %d nodes %d are there", len(p.Nodes), n)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// lastWords are those of the nodes: their files are gone when Up has failed.
func (p *Plan) lastWords() string {
	const most = 2000
	var b strings.Builder
	for _, n := range p.Nodes {
		text, _ := os.ReadFile(p.dir(n, "node.log")) // it says nothing if it is not there
		fmt.Fprintf(&b, "%s: %q ", n.Name, text[max(0, len(text)-most):])
	}
	return strings.TrimSpace(b.String())
}

// prepare writes what nodes start from.
func (p *Plan) prepare() error {
	if err := p.writePKI(); err != nil {
		return err
	}
	if err := errors.Join(
		os.MkdirAll(filepath.Join(p.State, "images"), 0o755),
		os.WriteFile(p.besideFile(), []byte(p.Beside), 0o644)); err != nil {
		return err
	}
	return p.packAddons()
}

// startNodes starts the nodes and plugs them into the bridge.
func (p *Plan) startNodes() error {
	bridge := [][]string{
		{"link", "add", p.Bridge(), "type", "bridge"},
		{"addr", "add", p.gateway() + "/24", "dev", p.Bridge()},
		{"link", "set", p.Bridge(), "up"},
	}
	switch has := exists("/sys/class/net/" + p.Bridge()); {
	case p.Beside == "": // Down has removed what an earlier run left
	case has:
		bridge = nil
	default:
		return fmt.Errorf("--beside %s: that cluster is not up", p.Beside)
	}
	for _, args := range append(bridge, []string{"route", "add", p.LoadBalancerRange(), "via", p.Nodes[0].Address}) {
		if err := ip(args...); err != nil {
			return err
		}
	}
	for i, n := range p.Nodes {
		pid, err := p.startNode(i)
		if err != nil {
			return fmt.Errorf("start %s: %w", n.Name, err)
		}
		if err := errors.Join(
			ip("link", "add", p.link(n), "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(pid)),
			ip("link", "set", p.link(n), "master", p.Bridge(), "up")); err != nil {
			return err
		}
	}
	return nil
}

func (p *Plan) startNode(i int) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	dir := p.dir(p.Nodes[i])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	log, err := os.Create(filepath.Join(dir, "node.log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(self, p.nodeArgs(i)...) //nolint:noctx // it outlives the command; Down ends it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS,
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go cmd.Wait() //nolint:errcheck // reaped here if it ends first, and told by the step that then waits in vain
	return cmd.Process.Pid, nil
}

// processes are the first ones of the cluster's nodes, wherever they came from.
func (p *Plan) processes() []int {
	return processesWhere(func(line string) bool {
		_, args, _ := strings.Cut(line, "\x00")
		return strings.HasPrefix(args, "node\x00--id\x00"+p.ID+"\x00--state\x00"+filepath.Dir(p.State)+"\x00")
	})
}

// guests are the clusters that share the network of this one.
func (p *Plan) guests() []*Plan {
	var plans []*Plan
	folders, _ := filepath.Glob(filepath.Join(filepath.Dir(p.State), "*")) // the pattern is fine
	for _, folder := range folders {
		other, err := NewPlan(filepath.Base(folder), p.ID, filepath.Dir(p.State), p.Bin, 1)
		if err != nil {
			continue // it is no cluster's folder, or this one's own
		}
		if text, err := os.ReadFile(other.besideFile()); err == nil && string(text) == p.ID {
			plans = append(plans, other)
		}
	}
	return plans
}

// besideFile says whose network the cluster shares.
func (p *Plan) besideFile() string { return filepath.Join(p.State, "beside") }

// downTime bounds how long processes take to end once killed.
const downTime = 20 * time.Second

// Down removes the cluster and all that is left of it, and before it the clusters
// that share its network. It is no error if there is nothing.
func Down(p *Plan) error {
	if p.Beside == "" {
		for _, other := range p.guests() {
			if err := Down(other); err != nil {
				return fmt.Errorf("cluster %s beside it: %w", other.ID, err)
			}
		}
	}
	for _, pid := range append(p.clouds(), p.processes()...) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	deadline := time.Now().Add(downTime)
	for len(p.processes()) > 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	var errs []error
	switch has := exists("/sys/class/net/" + p.Bridge()); {
	case has && p.Beside == "":
		errs = append(errs, ip("link", "del", p.Bridge())) // its routes go with it
	case has:
		_ = ip("route", "del", p.LoadBalancerRange()) // if there is one
	}
	links, _ := filepath.Glob("/sys/class/net/e2e-" + p.ID + "n[1-9]") // the pattern is fine
	for _, l := range links {
		if err := ip("link", "del", filepath.Base(l)); err != nil && exists(l) { // else it went with its node
			errs = append(errs, err)
		}
	}
	errs = append(errs, p.removeCgroups(), os.RemoveAll(p.State))
	_ = os.Remove(filepath.Dir(p.State)) // only if no other cluster is there
	return errors.Join(errs...)
}

// Load gives all nodes of a cluster that is up an image from an OCI archive.
func Load(ctx context.Context, p *Plan, archive string) error {
	pids := p.processes()
	if len(pids) == 0 {
		return fmt.Errorf("cluster %s is not up: run `e2e up --id %s` first", p.ID, p.ID)
	}
	for _, pid := range pids {
		cmd := exec.CommandContext(ctx, "nsenter", "-t", strconv.Itoa(pid), "-m", "ctr", "-n", "k8s.io", "images", "import", archive)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("load %s: %w: %s", archive, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
