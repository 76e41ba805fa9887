package v1alpha1

import autoscalingv2 "k8s.io/api/autoscaling/v2"

// Autoscaling becomes a HorizontalPodAutoscaler of the region. Without it, the
// replicas may be driven by anything that speaks to the scale subresource of
// the region's StatefulSet, as KEDA does.
//
// +kubebuilder:validation:XValidation:rule="self.minReplicas <= self.maxReplicas",message="minReplicas: greater than maxReplicas: lower minReplicas or raise maxReplicas"
// +kubebuilder:validation:XValidation:rule="has(self.cpuUtilization) || has(self.sessionsPerPod) || has(self.egressBitsPerSecondPerPod) || (has(self.metrics) && self.metrics.size() > 0)",message="cpuUtilization: nothing to scale by: set cpuUtilization, for example to 60, sessionsPerPod, egressBitsPerSecondPerPod or metrics"
type Autoscaling struct {
	// MinReplicas is the least number of relays.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MinReplicas int32 `json:"minReplicas,omitempty"`
	// MaxReplicas is the greatest number of relays.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxReplicas int32 `json:"maxReplicas"`
	// CPUUtilization is the wanted mean use of CPU, in percent of what the pods
	// request; metrics-server is all it needs.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	CPUUtilization *int32 `json:"cpuUtilization,omitempty"`
	// SessionsPerPod is the wanted mean number of sessions, from the metric
	// moq_relay_sessions of the custom metrics API: an adapter has to serve it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	SessionsPerPod *int32 `json:"sessionsPerPod,omitempty"`
	// EgressBitsPerSecondPerPod is the wanted mean of what a relay sends, from the
	// metric moq_relay_egress_bits_per_second of the custom metrics API: an
	// adapter has to make it, eight times the rate of
	// moq_relay_egress_bytes_total.
	// +optional
	// +kubebuilder:validation:Minimum=1000
	// +kubebuilder:validation:Maximum=1000000000000
	EgressBitsPerSecondPerPod *int64 `json:"egressBitsPerSecondPerPod,omitempty"`
	// Metrics are more to scale by, as a HorizontalPodAutoscaler has them; of all
	// that are given the one counts that asks for most relays.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Metrics []autoscalingv2.MetricSpec `json:"metrics,omitempty"`
	// Behavior of the autoscaler in each direction. Left out, it doubles every
	// 15 seconds upwards, and removes one relay every 5 minutes after 15 quiet
	// minutes.
	// +optional
	Behavior *autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior,omitempty"`
}
