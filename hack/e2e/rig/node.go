package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cniFolder is where Debian keeps the CNI plugins.
const cniFolder = "/usr/lib/cni"

// restartAfter is how long a component that ended stays down.
const restartAfter = 500 * time.Millisecond

// sysctls are what kubelet wants of the machine. It is shown them instead, in
// the mounts of the node: they are not per namespace.
var sysctls = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// RunNode is the first process of the node at an index, in namespaces of its
// own. It does not return unless the node cannot be set up: the node ends by
// being killed, and with it all that it started.
func RunNode(p *Plan, i int) error {
	n := p.Nodes[i]
	if err := unix.Sethostname([]byte(n.Name)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := p.mountNode(n); err != nil {
		return err
	}
	if err := p.nodeNetwork(i); err != nil {
		return err
	}
	if err := p.makeCgroups(n); err != nil {
		return err
	}
	if err := p.writeConfigs(i); err != nil {
		return err
	}
	if i == 0 {
		p.keep(n, p.etcd(n))
		p.keep(n, p.apiserver(n))
	}
	p.keep(n, component{"containerd", "-c", p.dir(n, "containerd.toml")})
	if err := p.loadAll(n); err != nil {
		return err
	}
	until(func() bool { return p.kubectl("get", "--raw", "/readyz").Run() == nil })
	if i == 0 { // these two give up for good if they come before their roles
		p.keep(n, p.controllerManager())
		p.keep(n, p.control("kube-scheduler"))
	}
	p.keep(n, component{
		"kubelet", "--config=" + p.dir(n, "kubelet.yaml"), "--kubeconfig=" + p.pki("kubelet-"+n.Name+".kubeconfig"),
		"--hostname-override=" + n.Name, "--node-ip=" + n.Address,
		"--node-labels=topology.kubernetes.io/region=" + n.Region + ",topology.kubernetes.io/zone=" + n.Region + "-a",
	})
	p.keep(n, component{"kube-proxy", "--config=" + p.dir(n, "proxy.yaml")})
	p.keep(n, p.netpol(n))
	select {}
}

// keep runs a component, and again whenever it ends.
func (p *Plan) keep(n Node, c component) {
	go func() { // it lives as long as the node
		for {
			if err := p.start(n, c); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", c[0], err)
			}
			time.Sleep(restartAfter)
		}
	}()
}

func (p *Plan) start(n Node, c component) error {
	log, err := os.OpenFile(p.dir(n, c[0]+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.program(c[0]), c[1:]...) //nolint:noctx // it ends with the node
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "PATH="+p.Bin+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	return cmd.Run()
}

// program is one of ours where we have it, else the machine's.
func (p *Plan) program(name string) string {
	if own := filepath.Join(p.Bin, name); exists(own) {
		return own
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// until waits; whoever started the node bounds how long.
func until(done func() bool) {
	for !done() {
		time.Sleep(100 * time.Millisecond)
	}
}

// mountNode gives the node mounts that the machine does not see.
func (p *Plan) mountNode(n Node) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	groups := p.dir(n, "cgroup")
	if err := os.MkdirAll(groups, 0o755); err != nil {
		return err
	}
	// /sys must be that of the network namespace, with the machine's cgroups back on it.
	steps := []func() error{
		func() error { return mount("proc", "/proc", "") },
		func() error { return bind("/sys/fs/cgroup", groups) },
		func() error { return mount("sysfs", "/sys", "") },
		func() error { return bind(groups, "/sys/fs/cgroup") },
		func() error { return unix.Unmount(groups, unix.MNT_DETACH) },
		func() error { return mount("tmpfs", "/run", "mode=755") },
		func() error { return os.MkdirAll("/run/lock", 0o755) },
	}
	for _, dir := range []string{"/var/lib", "/var/log"} {
		steps = append(steps, func() error { return mount("tmpfs", dir, "mode=755") })
	}
	for _, dir := range []string{"/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/var/log/pods", "/var/log/containers"} {
		steps = append(steps, func() error { return bind(p.dir(n, dir), dir) })
	}
	for key, value := range sysctls {
		steps = append(steps, func() error { return p.mask(n, key, value) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("mounts of %s: %w", n.Name, err)
		}
	}
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// mount mounts a file system that needs no device.
func mount(kind, at, options string) error {
	if err := unix.Mount(kind, at, kind, 0, options); err != nil {
		return fmt.Errorf("%s at %s: %w", kind, at, err)
	}
	return nil
}

// bind shows a folder at another place; both are made if need be.
func bind(from, to string) error {
	if err := errors.Join(os.MkdirAll(from, 0o755), os.MkdirAll(to, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("show %s at %s: %w", from, to, err)
	}
	return nil
}

// mask shows the node another value of a sysctl.
func (p *Plan) mask(n Node, key, value string) error {
	file := p.dir(n, "sysctl."+strings.ReplaceAll(key, "/", "."))
	if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(file, filepath.Join("/proc/sys", key), "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("sysctl %s: %w", key, err)
	}
	return nil
}

// nodeNetwork waits for the cable and makes the node's addresses and routes.
func (p *Plan) nodeNetwork(i int) error {
	n := p.Nodes[i]
	until(func() bool { return exists("/sys/class/net/eth0") })
	commands := [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", n.Address + "/24", "dev", "eth0"},
		{"link", "set", "eth0", "up"},
		{"route", "add", "default", "via", p.gateway()},
	}
	for j, other := range p.Nodes {
		if j != i {
			commands = append(commands, []string{"route", "add", p.pods(j), "via", other.Address})
		}
	}
	for _, args := range commands {
		if err := ip(args...); err != nil {
			return err
		}
	}
	if err := p.masquerade(); err != nil {
		return err
	}
	// Both are settings of the node's network alone. By the second, traffic
	// between pods of one node meets the rules of kube-proxy and of policies.
	return errors.Join(
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644),
		os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1"), 0o644))
}

// masquerade gives what pods send out of the cluster the address of their node:
// nobody outside has a route to pods.
func (p *Plan) masquerade() error {
	const chain = "E2E-OUTSIDE"
	inside := []string{podRange}
	for _, n := range p.Nodes {
		inside = append(inside, n.Address)
	}
	commands := [][]string{{"-N", chain}}
	for _, to := range inside {
		commands = append(commands, []string{"-A", chain, "-d", to, "-j", "RETURN"})
	}
	commands = append(commands, []string{"-A", chain, "-j", "MASQUERADE"}, []string{"-A", "POSTROUTING", "-s", podRange, "-j", chain})
	for _, args := range commands {
		if err := run("iptables", append([]string{"-w", "-t", "nat"}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

func ip(args ...string) error { return run("ip", args...) }

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil { //nolint:noctx // it takes milliseconds
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// hierarchies are those of cgroups version 1 that kubelet wants to be complete.
var hierarchies = []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"}

const cgroupFolder = "/sys/fs/cgroup"

// makeCgroups makes the folders below which kubelet makes those of pods.
func (p *Plan) makeCgroups(n Node) error {
	for _, h := range hierarchies {
		top := filepath.Join(cgroupFolder, h)
		if !exists(top) {
			continue
		}
		dir := filepath.Join(top, p.cgroup(n))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		if h != "cpuset" {
			continue
		}
		for _, d := range []string{filepath.Dir(dir), dir} { // a new set is empty, and nothing runs in it
			for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
				if err := copyFile(filepath.Join(top, name), filepath.Join(d, name)); err != nil {
					return fmt.Errorf("cgroup: %w", err)
				}
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// removeCgroups removes those of the whole cluster. Processes that were killed hold
// theirs for a moment more.
func (p *Plan) removeCgroups() error {
	var errs []error
	for _, h := range append([]string{"unified"}, hierarchies...) { // runc makes one in unified too
		top := filepath.Join(cgroupFolder, h, filepath.Dir(p.cgroup(p.Nodes[0])))
		err := removeCgroup(top)
		for deadline := time.Now().Add(downTime); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
			err = removeCgroup(top)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeCgroup removes a cgroup and those below it, innermost first.
func removeCgroup(top string) error {
	var dirs []string
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append([]string{path}, dirs...)
		}
		return nil // what is gone already is fine
	})
	for _, d := range dirs {
		if err := unix.Rmdir(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cgroup %s: %w", d, err)
		}
	}
	return nil
}

func (p *Plan) writeConfigs(i int) error {
	n := p.Nodes[i]
	var errs []error
	for path, text := range map[string]string{
		p.dir(n, "cni", "e2e.conflist"): p.cni(i),
		p.dir(n, "containerd.toml"):     p.containerd(n),
		p.dir(n, "kubelet.yaml"):        p.kubelet(n),
		p.dir(n, "proxy.yaml"):          p.proxy(n),
		p.dir(n, "resolv.conf"):         "nameserver " + p.gateway() + "\n",
	} {
		errs = append(errs, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
	}
	return errors.Join(errs...)
}

// loadAll gives containerd the images that pods are made of.
func (p *Plan) loadAll(n Node) error {
	until(func() bool { return exec.Command("ctr", "version").Run() == nil }) //nolint:noctx // it takes milliseconds
	archives, err := filepath.Glob(filepath.Join(p.State, "images", "*.tar"))
	if err != nil {
		return err
	}
	for _, a := range archives {
		cmd := exec.Command("ctr", "-n", "k8s.io", "images", "import", a) //nolint:noctx // whoever started the node bounds it
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: load %s: %w: %s", n.Name, a, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

func (p *Plan) kubectl(args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(p.Bin, "kubectl"), append([]string{"--kubeconfig=" + p.Kubeconfig(), "--request-timeout=10s"}, args...)...) //nolint:noctx // bounded by its flag
}

// flags are those by which a command makes the same plan again.
func (p *Plan) flags() []string {
	return []string{"--id", p.ID, "--state", filepath.Dir(p.State), "--bin", p.Bin, "--nodes", strconv.Itoa(len(p.Nodes)), "--beside", p.Beside}
}

// nodeArgs are what a node's first process is called with; it is found by them.
func (p *Plan) nodeArgs(i int) []string {
	return append(append([]string{"node"}, p.flags()...), strconv.Itoa(i))
}
