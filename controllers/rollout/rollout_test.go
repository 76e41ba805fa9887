package rollout

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// set describes a set of revision old that is to become new by its pods, from
// ordinal 0: o is old, O old and unavailable, n new, N new and unavailable, and _
// missing.
func set(name, pods string, partition int32) Set {
	s := Set{
		Name: name, Observed: true, Replicas: int32(len(pods)), Partition: partition,
		CurrentRevision: "old", UpdateRevision: "new",
	}
	for i, c := range pods {
		p := Pod{Name: fmt.Sprintf("%s-%d", name, i), Ordinal: int32(i)}
		switch c {
		case 'o', 'O':
			p.Revision, p.Available = "old", c == 'o'
		case 'n', 'N':
			p.Revision, p.Available = "new", c == 'n'
		default:
			continue
		}
		s.Pods = append(s.Pods, p)
	}
	return s
}

// at returns the set after the controller has noted that all pods are at the
// revision.
func at(s Set, revision string) Set {
	s.CurrentRevision = revision
	return s
}

func unobserved(s Set) Set {
	s.Observed = false
	return s
}

func TestNext(t *testing.T) {
	type partitions = map[string]int32
	tests := map[string]struct {
		reason  string
		sets    []Set // root, eu, us; eu has the canary
		want    partitions
		rolling bool
		waiting string
	}{
		"AtRest": {
			reason: "all pods have the newest revision: everything is held",
			sets:   []Set{at(set("root", "n", Hold), "new"), at(set("eu", "nn", Hold), "new"), at(set("us", "nn", Hold), "new")},
			want:   partitions{"root": Hold, "eu": Hold, "us": Hold},
		},
		"NotObserved": {
			reason:  "the revisions are those of before the change",
			sets:    []Set{set("root", "o", Hold), unobserved(at(set("eu", "nn", Hold), "new")), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": Hold, "us": Hold},
			rolling: true,
		},
		"Canary": {
			reason:  "the last pod of the first region goes first, alone",
			sets:    []Set{set("root", "o", Hold), set("eu", "ooo", Hold), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": 2, "us": Hold},
			rolling: true,
		},
		"CanaryBeingReplaced": {
			reason:  "the old pod is gone and the new one not made yet",
			sets:    []Set{set("root", "o", Hold), set("eu", "oo_", 2), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": 2, "us": Hold},
			rolling: true,
		},
		"CanaryFails": {
			reason:  "a bad image stops at one pod",
			sets:    []Set{set("root", "o", Hold), set("eu", "ooN", 2), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": Hold, "us": Hold},
			rolling: true,
			waiting: "eu-2",
		},
		"CanaryFailsAndRegionGrows": {
			reason:  "a pod that the autoscaler asked for before the set was held: the plan does not advance",
			sets:    []Set{set("root", "o", Hold), set("eu", "ooNN", 2), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": Hold, "us": Hold},
			rolling: true,
			waiting: "eu-3",
		},
		"GrownAboveFailingCanary": {
			reason:  "the set was held, so its new pods are old and work: they are not for the bad image",
			sets:    []Set{set("root", "o", Hold), set("eu", "ooNoo", Hold), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": Hold, "us": Hold},
			rolling: true,
			waiting: "eu-2",
		},
		"GrowingAboveFailingCanary": {
			reason:  "pods that are not made yet will be old",
			sets:    []Set{set("root", "o", Hold), set("eu", "ooN__", Hold), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": Hold, "us": Hold},
			rolling: true,
			waiting: "eu-2",
		},
		"GrownAboveProvenCanary": {
			reason:  "their turn comes first when that of the region does",
			sets:    []Set{at(set("root", "n", Hold), "new"), set("eu", "oonoo", Hold), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": 4, "us": Hold},
			rolling: true,
		},
		"CanaryIsEvicted": {
			reason:  "it came back with the old revision, for the set was held: it goes again",
			sets:    []Set{set("root", "o", Hold), set("eu", "ooo", Hold), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": 2, "us": Hold},
			rolling: true,
		},
		"ProvenCanaryIsEvicted": {
			reason:  "it is made anew as it was",
			sets:    []Set{set("root", "o", Hold), set("eu", "oo_", 2), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": 2, "us": Hold},
			rolling: true,
		},
		"CanaryBecomesAvailable": {
			reason:  "held while it was not, its set takes the new revision for good now",
			sets:    []Set{set("root", "o", Hold), set("eu", "oon", Hold), set("us", "oo", Hold)},
			want:    partitions{"root": 0, "eu": 2, "us": Hold},
			rolling: true,
		},
		"RootAfterCanary": {
			reason:  "servers are to speak the new version before the other nodes",
			sets:    []Set{set("root", "o", Hold), set("eu", "oon", 2), set("us", "oo", Hold)},
			want:    partitions{"root": 0, "eu": 2, "us": Hold},
			rolling: true,
		},
		"RegionsAfterRoot": {
			reason:  "the canary's region goes on with its next pod",
			sets:    []Set{at(set("root", "n", 0), "new"), set("eu", "oon", 2), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": 1, "us": Hold},
			rolling: true,
		},
		"OneRegionAtATime": {
			reason:  "us waits for the last pod of eu",
			sets:    []Set{at(set("root", "n", Hold), "new"), set("eu", "Nnn", 0), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": 0, "us": Hold},
			rolling: true,
			waiting: "eu-0",
		},
		"NotNotedByController": {
			reason:  "a pod made now would be of the old revision if the set were held",
			sets:    []Set{at(set("root", "n", Hold), "new"), set("eu", "nnn", 0), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": 0, "us": Hold},
			rolling: true,
		},
		"NextRegion": {
			reason:  "eu is done and held again",
			sets:    []Set{at(set("root", "n", Hold), "new"), at(set("eu", "nnn", 0), "new"), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": Hold, "us": 1},
			rolling: true,
		},
		"Reverted": {
			reason:  "the template is the proven one again: only the broken canary is replaced",
			sets:    []Set{at(set("root", "n", Hold), "new"), at(set("eu", "nnO", 2), "new"), at(set("us", "nn", Hold), "new")},
			want:    partitions{"root": Hold, "eu": 2, "us": Hold},
			rolling: true,
		},
		"FixedForward": {
			reason:  "the broken canary is replaced by a third revision",
			sets:    []Set{set("root", "o", Hold), set("eu", "ooO", 2), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": 2, "us": Hold},
			rolling: true,
		},
		"ChangedHalfway": {
			reason:  "a third revision starts with one pod again, whatever the second had reached",
			sets:    []Set{set("root", "o", 0), set("eu", "ooo", 1), set("us", "oo", 0)},
			want:    partitions{"root": Hold, "eu": 2, "us": Hold},
			rolling: true,
		},
		"BrokenFromTheStart": {
			reason:  "pods that never worked do not hold up the revision that mends them",
			sets:    []Set{set("root", "O", Hold), set("eu", "OOn", 2), set("us", "OO", Hold)},
			want:    partitions{"root": 0, "eu": 2, "us": Hold},
			rolling: true,
		},
		"NoPodsAtAll": {
			reason:  "pods that were refused are made from the new revision",
			sets:    []Set{set("root", "_", Hold), set("eu", "___", Hold), set("us", "__", Hold)},
			want:    partitions{"root": Hold, "eu": 2, "us": Hold},
			rolling: true,
		},
		"GrowingAtRest": {
			reason: "pods to come are no rollout",
			sets:   []Set{at(set("root", "n", Hold), "new"), at(set("eu", "n__", Hold), "new"), at(set("us", "nN", Hold), "new")},
			want:   partitions{"root": Hold, "eu": Hold, "us": Hold},
		},
		"ParkedCanaryRegion": {
			reason:  "a region without pods proves nothing and holds nothing up",
			sets:    []Set{set("root", "o", Hold), at(set("eu", "", Hold), "new"), set("us", "oo", Hold)},
			want:    partitions{"root": 0, "eu": Hold, "us": Hold},
			rolling: true,
		},
		"RestartedByHand": {
			reason:  "kubectl rollout restart of one region is stepped too",
			sets:    []Set{at(set("root", "n", Hold), "new"), at(set("eu", "nn", Hold), "new"), set("us", "oo", Hold)},
			want:    partitions{"root": Hold, "eu": Hold, "us": 1},
			rolling: true,
		},
		"Shrinking": {
			reason:  "a pod above the wanted number is about to go",
			sets:    []Set{at(set("root", "n", Hold), "new"), shrunk(set("eu", "noN", 1), 2), at(set("us", "nn", Hold), "new")},
			want:    partitions{"root": Hold, "eu": 1, "us": Hold},
			rolling: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Next(tt.sets, "eu")
			if diff := cmp.Diff(tt.want, got.Partitions); diff != "" {
				t.Errorf("%s: partitions (-want +got):\n%s", tt.reason, diff)
			}
			if got.Rolling != tt.rolling {
				t.Errorf("%s: rolling is %v", tt.reason, got.Rolling)
			}
			waiting := ""
			if got.Waiting != nil {
				waiting = got.Waiting.Name
			}
			if waiting != tt.waiting {
				t.Errorf("%s: waits for %q, want %q", tt.reason, waiting, tt.waiting)
			}
		})
	}
}

func TestPause(t *testing.T) {
	tests := map[string]struct {
		reason  string
		sets    []Set
		want    map[string]int32
		mixed   map[string]bool
		held    bool
		waiting string // name of the pod
	}{
		"AtRest": {
			reason: "there is nothing to hold",
			sets:   []Set{at(set("eu", "nn", Hold), "new")},
			want:   map[string]int32{"eu": Hold}, mixed: map[string]bool{"eu": false},
		},
		"NotBegun": {
			reason: "no pod is replaced",
			sets:   []Set{set("root", "o", Hold), set("eu", "oo", Hold)},
			want:   map[string]int32{"root": Hold, "eu": Hold}, mixed: map[string]bool{"root": false, "eu": false}, held: true,
		},
		"Halfway": {
			reason: "what is new stays new, and an autoscaler may take neither away",
			sets:   []Set{at(set("root", "n", Hold), "new"), set("eu", "oon", 1)},
			want:   map[string]int32{"root": Hold, "eu": 2}, mixed: map[string]bool{"root": false, "eu": true}, held: true,
		},
		"OnlyPodFails": {
			reason: "that it fails is told although nothing is left to be replaced",
			sets:   []Set{at(set("root", "n", Hold), "new"), set("eu", "N", 0)},
			want:   map[string]int32{"root": Hold, "eu": 0}, mixed: map[string]bool{"root": false, "eu": true},
			waiting: "eu-0",
		},
		"CanaryFails": {
			reason: "that it fails is told although nothing goes on",
			sets:   []Set{set("root", "o", Hold), set("eu", "ooN", 2)},
			want:   map[string]int32{"root": Hold, "eu": Hold}, mixed: map[string]bool{"root": false, "eu": true}, held: true,
			waiting: "eu-2",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := Plan{Partitions: tt.want, Mixed: tt.mixed, Held: tt.held}
			got := Pause(tt.sets)
			if got.Waiting != nil && got.Waiting.Name == tt.waiting {
				want.Waiting = got.Waiting
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

// A set that stops in the middle keeps all its pods: one that an autoscaler took
// away would be the canary.
func TestMixedWhileCanaryFails(t *testing.T) {
	plan := Next([]Set{set("root", "o", Hold), set("eu", "ooN", 2), set("us", "oo", Hold)}, "eu")
	if want := map[string]bool{"root": false, "eu": true, "us": false}; !cmp.Equal(want, plan.Mixed) {
		t.Errorf("sets of two revisions: %v, want %v", plan.Mixed, want)
	}
}

func shrunk(s Set, replicas int32) Set {
	s.Replicas = replicas
	return s
}

// Without surprises from outside, following the plan replaces every pod once,
// one at a time and in the order promised.
func TestNextReplacesEveryPodOnce(t *testing.T) {
	sets := []Set{set("root", "oo", Hold), set("eu", "ooo", Hold), set("us", "o", Hold)}
	want := []string{"eu-2", "root-1", "root-0", "eu-1", "eu-0", "us-0"}
	var replaced []string
	for range 100 {
		plan := Next(sets, "eu")
		if !plan.Rolling {
			break
		}
		for i := range sets {
			replaced = append(replaced, control(&sets[i], plan.Partitions[sets[i].Name])...)
		}
	}
	if diff := cmp.Diff(want, replaced); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	for _, s := range sets {
		if !s.done() {
			t.Errorf("%s is not done", s.Name)
		}
	}
}

// control does what the StatefulSet controller does with a partition.
func control(s *Set, partition int32) (replaced []string) {
	s.Partition = partition
	for i := range s.Pods {
		if p := &s.Pods[i]; p.Ordinal >= partition && p.Revision != s.UpdateRevision {
			p.Revision = s.UpdateRevision
			replaced = append(replaced, p.Name)
		}
	}
	if !s.anyOutdated() {
		s.CurrentRevision = s.UpdateRevision
	}
	return replaced
}
