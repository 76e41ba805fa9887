package relaycluster

import (
	"cmp"
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// maxMessage bounds the message of a condition, as in the schema.
const maxMessage = 32768

// verdict is a condition to be.
type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
}

func yes(reason, message string) verdict { return verdict{metav1.ConditionTrue, reason, message} }
func no(reason, message string) verdict  { return verdict{metav1.ConditionFalse, reason, message} }

// isFault reports whether a condition that need not be True keeps the cluster
// from being ready all the same.
func (v verdict) isFault() bool {
	switch v.reason {
	case v1alpha1.ReasonUpToDate, v1alpha1.ReasonPaused, v1alpha1.ReasonRolloutHeld, v1alpha1.ReasonScalingLimited:
		return false
	default:
		return v.status == metav1.ConditionFalse
	}
}

// conditions returns the conditions, computed from what was seen; only the time
// of their last change is taken from those of before.
func (s *scope) conditions(status v1alpha1.RelayClusterStatus) []metav1.Condition {
	available := s.available(status)
	certificates := s.certificatesReady()
	exposure := s.exposureReady()
	connected := s.clusterConnected()
	progressing := s.progressing()
	autoscaling, autoscaled := s.autoscalingActive()
	var list []metav1.Condition
	add := func(kind string, v verdict) {
		if old := meta.FindStatusCondition(s.cluster.Status.Conditions, kind); old != nil {
			list = append(list, *old)
		}
		meta.SetStatusCondition(&list, metav1.Condition{
			Type: kind, Status: v.status, Reason: v.reason, Message: truncate(v.message, maxMessage),
			ObservedGeneration: status.ObservedGeneration,
			LastTransitionTime: metav1.NewTime(s.now),
		})
	}
	wanted := []verdict{available, certificates, exposure}
	for _, v := range []verdict{connected, progressing, autoscaling} {
		if v.isFault() {
			wanted = append(wanted, v)
		}
	}
	add(v1alpha1.ConditionReady, s.ready(wanted...))
	add(v1alpha1.ConditionAvailable, available)
	add(v1alpha1.ConditionProgressing, progressing)
	add(v1alpha1.ConditionCertificatesReady, certificates)
	add(v1alpha1.ConditionClusterConnected, connected)
	add(v1alpha1.ConditionExposureReady, exposure)
	if autoscaled {
		add(v1alpha1.ConditionAutoscalingActive, autoscaling)
	}
	if s.cluster.Spec.Paused {
		add(v1alpha1.ConditionPaused, yes(v1alpha1.ReasonPaused, "spec.paused is true: nothing but the status is changed"))
	}
	return list
}

// ready sums the others up: the first that is not as it should be.
func (s *scope) ready(others ...verdict) verdict {
	if s.problem != nil {
		return no(s.problem.Reason, s.problem.Message)
	}
	if s.failure != nil && s.cluster.Generation != s.cluster.Status.ObservedGeneration {
		return verdict{metav1.ConditionUnknown, v1alpha1.ReasonUnknown, "the change could not be applied yet: " + s.failure.Error()}
	}
	for _, v := range others {
		if v.status != metav1.ConditionTrue {
			return v
		}
	}
	if s.cluster.Spec.Paused {
		return yes(v1alpha1.ReasonReady, "the cluster serves as it was applied last: spec.paused is true")
	}
	return yes(v1alpha1.ReasonReady, "the cluster serves as the spec asks")
}

// available says whether users find relays. A root that is another cluster's is
// not asked: without it relays serve what they have.
func (s *scope) available(status v1alpha1.RelayClusterStatus) verdict {
	switch {
	case s.cluster.Spec.ExternalRoot == nil && (status.Root == nil || status.Root.ReadyReplicas == 0):
		return no(v1alpha1.ReasonRootUnavailable, "no pod of the root is ready"+s.because(resources.RoleRoot, ""))
	case len(status.Regions) == 0 && !s.isRootExposed():
		return no(v1alpha1.ReasonNoRegions, "there is no region to connect to: add one to spec.regions, or expose the root")
	}
	for _, region := range status.Regions {
		if region.Desired > 0 && region.ReadyReplicas == 0 {
			return no(v1alpha1.ReasonRegionUnavailable, fmt.Sprintf("no pod of region %s is ready%s", region.Name, s.because(resources.RoleRegion, region.Name)))
		}
	}
	return yes(v1alpha1.ReasonAvailable, "the root and every region have a ready pod")
}

// isRootExposed reports whether users reach the root from outside of Kubernetes.
func (s *scope) isRootExposed() bool {
	root := s.cluster.Spec.Root
	return root != nil && root.Exposure.Mode != v1alpha1.ExposureClusterIP
}

// because says why the first pod of a set is not ready, if it is there.
func (s *scope) because(role resources.Role, region string) string {
	for _, set := range s.sets {
		if set.Role != role || set.Region != region {
			continue
		}
		if pod, ok := s.podsOf(set)[0]; ok {
			return ": " + pod.Name + ": " + whyNotReady(pod)
		}
	}
	return ""
}

func (s *scope) progressing() verdict {
	if s.cluster.Spec.Paused {
		return no(v1alpha1.ReasonPaused, "spec.paused is true: what the spec asks of pods is not looked at")
	}
	plan := s.nextStep()
	if pod := plan.Waiting; pod != nil {
		message := fmt.Sprintf("%s has the new revision and is not available: %s", pod.Name, pod.Waits)
		since := pod.Since
		if since.IsZero() {
			since = s.waitsSince
		}
		if age := s.now.Sub(since); age < stuckAfter && !pod.Failing {
			s.lookAgain(stuckAfter - age)
			return yes(v1alpha1.ReasonRollingOut, message)
		}
		return no(v1alpha1.ReasonRolloutStuck, message+"; no other pod is replaced until it is, or until the spec is changed back or mended")
	}
	for _, set := range s.sets {
		seen := s.statefulSet(set)
		if seen == nil || seen.Status.Replicas != *seen.Spec.Replicas {
			return yes(v1alpha1.ReasonScaling, fmt.Sprintf("pods of %s are added or removed", set.Key()))
		}
	}
	switch {
	case plan.Held && s.held != "":
		return yes(v1alpha1.ReasonRollingOut, "pods are to be replaced, and wait: "+s.held)
	case plan.Held:
		return no(v1alpha1.ReasonRolloutHeld, "pods are to be replaced, and none is while spec.upgrade.paused is true")
	}
	if plan.Rolling {
		return yes(v1alpha1.ReasonRollingOut, "pods are replaced one by one")
	}
	return no(v1alpha1.ReasonUpToDate, "all pods are as the spec asks")
}

func (s *scope) certificatesReady() verdict {
	if s.tls != nil {
		return no(s.tls.Reason, s.tls.Message)
	}
	for _, set := range s.sets {
		leaf := s.leaf(set)
		if leaf == nil || !s.now.Before(leaf.Certificate.NotAfter) {
			return no(v1alpha1.ReasonIssuing, fmt.Sprintf("%s has no valid certificate yet", set.Key()))
		}
	}
	if p := cmp.Or(s.notRenewed(), s.ending); p != nil {
		return no(p.Reason, p.Message)
	}
	if p := s.notIssued(); p != nil {
		return no(p.Reason, p.Message)
	}
	if why := s.notYetServed(); why != "" {
		return no(v1alpha1.ReasonNotYetServed, why)
	}
	message := "every certificate is there and valid"
	if s.rotation != "" {
		message += "; " + s.rotation
	}
	return yes(v1alpha1.ReasonCertificatesValid, message)
}

func (s *scope) exposureReady() verdict {
	for _, set := range s.sets {
		if p := s.notExposed(set); p != nil {
			return no(p.Reason, p.Message)
		}
		if s.service(set) == nil {
			return verdict{metav1.ConditionUnknown, v1alpha1.ReasonUnknown, fmt.Sprintf("%s has no Service yet", set.Key())}
		}
	}
	return yes(v1alpha1.ReasonExposed, "every set is reached as its exposure asks")
}

// autoscalingActive passes on what the autoscalers say of themselves. It is
// false if no region has one.
func (s *scope) autoscalingActive() (v verdict, any bool) {
	for _, set := range s.sets {
		if set.Autoscaling == nil {
			continue
		}
		any = true
		hpa, ok := apply.Get[*autoscalingv2.HorizontalPodAutoscaler](s.children, set.Name())
		if !ok {
			return verdict{metav1.ConditionUnknown, v1alpha1.ReasonUnknown, fmt.Sprintf("region %s has no autoscaler yet", set.Key())}, true
		}
		if v := autoscalerVerdict(set, hpa); v.status != metav1.ConditionTrue {
			return v, true
		}
	}
	return yes(v1alpha1.ReasonScalingActive, "every autoscaled region follows its load"), any
}

// tooManyReplicas is the reason of an autoscaler that wants more than it may.
const tooManyReplicas = "TooManyReplicas"

func autoscalerVerdict(set resources.Set, hpa *autoscalingv2.HorizontalPodAutoscaler) verdict {
	conditions := map[autoscalingv2.HorizontalPodAutoscalerConditionType]autoscalingv2.HorizontalPodAutoscalerCondition{}
	for _, c := range hpa.Status.Conditions {
		conditions[c.Type] = c
	}
	if c, ok := conditions[autoscalingv2.ScalingActive]; ok {
		message := fmt.Sprintf("region %s: %s", set.Key(), c.Message)
		limited := conditions[autoscalingv2.ScalingLimited]
		switch {
		case c.Status == corev1.ConditionTrue && limited.Status == corev1.ConditionTrue && limited.Reason == tooManyReplicas:
			return no(v1alpha1.ReasonScalingLimited, fmt.Sprintf("region %s: %s: raise autoscaling.maxReplicas of %d", set.Key(), limited.Message, hpa.Spec.MaxReplicas))
		case c.Status == corev1.ConditionTrue:
			return yes(v1alpha1.ReasonScalingActive, message)
		case strings.Contains(c.Message, "could not find the requested resource") || strings.Contains(c.Message, "metrics.k8s.io"):
			return no(v1alpha1.ReasonNoMetricsAPI, fmt.Sprintf("%s: install %s, or drop autoscaling", message, whoServesMetrics(c.Message)))
		default:
			return no(v1alpha1.ReasonMetricMissing, message)
		}
	}
	return verdict{metav1.ConditionUnknown, v1alpha1.ReasonUnknown, fmt.Sprintf("the autoscaler of region %s has not looked yet", set.Key())}
}

// whoServesMetrics returns what serves the API that an autoscaler says it lacks.
func whoServesMetrics(message string) string {
	for _, api := range []string{"custom", "external"} {
		if strings.Contains(message, api+" metrics API") || strings.Contains(message, api+".metrics.k8s.io") {
			return "an adapter that serves " + api + " metrics"
		}
	}
	return "metrics-server"
}
