package relaycluster

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// maxNote bounds the text of an event, as in its API.
const maxNote = 1024

// tell writes an event for every condition that turned.
func (r *Reconciler) tell(c *v1alpha1.RelayCluster, before, after []metav1.Condition) {
	for _, now := range after {
		if !hasTurned(meta.FindStatusCondition(before, now.Type), now) {
			continue
		}
		// Ready repeats what another condition has said already, unless it is
		// good or nobody else says it.
		if now.Type == v1alpha1.ConditionReady && isSaidElsewhere(after, now) {
			continue
		}
		kind := corev1.EventTypeNormal
		if isBad(now) {
			kind = corev1.EventTypeWarning
		}
		r.Recorder.Eventf(c, nil, kind, now.Reason, now.Type, "%s", truncate(now.Message, maxNote))
	}
	if meta.FindStatusCondition(before, v1alpha1.ConditionPaused) != nil && meta.FindStatusCondition(after, v1alpha1.ConditionPaused) == nil {
		r.Recorder.Eventf(c, nil, corev1.EventTypeNormal, "Resumed", v1alpha1.ConditionPaused, "spec.paused is no longer true")
	}
}

// hasTurned reports whether a condition has changed in a way to tell of; was is
// nil if it is new. That pods, addresses and autoscalers are not there yet is
// nothing to tell of.
func hasTurned(was *metav1.Condition, now metav1.Condition) bool {
	takesTime := false
	switch now.Type {
	case v1alpha1.ConditionAvailable, v1alpha1.ConditionExposureReady, v1alpha1.ConditionAutoscalingActive:
		takesTime = true
	}
	switch {
	case now.Status == metav1.ConditionUnknown:
		return false
	case was == nil:
		return now.Status == metav1.ConditionTrue || !takesTime
	default:
		return was.Status != now.Status || was.Reason != now.Reason && !takesTime
	}
}

func isSaidElsewhere(conditions []metav1.Condition, ready metav1.Condition) bool {
	for _, c := range conditions {
		if c.Type != v1alpha1.ConditionReady && c.Status == ready.Status && c.Reason == ready.Reason {
			return true
		}
	}
	return false
}

// isBad reports whether a condition is for someone to look at.
func isBad(c metav1.Condition) bool {
	switch c.Type {
	case v1alpha1.ConditionProgressing:
		return c.Reason == v1alpha1.ReasonRolloutStuck
	case v1alpha1.ConditionPaused:
		return false
	default:
		return c.Status == metav1.ConditionFalse
	}
}
