package v1alpha1

import corev1 "k8s.io/api/core/v1"

// PodSettings are what a user may set on the pods of relays. Settings of the
// root or of a region come before those of the cluster: maps are merged key by
// key, lists and everything else are replaced whole.
type PodSettings struct {
	// Resources of the relay. What is requested of CPU is what autoscaling
	// measures against; a limit of memory bounds the cache of the relay.
	// +optional
	Resources *Resources `json:"resources,omitempty"`
	// NodeSelector chooses machines by label.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Tolerations of taints.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// Affinity to machines and to other pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// TopologySpreadConstraints replace the default, which spreads a set softly
	// over zones and machines. One without a labelSelector counts the pods of
	// its own set.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	// PriorityClassName of the pods.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// Labels of the pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('moqrelay.io/') && !k.startsWith('app.kubernetes.io/'))",message="labels: those that begin with moqrelay.io/ or app.kubernetes.io/ are the operator's: choose other names"
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations of the pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Annotations map[string]string `json:"annotations,omitempty"`
	// ExtraEnv is added to the environment of the relay.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(e, e.name != 'POD_NAME')",message="extraEnv: POD_NAME is the operator's, the relay's name is made from it: choose another name"
	ExtraEnv []corev1.EnvVar `json:"extraEnv,omitempty"`
	// ExtraArgs are added to the command line of the relay, such as
	// --max-sessions=2000.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^--[a-z]'))",message="extraArgs: want one flag per item, such as --max-sessions=2000"
	// +kubebuilder:validation:XValidation:rule="!self.exists(a, a.matches('^--(bind|private-bind|tls-cert|tls-key|tls-root|cluster-root|cluster-node|region|drain-timeout)(=|$)'))",message="extraArgs: --bind, --private-bind, --tls-cert, --tls-key, --tls-root, --cluster-root, --cluster-node, --region and --drain-timeout are the operator's: use the fields of the spec"
	ExtraArgs []string `json:"extraArgs,omitempty"`
}

// Resources are requests and limits of a relay. What is not given and has no
// limit is requested as 250m of CPU and 256Mi of memory.
type Resources struct {
	// Requests are what the scheduler sets aside.
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`
	// Limits are what the relay may use at most. Without any resources at all,
	// memory is limited to 1Gi.
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
}
