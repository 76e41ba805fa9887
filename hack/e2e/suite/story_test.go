package suite

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "keep the table in docs/reliability.md")

// TestStory is the whole life of a RelayCluster with media running. Its table is
// what is promised about reliability.
func TestStory(t *testing.T) {
	s := &story{Cluster: open(t)}
	began := time.Now()
	t.Cleanup(func() {
		t.Logf("%d events in %v\n\n%s", len(s.results), time.Since(began).Round(time.Second), table(s.results))
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
}

// begin installs the operator, applies the RelayCluster and starts the media.
// Without these there is no story.
func (s *story) begin(t *testing.T) {
	t.Helper()
	for _, e := range []event{
		{name: "install by Helm", kind: planned, do: s.install},
		{name: "apply", kind: planned, do: s.applyLive},
	} {
		if s.happens(t, e); t.Failed() {
			t.FailNow()
		}
	}
	eu, us := s.source(t, "eu"), s.source(t, "us")
	s.roots = []string{eu.roots, us.roots}
	s.publish(t, eu, broadcast)
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

// watcherCount is how many watch, spread by Kubernetes over the pods of a region.
const watcherCount = 3

// events are what happens, in this order.
func (s *story) events() []event {
	return []event{
		{name: "scale the regions up by hand", kind: planned, do: s.scaleUp},
		{name: "scale a region down by hand", kind: planned, do: s.scaleDown},
		{name: "scale it up again", kind: planned, do: s.scaleBack},
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
		{name: "delete each Service", kind: unplanned, do: s.deleteServices},
		{name: "delete each StatefulSet", kind: unplanned, do: s.deleteSets},
		{name: "kill a region pod", kind: unplanned, do: s.killRegionPod},
		{name: "kill the root pod", kind: unplanned, do: s.killRootPod},
		{name: "kill the operator in mid-rollout", kind: unplanned, do: s.killOperator},
		{name: "kill kubelet", kind: unplanned, do: s.killKubelet},
		{name: "API server down for 60 s", kind: unplanned, do: s.stopAPIServer},
	}
}

// firstNodePort is where the first region is reached. A port that is named
// comes back with a Service that was deleted.
const firstNodePort = 30443

// liveManifest is the RelayCluster of the story: a region on each machine,
// reached at its node port. It is as long as U7 allows.
func (s *story) liveManifest(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: moqrelay.io/v1alpha1
kind: RelayCluster
metadata: {name: %s}
spec:
  root: {}
  regions:
`, live)
	for i, region := range []string{"eu", "us"} {
		fmt.Fprintf(&b, `  - name: %q
    exposure: {mode: NodePort, nodePort: %d, hostnames: [%q], sessionAffinity: None}
    pod: {nodeSelector: {topology.kubernetes.io/region: %[1]s}}
`, region, firstNodePort+i, s.region(t, region).Address)
	}
	return b.String()
}
