package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// program is a relay that can be started.
type program struct {
	name  string
	path  string
	ours  bool // has a private port
	newer bool // has the flags of moq-relay 0.17
}

// args returns the command line of a relay at an address.
func (p program) args(addr string, certs certificates) []string {
	if p.newer {
		return []string{
			"--listen", addr, "--listen-tls-cert", certs.cert, "--listen-tls-key", certs.key,
			"--auth-public", "**", "--iroh-enabled=false", "--log-level", "error",
		}
	}
	return []string{"--bind", addr, "--tls-cert", certs.cert, "--tls-key", certs.key, "--tls-root", certs.ca, "-q"}
}

// programs returns the relays to measure, ours first.
func programs(ctx context.Context, o options, dir string) ([]program, error) {
	path := o.relay
	if path == "" {
		path = filepath.Join(dir, "moq-relay")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/moqrelay/moqrelay/cmd/moq-relay")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build moq-relay: %w\n%s", err, out)
		}
	}
	all := []program{{name: "relay", path: path}}
	for i, path := range o.against {
		all = append(all, program{name: "against" + strconv.Itoa(i+1), path: path})
	}
	for i := range all {
		help, err := exec.CommandContext(ctx, all[i].path, "--help").CombinedOutput() //nolint:gosec // it is what we were told to run
		if err != nil {
			return nil, fmt.Errorf("%s --help: %w", all[i].path, err)
		}
		all[i].ours = bytes.Contains(help, []byte("--private-bind"))
		all[i].newer = bytes.Contains(help, []byte("--listen-tls-cert"))
		if all[i].newer && o.hops != 1 {
			return nil, fmt.Errorf("--against %s: it joins no root of ours: compare over --hops 1", all[i].path)
		}
	}
	return all, nil
}

// process is a relay that runs.
type process struct {
	node    string // its part: relay, root, a, b
	addr    string // UDP, and TCP of some relays
	private string // "" if it has no private port
	cmd     *exec.Cmd
	log     *bytes.Buffer // to be read when the process has ended
	done    chan struct{} // closed when it has
}

// start runs a relay. Its environment names one worker if it is pinned.
func start(p program, node, addr, private string, pin bool, args ...string) (*process, error) {
	cmd := exec.Command(p.path, args...) //nolint:gosec,noctx // it is what we were told to run; stop ends it
	if pin {
		cmd = exec.Command("taskset", append([]string{"-c", "0", p.path}, args...)...) //nolint:gosec,noctx // the same
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "TOKIO_WORKER_THREADS=1")
	}
	r := &process{node: node, addr: addr, private: private, cmd: cmd, log: new(bytes.Buffer), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = r.log, r.log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", node, err)
	}
	go func() { // ends with the process, which stop waits for
		_ = cmd.Wait() // it is killed in the end
		close(r.done)
	}()
	return r, nil
}

// stop ends the process, at once if it does not want to.
func (r *process) stop() {
	_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-r.done:
	case <-time.After(2 * time.Second):
		_ = r.cmd.Process.Kill()
		<-r.done
	}
}

// usage is what a process has used of the machine.
type usage struct {
	cpu  time.Duration
	rss  int64
	peak int64
}

// tick is the unit of times in /proc; Linux has no other for programs.
const tick = time.Second / 100

func usageOf(pid int) (usage, error) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return usage{}, err
	}
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return usage{}, err
	}
	cpu, err := parseCPU(string(stat))
	return usage{cpu: cpu, rss: parseMemory(string(status), "VmRSS:"), peak: parseMemory(string(status), "VmHWM:")}, err
}

// parseCPU reads user and system time from /proc/<pid>/stat. The command's name
// in it may hold spaces.
func parseCPU(stat string) (time.Duration, error) {
	_, rest, ok := strings.Cut(stat, ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, errors.New("/proc/<pid>/stat is not as expected")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, err
}

// parseMemory reads a line such as "VmRSS: 1234 kB" from /proc/<pid>/status.
func parseMemory(status, key string) int64 {
	_, rest, _ := strings.Cut(status, key)
	line, _, _ := strings.Cut(rest, "\n")
	kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
	return kb << 10
}

// machineCPU is the time that all processors were busy, or taken away by the
// host.
func machineCPU() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var busy time.Duration
	for i, field := range strings.Fields(line) {
		n, err := strconv.ParseInt(field, 10, 64)
		switch {
		case i == 0, i == 4, i == 5, i > 8: // the name; idle, waiting; guests, counted already
		case err != nil:
			return 0, err
		default:
			busy += time.Duration(n) * tick
		}
	}
	return busy, nil
}

func cores() int { return runtime.NumCPU() }

// pinSelf keeps this process on the second core.
func pinSelf(ctx context.Context) error {
	if runtime.NumCPU() < 2 {
		return errors.New("needs two cores")
	}
	runtime.GOMAXPROCS(1)
	out, err := exec.CommandContext(ctx, "taskset", "-a", "-c", "-p", "1", strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
