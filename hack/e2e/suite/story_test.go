package suite

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/moqrelay/moqrelay/hack/e2e/provider"
)

var update = flag.Bool("update", false, "keep the table in docs/reliability.md")

// TestStory is the whole life of a RelayCluster with media running. Its table is
// what is promised about reliability.
func TestStory(t *testing.T) {
	noteTier(t)
	s := &story{subject: subject{open(t), namespace, live}}
	began := time.Now()
	t.Cleanup(func() {
		text := fmt.Sprintf("%s\n%d events in %v\n", table(s.results), len(s.results), time.Since(began).Round(time.Second))
		t.Log("\n" + text)
		if file := os.Getenv(provider.EnvironmentTable); file != "" {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Error(err)
			}
		}
		if *update && !t.Failed() {
			if err := keep(s.path("docs", "reliability.md"), markdown(s.results)); err != nil {
				t.Error(err)
			}
		}
	})
	s.begin(t)
	for _, e := range s.events() {
		s.happens(t, e)
	}
	s.worksOffline(t)
}

// worksOffline fails if a node has asked a registry for something (U19). Those of
// the rig have no way to one.
func (s *story) worksOffline(t *testing.T) {
	t.Helper()
	if s.Provider != provider.Local {
		return
	}
	var events corev1.EventList
	if err := s.List(t.Context(), &events); err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		if e.Reason == "Pulling" {
			t.Errorf("U19: %s/%s: %s", e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Message)
		}
	}
}

// noteTier says that tier 4 runs, to whoever asks by MOQ_TIERS_FILE.
func noteTier(t *testing.T) {
	t.Helper()
	file := os.Getenv("MOQ_TIERS_FILE")
	if file == "" || os.Getenv(provider.EnvironmentCluster) == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("tier 4\n")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// begin brings the operator, by an upgrade, applies the RelayCluster and starts
// the media. Without these there is no story.
func (s *story) begin(t *testing.T) {
	t.Helper()
	first := func(e event) {
		if s.happens(t, e); t.Failed() {
			t.FailNow()
		}
	}
	first(event{name: "install the release before by Helm", kind: planned, do: s.installPrevious})
	s.follow(t, s.at(old))
	first(event{name: "helm upgrade to this one", kind: planned, do: s.upgrade, lossy: "relays of 0.1 do not say that they leave"})
	s.leaveOld(t)
	first(event{name: "apply", kind: planned, do: s.applyLive})
	s.follow(t, s.subject)
}

// old is the RelayCluster of the release before.
var old = subject{in: "old", name: "old"}

// at returns a RelayCluster of the story's Kubernetes.
func (s *story) at(r subject) subject {
	r.Cluster = s.Cluster
	return r
}

// follow has a publisher in eu and watchers in us of a RelayCluster, which count
// from now on.
func (s *story) follow(t *testing.T, at subject) {
	t.Helper()
	eu, us := at.source(t, "eu"), at.source(t, "us")
	s.roots = []string{eu.roots, us.roots}
	s.publisher = s.publish(t, eu, broadcast)
	for i := range watcherCount {
		s.watchers = append(s.watchers, s.watch(t, us, broadcast, fmt.Sprintf("watcher-%d", i)))
	}
	s.window = time.Now()
	if err := s.settle(t.Context()); err != nil {
		s.dump(t)
		t.Fatal(err)
	}
	s.window = time.Now()
}

// forget ends publisher and watchers.
func (s *story) forget() {
	for _, w := range s.watchers {
		w.end()
	}
	s.publisher.end()
	s.watchers, s.publisher = nil, nil
}

// watcherCount is how many watch, spread by Kubernetes over the pods of a region.
const watcherCount = 3

// events are what happens, in this order.
func (s *story) events() []event {
	return []event{
		{name: "the commands of the chart's notes", kind: planned, do: s.runNotes},
		{name: "scale the regions up by hand", kind: planned, do: s.scaleUp},
		{name: "scale a region down by hand", kind: planned, do: s.scaleDown},
		{name: "scale it up again", kind: planned, do: s.scaleBack},
		{name: "scale up by an autoscaler, under load", kind: planned, do: s.scaleByLoad},
		{name: "scale down by it", kind: planned, do: s.scaleByQuiet},
		{name: "delete each Secret, ConfigMap, policy and budget", kind: planned, do: s.deleteQuiet},
		{name: "edit children by hand", kind: planned, do: s.editChildren},
		{name: "roll a new image through", kind: planned, do: s.roll("-next")},
		{name: "roll a broken image", kind: planned, do: s.rollBroken},
		{name: "take the broken image back", kind: planned, do: s.revert},
		{name: "rotate the certificates", kind: planned, do: s.rotateLeaves},
		{name: "rotate the authority", kind: planned, do: s.rotateAuthority},
		{name: "kubectl rollout restart", kind: planned, do: s.rolloutRestart},
		{name: "add a region", kind: planned, do: s.addRegion},
		{name: "remove a region", kind: planned, do: s.removeRegion},
		{name: "a region for each mode of exposure", kind: planned, do: s.reachEveryWay},
		{name: "a neighbour looks around", kind: planned, do: s.lookAsNeighbour},
		{name: "drain a Kubernetes node", kind: planned, do: s.drainNode},
		{name: "a second cluster joins", kind: planned, do: s.secondCluster},
		{name: "helm uninstall", kind: planned, do: s.uninstall},
		{name: "install by Helm", kind: planned, do: s.installAgain},
		{name: "delete each Service", kind: unplanned, do: s.deleteServices},
		{name: "delete each StatefulSet", kind: unplanned, do: s.deleteSets, slow: "the pods of the region go with it, and are drained before new ones can have their names"},
		{name: "kill a region pod", kind: unplanned, do: s.killRegionPod},
		{name: "kill the root pod", kind: unplanned, do: s.killRootPod},
		{name: "kill the operator in mid-rollout", kind: unplanned, do: s.killOperator},
		{name: "kill kubelet", kind: unplanned, do: s.killKubelet},
		{name: "API server down for 60 s", kind: unplanned, do: s.stopAPIServer, slow: "a node whose heartbeats could not be stored may count as dead when the server is back, and then nothing leads to its pods until the next one"},
	}
}

// firstNodePort is where the first region is reached. A port that is named
// comes back with a Service that was deleted.
const firstNodePort = 30443

// manifest is a RelayCluster with a region on each machine, reached at its node
// port; more is what else its exposure says.
func (s *story) manifest(t *testing.T, name string, replicas int, more func(i int) string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: moqrelay.io/v1alpha1
kind: RelayCluster
metadata: {name: %s}
spec:
  root: {}
  regions:
`, name)
	for i, region := range []string{"eu", "us"} {
		fmt.Fprintf(&b, `  - name: %q
    exposure: {mode: NodePort, hostnames: [%q]%s}
    pod: {nodeSelector: {topology.kubernetes.io/region: %[1]s}, resources: {requests: {cpu: 100m}}}
`, region, s.region(t, region).Address, more(i))
		if replicas > 1 {
			fmt.Fprintf(&b, "    replicas: %d\n", replicas)
		}
	}
	return b.String()
}
