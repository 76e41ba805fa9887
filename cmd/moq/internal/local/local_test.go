package local

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/moqrelay/moqrelay/controllers/pki"
)

// pidFileVariable makes the test binary a parent: it runs a process that writes
// its number into the file of that name.
const pidFileVariable = "MOQ_TEST_PID_FILE"

func TestMain(m *testing.M) {
	if file := os.Getenv(pidFileVariable); file != "" {
		s := newSupervisor("/bin/sh", io.Discard, func(Node, error) {})
		s.run(script(sleeper(file)))
		select {} // until it is killed
	}
	goleak.VerifyTestMain(m)
}

// sleeper is a script that writes its number into a file and sleeps.
func sleeper(pidFile string) string {
	return "echo $$ > " + pidFile + ".new && mv " + pidFile + ".new " + pidFile + "; exec sleep 100"
}

const sample = "../../../../config/samples/relaycluster.yaml"

func renderSample(t *testing.T, dir string) Plan {
	t.Helper()
	manifest, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Render(manifest, dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestRenderSample(t *testing.T) {
	plan := renderSample(t, "/state")
	type row struct{ Name, Region, Role, Bind, Private, Node, Roots, Cert string }
	var got []row
	for _, n := range plan.Nodes {
		c := n.Config
		got = append(got, row{n.Name, n.Region, n.Role(), c.Bind, c.PrivateBind, c.ClusterNode, strings.Join(c.ClusterRoot, " "), c.TLSCert[0]})
	}
	const root = "localhost:4443"
	want := []row{
		{"root-0", "", "root", "127.0.0.1:4443", "127.0.0.1:14443", root, root, "/state/root/tls.crt"},
		{"eu-0", "eu", "node", "127.0.0.1:4451", "127.0.0.1:14451", "localhost:4451", root, "/state/eu/tls.crt"},
		{"eu-1", "eu", "node", "127.0.0.1:4452", "127.0.0.1:14452", "localhost:4452", root, "/state/eu/tls.crt"},
		{"us-0", "us", "node", "127.0.0.1:4461", "127.0.0.1:14461", "localhost:4461", root, "/state/us/tls.crt"},
		{"us-1", "us", "node", "127.0.0.1:4462", "127.0.0.1:14462", "localhost:4462", root, "/state/us/tls.crt"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"eu", "us"}, plan.regions()); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
}

// TestU4BadManifests: what is wrong with a manifest is told by its field.
func TestU4BadManifests(t *testing.T) {
	const head = "apiVersion: moqrelay.io/v1alpha1\nkind: RelayCluster\nmetadata: {name: live}\n"
	for name, tc := range map[string]struct{ manifest, want string }{
		"no YAML":           {"a: [", "yaml"},
		"another kind":      {"apiVersion: v1\nkind: Pod\n", "Pod"},
		"unknown field":     {head + "spec: {root: {}, regoins: []}\n", "regoins"},
		"bad region name":   {head + "spec: {root: {}, regions: [{name: EU}]}\n", "spec.regions[0].name"},
		"external root":     {head + "spec: {externalRoot: {hosts: [root.example.com]}}\n", "spec.externalRoot: this machine has no way into another cluster"},
		"too many relays":   {head + "spec: {root: {}, regions: [{name: eu, replicas: 11}]}\n", "spec.regions[0]"},
		"unknown extra arg": {head + "spec: {root: {}, pod: {extraArgs: [--no-such-flag]}}\n", "extraArgs"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Render([]byte(tc.manifest), "/state", 0); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	plan := renderSample(t, dir)
	if err := newCertificates(dir).write(plan); err != nil {
		t.Fatal(err)
	}
	read := func(file string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	trust, err := pki.ParseCertificates([]byte(read("eu/ca.crt")))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := pki.ParsePair([]byte(read("eu/tls.crt")), []byte(read("eu/tls.key")))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(trust[0])
	if _, err := leaf.Certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
		t.Errorf("the certificate of eu is not good for %s: %v", host, err)
	}
	before := read("us/tls.crt")
	if err := newCertificates(dir).write(plan); err != nil {
		t.Fatal(err)
	}
	if read("us/tls.crt") != before {
		t.Error("a second run with the same state made a new certificate")
	}
	info, err := os.Stat(filepath.Join(dir, "eu/tls.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the key: %v, %v", info.Mode(), err)
	}
}

// shell is a supervisor whose relays are shell scripts.
func shell(t *testing.T, failed func(Node, error)) *supervisor {
	t.Helper()
	s := newSupervisor("/bin/sh", io.Discard, failed)
	t.Cleanup(s.close)
	return s
}

func script(text string) Node { return Node{Name: "eu-0", Args: []string{"-c", text}} }

// TestU3StopEndsProcess: what is stopped is gone, also when it does not listen.
func TestU3StopEndsProcess(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	s := shell(t, func(n Node, err error) { t.Errorf("%s failed: %v", n.Name, err) })
	p := s.run(script(sleeper(pid)))
	child := waitPid(t, pid)
	p.stop()
	if err := syscall.Kill(child, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after stop: %v, want none", child, err)
	}
}

// TestU3KilledParentLeavesNoChild: the relays end with the process that runs
// them, however that ends.
func TestU3KilledParentLeavesNoChild(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	pid := filepath.Join(t.TempDir(), "pid")
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), pidFileVariable+"="+pid)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	child := waitPid(t, pid)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	for range 500 {
		if isGone(child) {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("process %d runs 5 s after its parent was killed", child)
}

// isGone reports whether no process of that number runs. One that has ended and
// that nobody has waited for is gone as well.
func isGone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func waitPid(t *testing.T, file string) int {
	t.Helper()
	for range 500 {
		b, err := os.ReadFile(file)
		if err == nil {
			pid := 0
			for _, c := range strings.TrimSpace(string(b)) {
				pid = 10*pid + int(c-'0')
			}
			return pid
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatal("the process has not started within 5 s")
	return 0
}

// TestRestart: a relay that ends by itself is reported and started again.
func TestRestart(t *testing.T) {
	var mu sync.Mutex
	var failures []string
	twice := make(chan struct{})
	s := shell(t, func(n Node, err error) {
		mu.Lock()
		defer mu.Unlock()
		if failures = append(failures, n.Name+": "+err.Error()); len(failures) == 2 {
			close(twice)
		}
	})
	p := s.run(script("exit 3"))
	select {
	case <-twice:
	case <-time.After(10 * time.Second):
		t.Error("not started again within 10 s")
	}
	p.stop()
	mu.Lock()
	defer mu.Unlock()
	if want := "eu-0: exit status 3"; failures[0] != want {
		t.Errorf("failure %q, want %q", failures[0], want)
	}
}

func TestStateInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	_, release, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := openState(dir); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("a second cluster in the same folder: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if _, release, err = openState(dir); err != nil {
		t.Errorf("after the first has ended: %v", err)
	} else if err := release(); err != nil {
		t.Error(err)
	}
	tmp, release, err := openState("")
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tmp); !os.IsNotExist(err) {
		t.Errorf("the temporary folder is left: %v", err)
	}
}
