package suite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A process is one that runs on this machine, by which a cluster of provider
// local is broken in ways that Kubernetes knows nothing of.
type process struct {
	pid  int
	args []string
}

func (p process) String() string { return fmt.Sprintf("%s (%d)", filepath.Base(p.args[0]), p.pid) }

// signal sends a signal.
func (p process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.pid, s); err != nil {
		t.Fatalf("%v %v: %v", s, p, err)
	}
}

// wantLocal skips a test that needs the processes of the cluster.
func (c *Cluster) wantLocal(t *testing.T) {
	t.Helper()
	if c.Provider != "local" {
		t.Skipf("the processes of a cluster of provider %s are out of reach; `e2e up --provider local` has them", c.Provider)
	}
}

// processes returns those that run on this machine and that match.
func processes(match func(process) bool) ([]process, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil || len(line) == 0 {
			continue // it has ended, or it is a thread of the kernel
		}
		var args []string
		for arg := range bytes.SplitSeq(bytes.TrimSuffix(line, []byte{0}), []byte{0}) {
			args = append(args, string(arg))
		}
		if p := (process{pid: pid, args: args}); match(p) {
			found = append(found, p)
		}
	}
	return found, nil
}

// component returns the process of a part of this cluster: kube-apiserver, or a
// kubelet, of which there is one for each node.
func (c *Cluster) component(t *testing.T, name, node string) process {
	t.Helper()
	c.wantLocal(t)
	p, err := c.find(name, node)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (c *Cluster) find(name, node string) (process, error) {
	found, err := processes(func(p process) bool {
		if filepath.Base(p.args[0]) != name {
			return false
		}
		command := strings.Join(p.args[1:], " ")
		return strings.Contains(command, c.state) && (node == "" || strings.Contains(command, "--hostname-override="+node))
	})
	if err != nil {
		return process{}, err
	}
	if len(found) != 1 {
		return process{}, fmt.Errorf("%s %s of the cluster in %s: found %v, want one process", name, node, c.state, found)
	}
	return found[0], nil
}

var errNoProcess = errors.New("no process of the pod runs here")

// inside returns the process of a pod, which is the first of its container.
func inside(pod *corev1.Pod, program string) (process, error) {
	found, err := processes(func(p process) bool {
		if filepath.Base(p.args[0]) != program {
			return false
		}
		groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.pid))
		return err == nil && bytes.Contains(groups, []byte(string(pod.UID)))
	})
	if err != nil {
		return process{}, err
	}
	if len(found) == 0 {
		return process{}, fmt.Errorf("%s in %s: %w", program, pod.Name, errNoProcess)
	}
	return found[0], nil
}

// kill ends the process of a pod at once, as a crash would. Where processes are
// out of reach, the pod is deleted without grace.
func (c *Cluster) kill(t *testing.T, pod *corev1.Pod, program string) {
	t.Helper()
	if c.Provider != "local" {
		c.kubectl(t, "-n", pod.Namespace, "delete", "pod", pod.Name, "--grace-period=0", "--force", "--wait=false")
		return
	}
	p, err := inside(pod, program)
	if err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGKILL)
}
