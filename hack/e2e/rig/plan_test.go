package rig

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlan(t *testing.T) {
	a, err := NewPlan("a", "", "/state", "/bin", 2)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewPlan("b", "", "/state", "/bin", 2)
	if err != nil {
		t.Fatal(err)
	}
	if a.Bridge() == b.Bridge() || a.gateway() == b.gateway() || a.LoadBalancerRange() == b.LoadBalancerRange() ||
		a.State == b.State || a.cgroup(a.Nodes[0]) == b.cgroup(b.Nodes[0]) {
		t.Errorf("%+v and %+v share something: they could not run side by side", a, b)
	}
	var got []string
	for _, n := range a.Nodes {
		got = append(got, n.Name+" "+n.Region)
	}
	if diff := cmp.Diff([]string{"n1 eu", "n2 us"}, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	for name, tc := range map[string]struct {
		id     string
		nodes  int
		reason string
	}{
		"long":  {"abcdefghij", 1, "links have names of at most fifteen bytes"},
		"upper": {"Dev", 1, "the id is part of paths and of names of links"},
		"none":  {"dev", 0, "the control plane runs on a node"},
		"many":  {"dev", 10, "names of links have room for one digit"},
	} {
		if _, err := NewPlan(tc.id, "", "/state", "/bin", tc.nodes); err == nil {
			t.Errorf("%s: plan accepted: %s", name, tc.reason)
		}
	}
}

// A cluster that shares the network of another one is found by it, and no other.
func TestGuests(t *testing.T) {
	home := t.TempDir()
	for id, beside := range map[string]string{"a": "", "ab": "a", "b": "", "bb": "b"} {
		p, err := NewPlan(id, beside, home, "/bin", 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.MkdirAll(p.State, 0o755), os.WriteFile(p.besideFile(), []byte(beside), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	a, err := NewPlan("a", "", home, "/bin", 2)
	if err != nil {
		t.Fatal(err)
	}
	guests := a.guests()
	if len(guests) != 1 || guests[0].ID != "ab" || guests[0].Bridge() != a.Bridge() || guests[0].Nodes[0].Address == a.Nodes[0].Address {
		t.Errorf("guests of a are %+v, want ab on its bridge", guests)
	}
}

func TestPKI(t *testing.T) {
	p, err := NewPlan("a", "", t.TempDir(), "/bin", 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.writePKI(); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(p.pki("ca.crt"))
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		t.Fatalf("authority: %v", err)
	}
	for file, host := range map[string]string{
		"apiserver.crt":          p.Nodes[0].Address,
		"kubelet-serving-n2.crt": p.Nodes[1].Address,
	} {
		text, err := os.ReadFile(p.pki(file))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{DNSName: host, Roots: roots}); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestLifecycle starts a cluster of one node, and looks for what it leaves. It
// takes root and programs that `e2e build` compiled into $E2E_BIN.
func TestLifecycle(t *testing.T) {
	bin := os.Getenv("E2E_BIN")
	if os.Geteuid() != 0 || bin == "" {
		t.Skip("wants root, and E2E_BIN to be the folder that `e2e build` fills")
	}
	state := t.TempDir()
	e2e := filepath.Join(t.TempDir(), "e2e")
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	run("go", "build", "-o", e2e, "..")
	flags := []string{"--id", "cycle", "--nodes", "1", "--bin", bin, "--state", state, "--source", "../../.."}
	before := traces(t)
	t.Cleanup(func() { _ = exec.Command(e2e, append([]string{"down"}, flags...)...).Run() })
	run(e2e, append([]string{"up"}, flags...)...)
	run(e2e, append([]string{"down"}, flags...)...)
	if diff := cmp.Diff(before, traces(t)); diff != "" {
		t.Errorf("left after down (-before +after):\n%s", diff)
	}
	if entries, err := os.ReadDir(state); err == nil && len(entries) > 0 {
		t.Errorf("left in the folder of clusters: %v", entries)
	}
}

// traces are what a cluster could leave on the machine: processes of its own,
// links, routes, mounts, cgroups, rules, and values of sysctls.
func traces(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for what, command := range map[string]string{
		"links":     "ip -o link | cut -d: -f2 | grep e2e-cycle || true",
		"routes":    "ip route | grep e2e-cycle || true",
		"mounts":    "grep -c cycle /proc/self/mounts || true",
		"rules":     "nft list ruleset",
		"cgroups":   "find /sys/fs/cgroup -type d -name 'moqrelay-cycle*'",
		"processes": "pgrep -fa -- '--id cycle|/cycle/' || true",
		"sysctls":   "cat /proc/sys/vm/overcommit_memory /proc/sys/kernel/panic /proc/sys/net/ipv4/ip_forward",
	} {
		b, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, b)
		}
		var lines []string
		for line := range strings.Lines(string(b)) {
			if !strings.Contains(line, "pgrep") {
				lines = append(lines, line)
			}
		}
		out[what] = strings.Join(lines, "")
	}
	return out
}
