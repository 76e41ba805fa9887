// Package rollout plans how the pods of a cluster get a new revision: one canary
// in the first region, then the root, then the regions one by one, in each the
// highest ordinal first, and never a pod before the one replaced last is
// available. It is pure: what was seen goes in, a partition for each StatefulSet
// comes out.
//
// A StatefulSet at rest is held at a partition that no ordinal reaches, so that a
// changed template replaces nothing by itself, and pods that an autoscaler adds
// meanwhile are of the old revision, which is proven. A set gets a lower one when
// a pod of it is to be replaced, and is held again as soon as there is a new pod
// that has not proven itself: holding takes nothing back from that pod, and those
// that the set grows by are of the old revision. Once the new one is proven, the
// partition stays at the lowest pod that has it, for those to come.
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

// Pod is what was seen of a pod that is to stay.
type Pod struct {
	Name     string
	Ordinal  int32
	Revision string
	// Available says that the pod has been ready for as long as its set asks and
	// is back in the cluster.
	Available bool
	// Waits says what a pod lacks that is not available, Failing that it says so
	// itself and time will not help.
	Waits   string
	Failing bool
	// Since is since when a pod is not ready, zero if it is.
	Since time.Time
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
	// Held says that pods are to be replaced that Pause keeps.
	Held bool
	// Mixed holds the sets, by name, that have pods of both revisions: none of
	// their pods are to be taken away meanwhile.
	Mixed map[string]bool
}

// Next plans the next step for the sets in the order in which they are to be
// rolled; canary names the one whose last pod goes before all others, if it has
// any. At most one set advances by one pod.
func Next(sets []Set, canary string) Plan {
	plan := rest(sets)
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

// Pause returns the plan that replaces no further pod. One that was replaced before
// and does not become available is told all the same.
func Pause(sets []Set) Plan {
	plan := rest(sets)
	for _, s := range sets {
		if !s.Observed || s.done() {
			continue
		}
		plan.Held = plan.Held || s.anyOutdated()
		if plan.Waiting == nil {
			plan.Waiting = s.unproven()
		}
	}
	return plan
}

// rest leaves every set as it is.
func rest(sets []Set) Plan {
	plan := Plan{Partitions: map[string]int32{}, Mixed: map[string]bool{}}
	for _, s := range sets {
		plan.Partitions[s.Name] = s.rest()
		plan.Mixed[s.Name] = s.Observed && s.begun() && !s.done()
	}
	return plan
}

// step advances the set by one pod if its updated pods are available.
func (p *Plan) step(s Set) {
	p.Rolling = true
	if !s.Observed {
		return
	}
	if pod := s.unproven(); pod != nil {
		p.Waiting = pod
		return
	}
	for ordinal := s.Replicas - 1; ordinal >= 0; ordinal-- {
		if s.outdated(ordinal) {
			p.Partitions[s.Name] = ordinal
			return
		}
		if _, exists := s.pod(ordinal); !exists {
			p.Partitions[s.Name] = s.Partition
			return // about to be made, with the new revision
		}
	}
}

// unproven returns the last pod of the new revision that is not available, nil if
// all are. It may stand below old ones: those that the set grew by since.
func (s Set) unproven() *Pod {
	var last *Pod
	for _, pod := range s.updated() {
		if !pod.Available && (last == nil || pod.Ordinal > last.Ordinal) {
			last = &pod
		}
	}
	return last
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
	return len(s.updated()) > 0 && s.unproven() == nil
}

// done reports whether nothing is left to be replaced, and the controller has
// taken note: until then a new pod below the partition would be of the old
// revision.
func (s Set) done() bool {
	return s.Observed && !s.anyOutdated() && s.CurrentRevision == s.UpdateRevision
}

// rest is the partition of a set of which no pod is replaced now. One that has
// begun is kept where its updated pods stay updated, once they are proven.
func (s Set) rest() int32 {
	switch {
	case !s.Observed:
		return s.Partition
	case s.done() || !s.begun():
		return Hold
	case !s.anyOutdated():
		return 0
	case s.isBeingMade():
		return s.Partition
	case s.unproven() != nil:
		return Hold
	default:
		return s.reached()
	}
}

// reached returns the ordinal from which on all pods have the new revision, Hold
// if not even the last one has.
func (s Set) reached() int32 {
	reached := Hold
	for ordinal := s.Replicas - 1; ordinal >= 0; ordinal-- {
		if pod, exists := s.pod(ordinal); !exists || pod.Revision != s.UpdateRevision {
			break
		}
		reached = ordinal
	}
	return reached
}

// isBeingMade reports whether a pod is missing that will have the new revision
// if the partition stays.
func (s Set) isBeingMade() bool {
	for ordinal := s.Partition; ordinal < s.Replicas; ordinal++ {
		if _, exists := s.pod(ordinal); !exists {
			return true
		}
	}
	return false
}

// begun reports whether a pod has the new revision or is about to be made with
// it.
func (s Set) begun() bool { return s.isBeingMade() || len(s.updated()) > 0 }

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
