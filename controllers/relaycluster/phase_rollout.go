package relaycluster

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/controllers/resources"
	"github.com/moqrelay/moqrelay/controllers/rollout"
)

// stuckAfter is how long a new pod may take to become available before the
// rollout counts as stuck.
const stuckAfter = 5 * time.Minute

// planRollout decides which pod is replaced next.
func (r *Reconciler) planRollout(_ context.Context, s *scope) error {
	plan := s.nextStep()
	s.waitsSince = s.now
	if r.Steps != nil {
		s.waitsSince = r.Steps.pass(client.ObjectKeyFromObject(s.cluster), s.rolloutSets(), plan.Waiting, s.now)
	}
	s.input.Partitions, s.input.Mixed = plan.Partitions, plan.Mixed
	if (plan.Waiting != nil || plan.Held && s.held != "") && r.Nodes != nil {
		r.Nodes.Soon() // it may be back, or have loaded what it is to trust
	}
	return nil
}

// nextStep plans the rollout from what is there now. No pod is replaced while nodes
// are of two minds about whom to trust, as the new one would be a stranger to some,
// nor while a Secret is missing that the new one mounts, nor while the user says so.
func (s *scope) nextStep() rollout.Plan {
	if s.held != "" || s.cluster.Spec.Upgrade.Paused {
		return rollout.Pause(s.rolloutSets())
	}
	return rollout.Next(s.rolloutSets(), s.canary())
}

// canary returns the key of the region of which a pod is replaced first, "" if none
// has pods.
func (s *scope) canary() string {
	canary := ""
	for _, set := range s.sets {
		seen := s.statefulSet(set)
		if seen == nil || set.Role != resources.RoleRegion || *seen.Spec.Replicas == 0 {
			continue
		}
		if canary == "" || set.Region == s.cluster.Spec.Upgrade.CanaryRegion {
			canary = set.Key()
		}
	}
	return canary
}

// rolloutSets returns the sets that there are, in the order of the spec.
func (s *scope) rolloutSets() []rollout.Set {
	var sets []rollout.Set
	for _, set := range s.sets {
		if seen := s.statefulSet(set); seen != nil {
			sets = append(sets, s.rolloutSet(set, seen))
		}
	}
	return sets
}

// rolloutSet says what was seen of a set. A pod that is being deleted counts as gone:
// the one that follows is to have its revision.
func (s *scope) rolloutSet(set resources.Set, seen *appsv1.StatefulSet) rollout.Set {
	out := rollout.Set{
		Name:            set.Key(),
		Observed:        seen.Status.ObservedGeneration >= seen.Generation,
		CurrentRevision: seen.Status.CurrentRevision,
		UpdateRevision:  seen.Status.UpdateRevision,
		Replicas:        *seen.Spec.Replicas,
	}
	if rolling := seen.Spec.UpdateStrategy.RollingUpdate; rolling != nil && rolling.Partition != nil {
		out.Partition = *rolling.Partition
	}
	for ordinal, pod := range s.podsOf(set) {
		if pod.DeletionTimestamp != nil {
			continue
		}
		out.Pods = append(out.Pods, s.rolloutPod(set, ordinal, pod, seen.Spec.MinReadySeconds))
	}
	return out
}

// rolloutPod says of a pod whether it is available: ready for so long, and back
// in the cluster.
func (s *scope) rolloutPod(set resources.Set, ordinal int32, pod *corev1.Pod, minReadySeconds int32) rollout.Pod {
	out := rollout.Pod{
		Name:     pod.Name,
		Ordinal:  ordinal,
		Revision: pod.Labels[appsv1.ControllerRevisionHashLabelKey],
		Created:  pod.CreationTimestamp.Time,
	}
	available, wait := availability(pod, minReadySeconds, s.now)
	switch {
	case available:
		out.Available, out.Waits = s.joined(set, pod)
	case wait > 0:
		s.lookAgain(wait)
		out.Waits = "it has just become ready"
	default:
		out.Waits, out.Failing = whyNotReady(pod), isFailing(pod)
		out.Since = pod.CreationTimestamp.Time
		if changed := podCondition(pod, corev1.PodReady).LastTransitionTime.Time; changed.After(out.Since) {
			out.Since = changed
		}
	}
	return out
}

// isFailing reports whether a pod says already that it will not become ready by
// itself: its image cannot be had, or its process ends again and again.
func isFailing(pod *corev1.Pod) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			switch w.Reason {
			case "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError":
				return true
			}
		}
	}
	return false
}

// availability reports whether a pod has been ready for so long, and if it is
// ready, how long it has still to be.
func availability(pod *corev1.Pod, minReadySeconds int32, now time.Time) (available bool, wait time.Duration) {
	ready := podCondition(pod, corev1.PodReady)
	if pod.DeletionTimestamp != nil || ready.Status != corev1.ConditionTrue {
		return false, 0
	}
	wait = ready.LastTransitionTime.Add(time.Duration(minReadySeconds) * time.Second).Sub(now)
	return wait <= 0, max(wait, 0)
}

// podCondition returns a condition of a pod, the zero one if it has none.
func podCondition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}
