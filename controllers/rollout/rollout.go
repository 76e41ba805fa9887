// Package rollout plans how the pods of a cluster get a new revision: one canary
// in the first region, then the root, then the regions one by one, in each the
// highest ordinal first, and never a pod before the one replaced last is
// available. It is pure: what was seen goes in, a partition for each StatefulSet
// comes out.
//
// A StatefulSet at rest is held at a partition that no ordinal reaches, so that a
// changed template replaces nothing by itself, and pods that an autoscaler adds
// meanwhile are of the old revision, which is proven. Only the set whose turn it
// is has a lower partition: grown then, its new pods are of the new revision,
// for a partition cannot say otherwise.
package rollout

import (
	"slices"
	"time"
)

// Hold is the partition of a set at rest. Holding at the number of pods instead
// would let a scale-up create pods of the unproven revision above it.
const Hold int32 = 100000

// Set is what was seen of a StatefulSet.
type Set struct {
	Name string
	// Observed says that the controller has seen the set as it is now; until
	// then its revisions are those of before.
	Observed bool
	// CurrentRevision is that of new pods below the partition, UpdateRevision
	// that of the template.
	CurrentRevision, UpdateRevision string
	// Replicas is the number of pods there should be.
	Replicas  int32
	Partition int32
	Pods      []Pod
}

// Pod is what was seen of a pod.
type Pod struct {
	Name     string
	Ordinal  int32
	Revision string
	// Available says that the pod has been ready for as long as its set asks.
	Available bool
	// Created is when the pod was made.
	Created time.Time
}

// Plan is the next step.
type Plan struct {
	// Partitions holds the partition of every set, by name.
	Partitions map[string]int32
	// Rolling says that pods are still to be replaced or to become available.
	Rolling bool
	// Waiting is the pod that holds the rollout up, if one does: it has the new
	// revision and is not available yet.
	Waiting *Pod
}

// Next plans the next step for the sets in the order in which they are to be
// rolled; canary names the one whose last pod goes before all others, if it has
// any. At most one set advances by one pod.
func Next(sets []Set, canary string) Plan {
	plan := Plan{Partitions: map[string]int32{}}
	for _, s := range sets {
		plan.Partitions[s.Name] = s.rest()
	}
	if i := slices.IndexFunc(sets, func(s Set) bool { return s.Name == canary }); i >= 0 && !sets[i].proven() {
		plan.step(sets[i])
		return plan
	}
	for _, s := range sets {
		if !s.done() {
			plan.step(s)
			return plan
		}
	}
	return plan
}

// step advances the set by one pod if its updated pods are available.
func (p *Plan) step(s Set) {
	p.Rolling = true
	if !s.Observed {
		return
	}
	for ordinal := s.Replicas - 1; ordinal >= 0; ordinal-- {
		pod, exists := s.pod(ordinal)
		switch {
		case s.outdated(ordinal):
			p.Partitions[s.Name] = ordinal
			return
		case !exists:
			return // about to be made, with the new revision
		case !pod.Available:
			p.Waiting = &pod
			return
		}
	}
}

// proven reports whether the set's revision has shown that it works, or has no
// pod to show it with.
func (s Set) proven() bool {
	if !s.Observed {
		return false
	}
	if s.done() {
		return true
	}
	updated := s.updated()
	return len(updated) > 0 && !slices.ContainsFunc(updated, func(p Pod) bool { return !p.Available })
}

// done reports whether nothing is left to be replaced, and the controller has
// taken note: until then a new pod below the partition would be of the old
// revision.
func (s Set) done() bool {
	return s.Observed && !s.anyOutdated() && s.CurrentRevision == s.UpdateRevision
}

// rest is the partition of a set whose turn it is not. One that has begun stays
// where it is: its updated pods are to stay updated.
func (s Set) rest() int32 {
	switch {
	case !s.Observed:
		return s.Partition
	case s.done() || !s.begun():
		return Hold
	case !s.anyOutdated():
		return 0
	default:
		return s.Partition
	}
}

// begun reports whether a pod has the new revision or is about to be made with
// it.
func (s Set) begun() bool {
	for ordinal := s.Partition; ordinal < s.Replicas; ordinal++ {
		if _, exists := s.pod(ordinal); !exists {
			return true
		}
	}
	return len(s.updated()) > 0
}

// updated returns the pods of the new revision.
func (s Set) updated() []Pod {
	var updated []Pod
	for _, p := range s.Pods {
		if p.Ordinal < s.Replicas && p.Revision == s.UpdateRevision {
			updated = append(updated, p)
		}
	}
	return updated
}

// outdated reports whether the ordinal has a pod of another revision than the
// new one, or none and will get one of the old revision.
func (s Set) outdated(ordinal int32) bool {
	if pod, exists := s.pod(ordinal); exists {
		return pod.Revision != s.UpdateRevision
	}
	return ordinal < s.Partition && s.CurrentRevision != s.UpdateRevision
}

func (s Set) anyOutdated() bool {
	for ordinal := range s.Replicas {
		if s.outdated(ordinal) {
			return true
		}
	}
	return false
}

func (s Set) pod(ordinal int32) (pod Pod, exists bool) {
	i := slices.IndexFunc(s.Pods, func(p Pod) bool { return p.Ordinal == ordinal })
	if i < 0 {
		return Pod{}, false
	}
	return s.Pods[i], true
}
