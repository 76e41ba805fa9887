package resources

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	autoscalingv2ac "k8s.io/client-go/applyconfigurations/autoscaling/v2"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
)

// Metrics of pods that an adapter has to serve.
const (
	metricSessions = "moq_relay_sessions"
	metricEgress   = "moq_relay_egress_bits_per_second"
)

// ofClients selects the series that is about clients: links with other nodes grow
// with the cluster, and more relays do not make them fewer.
var ofClients = metav1ac.LabelSelector().WithMatchLabels(map[string]string{"peer": "client"})

// podsMetric returns the wanted mean of a metric over the pods of a set.
func podsMetric(metric *autoscalingv2ac.MetricIdentifierApplyConfiguration, mean int64) *autoscalingv2ac.MetricSpecApplyConfiguration {
	return autoscalingv2ac.MetricSpec().
		WithType(autoscalingv2.PodsMetricSourceType).
		WithPods(autoscalingv2ac.PodsMetricSource().
			WithMetric(metric).
			WithTarget(autoscalingv2ac.MetricTarget().
				WithType(autoscalingv2.AverageValueMetricType).
				WithAverageValue(*resource.NewQuantity(mean, resource.DecimalSI))))
}

// Autoscaler returns what chooses the replicas of an autoscaled set. While pods
// of the set are being replaced it takes none away: those would be the ones that
// were just replaced, and those being replaced are missing already.
func Autoscaler(in Input, s Set) *autoscalingv2ac.HorizontalPodAutoscalerApplyConfiguration {
	a := s.Autoscaling
	rules := behavior(a.Behavior)
	if in.Mixed[s.Key()] || in.partition(s) < HeldPartition {
		rules.ScaleDown.WithSelectPolicy(autoscalingv2.DisabledPolicySelect)
	}
	spec := autoscalingv2ac.HorizontalPodAutoscalerSpec().
		WithScaleTargetRef(autoscalingv2ac.CrossVersionObjectReference().
			WithAPIVersion("apps/v1").WithKind("StatefulSet").WithName(s.Name())).
		WithMinReplicas(a.MinReplicas).
		WithMaxReplicas(a.MaxReplicas).
		WithBehavior(rules)
	if a.CPUUtilization != nil {
		spec.WithMetrics(autoscalingv2ac.MetricSpec().
			WithType(autoscalingv2.ResourceMetricSourceType).
			WithResource(autoscalingv2ac.ResourceMetricSource().
				WithName(corev1.ResourceCPU).
				WithTarget(autoscalingv2ac.MetricTarget().
					WithType(autoscalingv2.UtilizationMetricType).
					WithAverageUtilization(*a.CPUUtilization))))
	}
	if a.SessionsPerPod != nil {
		spec.WithMetrics(podsMetric(autoscalingv2ac.MetricIdentifier().WithName(metricSessions).WithSelector(ofClients), int64(*a.SessionsPerPod)))
	}
	if a.EgressBitsPerSecondPerPod != nil {
		spec.WithMetrics(podsMetric(autoscalingv2ac.MetricIdentifier().WithName(metricEgress), *a.EgressBitsPerSecondPerPod))
	}
	for _, m := range a.Metrics {
		spec.WithMetrics(as[autoscalingv2ac.MetricSpecApplyConfiguration](m))
	}
	return autoscalingv2ac.HorizontalPodAutoscaler(s.Name(), s.Cluster.Namespace).
		WithLabels(s.labels()).
		WithOwnerReferences(owner(s.Cluster)).
		WithSpec(spec)
}

// behavior completes what a user asks for, direction by direction. Growing is
// quick, because viewers come all at once; shrinking is slow, because each relay
// that goes moves all its viewers.
func behavior(b *autoscalingv2.HorizontalPodAutoscalerBehavior) *autoscalingv2ac.HorizontalPodAutoscalerBehaviorApplyConfiguration {
	policy := func(kind autoscalingv2.HPAScalingPolicyType, value, seconds int32) *autoscalingv2ac.HPAScalingPolicyApplyConfiguration {
		return autoscalingv2ac.HPAScalingPolicy().WithType(kind).WithValue(value).WithPeriodSeconds(seconds)
	}
	up := autoscalingv2ac.HPAScalingRules().
		WithStabilizationWindowSeconds(0).
		WithPolicies(policy(autoscalingv2.PercentScalingPolicy, 100, 15))
	down := autoscalingv2ac.HPAScalingRules().
		WithStabilizationWindowSeconds(900).
		WithPolicies(policy(autoscalingv2.PodsScalingPolicy, 1, 300))
	if b != nil && b.ScaleUp != nil {
		up = as[autoscalingv2ac.HPAScalingRulesApplyConfiguration](b.ScaleUp)
	}
	if b != nil && b.ScaleDown != nil {
		down = as[autoscalingv2ac.HPAScalingRulesApplyConfiguration](b.ScaleDown)
	}
	return autoscalingv2ac.HorizontalPodAutoscalerBehavior().WithScaleUp(up).WithScaleDown(down)
}
