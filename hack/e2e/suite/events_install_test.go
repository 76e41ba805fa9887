package suite

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// helmInstall installs a chart as its README says, with nothing set.
func (s *story) helmInstall(t *testing.T, chart string) string {
	t.Helper()
	return s.run(t, "helm", "upgrade", "--install", release, chart,
		"--namespace", system, "--create-namespace", "--wait", "--timeout", "90s")
}

func (s *story) chart() string { return s.path("charts", "moq-operator") }

// installPrevious installs the release before this one, and runs a RelayCluster by
// it that the watchers are at until the upgrade is over.
func (s *story) installPrevious(t *testing.T) {
	s.helmInstall(t, s.path("charts", "testdata", "moq-operator-0.1.0.tgz"))
	s.makeNamespace(t, old.in, "restricted")
	s.apply(t, old.in, s.manifest(t, old.name, 2, func(int) string { return "" }))
	before := s.at(old)
	before.ready(t, relays)
}

// upgrade upgrades the operator, its definition, and with them the relays, whose
// image nothing names.
func (s *story) upgrade(t *testing.T) {
	s.helmInstall(t, s.chart())
	before := s.at(old)
	for set, replicas := range map[string]int32{"root": 1, "eu": 2, "us": 2} {
		before.serving(t, 3*time.Minute, set, replicas, s.image(t, ""))
	}
	before.ready(t, relays)
}

// leaveOld ends what the upgrade was shown with.
func (s *story) leaveOld(t *testing.T) {
	s.forget()
	s.kubectl(t, "delete", "namespace", old.in, "--wait=false")
}

// Bounds of U7: from nothing but an operator to media that plays.
const (
	mostLines    = 12
	mostCommands = 3
	playableIn   = 60 * time.Second
)

// applyLive applies the RelayCluster and plays through it (U7). Its namespace
// enforces the strictest of the Pod Security Standards.
func (s *story) applyLive(t *testing.T) {
	s.makeNamespace(t, namespace, "restricted")
	manifest := s.manifest(t, live, 1, func(i int) string {
		return fmt.Sprintf(", nodePort: %d, externalTrafficPolicy: Cluster, sessionAffinity: None", firstNodePort+i)
	})
	if lines := strings.Count(manifest, "\n"); lines > mostLines {
		t.Errorf("U7: %d lines of YAML, want at most %d:\n%s", lines, mostLines, manifest)
	}
	began := time.Now()
	// Three commands of the user's: apply, publish, watch.
	s.apply(t, namespace, manifest)
	eu, us := s.source(t, "eu"), s.source(t, "us")
	s.ready(t, 3)
	publisher := s.publish(t, eu, "demo/first")
	s.plays(t, us, "demo/first", playableIn-time.Since(began))
	publisher.end()
	if took := time.Since(began); took > playableIn {
		t.Errorf("U7: playable after %v, want at most %v", took, playableIn)
	}
}

// runNotes runs the commands that the chart prints, as they are printed (U6), and
// its test (U42).
func (s *story) runNotes(t *testing.T) {
	notes := s.run(t, "helm", "get", "notes", release, "-n", system)
	script, err := commandsOf(notes, "demo/clip")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), toolTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail")
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = append(s.Command(ctx, "kubectl").Env, "PATH="+s.Bin+":"+s.path("bin")+":/usr/local/bin:/usr/bin:/bin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("U6: %v\n%s\n%s", err, script, out)
	}
	s.run(t, "kubectl", "delete", "relaycluster", live, "-n", "default", "--wait=false")
}

// commandsOf makes a script of the commands in the notes. The publisher runs
// beside what follows, and the player, which this machine may not have, is one
// that reads the beginning.
func commandsOf(notes, broadcast string) (string, error) {
	var script strings.Builder
	script.WriteString("trap 'kill $(jobs -p)' EXIT\n")
	found := map[string]bool{}
	document := false
	for line := range strings.Lines(notes) {
		command, ok := strings.CutPrefix(line, "   ")
		if strings.HasPrefix(line, "If something does not work") {
			break // what follows is for then
		}
		if !ok || (!document && !isCommand(command)) {
			continue
		}
		switch {
		case strings.Contains(command, "<<YAML"):
			document = true
		case command == "YAML\n":
			document = false
		case strings.HasPrefix(command, "moq pub"):
			command = strings.TrimSuffix(command, "\n") + " 2>/dev/null &\n"
		case strings.HasPrefix(command, "moq sub"):
			command = strings.Replace(command, "ffplay -", "head -c 100000 >/dev/null || true", 1)
		}
		for _, what := range []string{"kubectl apply", "wait", "moq pub", "moq sub", "helm test", broadcast} {
			found[what] = found[what] || strings.Contains(command, what)
		}
		script.WriteString(command)
	}
	for what, there := range found {
		if !there {
			return "", fmt.Errorf("no %q in the notes:\n%s", what, notes)
		}
	}
	return script.String(), nil
}

func isCommand(line string) bool {
	for _, start := range []string{"kubectl ", "helm ", "moq ", "eu=", "us="} {
		if strings.HasPrefix(line, start) {
			return true
		}
	}
	return false
}

// uninstall removes the operator. Relays and RelayClusters stay, and Helm says so.
func (s *story) uninstall(t *testing.T) {
	before := s.uids(t)
	said := s.run(t, "helm", "uninstall", release, "-n", system, "--wait")
	if !strings.Contains(said, "relayclusters.moqrelay.io") {
		t.Errorf("helm does not say that the definition is kept:\n%s", said)
	}
	if _, err := s.relayCluster(t.Context()); err != nil {
		t.Errorf("the RelayCluster: %v", err)
	}
	us := s.source(t, "us")
	s.plays(t, us, broadcast, 15*time.Second)
	s.samePods(t, before)
}

// installAgain installs what was uninstalled: it takes over what it finds.
func (s *story) installAgain(t *testing.T) {
	before := s.uids(t)
	s.helmInstall(t, s.chart())
	s.changeRegion(t, "us", func(r *v1alpha1.Region) { r.Replicas = new(int32(3)) }) // to see that it works
	s.ready(t, relays+1)
	s.changeRegion(t, "us", func(r *v1alpha1.Region) { r.Replicas = new(int32(2)) })
	s.ready(t, relays)
	s.samePods(t, before)
}

// makeNamespace makes a namespace that enforces a level of Pod Security.
func (c *Cluster) makeNamespace(t *testing.T, name, level string) {
	t.Helper()
	eventually(t, 10*time.Second, "namespace "+name, func(ctx context.Context) error {
		return client.IgnoreAlreadyExists(c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name:   name,
			Labels: map[string]string{"pod-security.kubernetes.io/enforce": level},
		}}))
	})
}
