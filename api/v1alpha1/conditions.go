package v1alpha1

// Types of condition of a RelayCluster. All but Progressing and Paused are good
// when True; each carries the generation that it was computed for. A condition
// is Unknown when what it is computed from could not be read.
const (
	// ConditionReady is True when the cluster serves as the spec asks: it is
	// Available, CertificatesReady and ExposureReady, no node is known to have
	// lost the root, no rollout is stuck, autoscalers have something to go by,
	// and what the operator wanted to change it could change. Else its reason and
	// message are those of the first that fails. Positive polarity.
	ConditionReady = "Ready"
	// ConditionAvailable is True when the root and every region that is not
	// parked have a ready pod. Positive polarity.
	ConditionAvailable = "Available"
	// ConditionProgressing is True while pods are replaced, added or removed.
	// Neutral: both are fine.
	ConditionProgressing = "Progressing"
	// ConditionCertificatesReady is True when every certificate is there, valid,
	// good for its names, and served by every ready node that could be asked.
	// Positive polarity.
	ConditionCertificatesReady = "CertificatesReady"
	// ConditionClusterConnected is True when every ready node says that it has a
	// session with every root. Unknown when one cannot be asked and none says
	// that it has not. Positive polarity.
	ConditionClusterConnected = "ClusterConnected"
	// ConditionExposureReady is True when every set that is to be reached from
	// outside has an address. Positive polarity.
	ConditionExposureReady = "ExposureReady"
	// ConditionAutoscalingActive is True when the autoscalers of all autoscaled
	// regions can scale; absent when no region is autoscaled. Positive polarity.
	ConditionAutoscalingActive = "AutoscalingActive"
	// ConditionPaused is True while spec.paused holds the operator back.
	// Neutral: absent when it does not.
	ConditionPaused = "Paused"
)

// Reasons of conditions. They are part of the API: scripts match on them.
const (
	// ReasonReady goes with Ready being True.
	ReasonReady = "Ready"
	// ReasonApplyFailed: Ready is False, the API server refused an object.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonInvalidSpec: Ready is False, the spec breaks a rule that the schema
	// could not check.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonStatusRefused: Ready is False, the API server does not take the
	// status: its CustomResourceDefinition is older than the operator.
	ReasonStatusRefused = "StatusRefused"
	// ReasonHostnameNotAllowed: Ready is False, a hostname is under none of the
	// domains that the operator may use.
	ReasonHostnameNotAllowed = "HostnameNotAllowed"
	// ReasonIssuerNotAllowed: Ready is False, the operator may not ask issuers of
	// the kind that the spec names.
	ReasonIssuerNotAllowed = "IssuerNotAllowed"
	// ReasonImageMissing: Ready is False, neither the spec nor the operator names
	// an image.
	ReasonImageMissing = "ImageMissing"

	// ReasonAvailable goes with Available being True.
	ReasonAvailable = "Available"
	// ReasonRootUnavailable: Available is False, no pod of the root is ready.
	ReasonRootUnavailable = "RootUnavailable"
	// ReasonRegionUnavailable: Available is False, a region has no ready pod.
	ReasonRegionUnavailable = "RegionUnavailable"
	// ReasonNoRegions: Available is False, no region is there to connect to.
	ReasonNoRegions = "NoRegions"

	// ReasonClusterConnected goes with ClusterConnected being True.
	ReasonClusterConnected = "ClusterConnected"
	// ReasonRootUnreachable: ClusterConnected is False, no node has a session
	// with every root.
	ReasonRootUnreachable = "RootUnreachable"
	// ReasonPartiallyConnected: ClusterConnected is False, some nodes have no
	// session with a root.
	ReasonPartiallyConnected = "PartiallyConnected"
	// ReasonMetricsUnavailable: ClusterConnected is Unknown, nodes do not answer
	// the operator.
	ReasonMetricsUnavailable = "MetricsUnavailable"

	// ReasonUpToDate: Progressing is False, all pods are as wanted.
	ReasonUpToDate = "UpToDate"
	// ReasonRollingOut: Progressing is True, pods are being replaced.
	ReasonRollingOut = "RollingOut"
	// ReasonScaling: Progressing is True, pods are being added or removed.
	ReasonScaling = "Scaling"
	// ReasonRolloutHeld: Progressing is False, pods are to be replaced, and
	// spec.upgrade.paused keeps them.
	ReasonRolloutHeld = "RolloutHeld"
	// ReasonRolloutStuck: Progressing is False, a new pod does not become ready
	// and no further one is replaced.
	ReasonRolloutStuck = "RolloutStuck"

	// ReasonCertificatesValid goes with CertificatesReady being True.
	ReasonCertificatesValid = "CertificatesValid"
	// ReasonIssuing: CertificatesReady is False, one is being made.
	ReasonIssuing = "Issuing"
	// ReasonCertManagerMissing: CertificatesReady is False, the spec names an
	// issuer and the API server knows no Certificates of cert-manager.
	ReasonCertManagerMissing = "CertManagerMissing"
	// ReasonSecretMissing: CertificatesReady is False, a Secret that the spec
	// names is not there.
	ReasonSecretMissing = "SecretMissing"
	// ReasonSecretInvalid: CertificatesReady is False, a Secret that the spec
	// names holds no usable certificate and key.
	ReasonSecretInvalid = "SecretInvalid"
	// ReasonSANMismatch: CertificatesReady is False, the public certificate
	// lacks a hostname of an exposure.
	ReasonSANMismatch = "SANMismatch"
	// ReasonNearExpiry: CertificatesReady is False, a certificate or authority of
	// the user's or of another cluster is about to end or has ended, or one of the
	// operator's own is and was not renewed.
	ReasonNearExpiry = "NearExpiry"
	// ReasonNotYetServed: CertificatesReady is False, a ready node serves another
	// certificate than the one that was stored minutes ago.
	ReasonNotYetServed = "NotYetServed"

	// ReasonExposed goes with ExposureReady being True.
	ReasonExposed = "Exposed"
	// ReasonLoadBalancerPending: ExposureReady is False, a load balancer has no
	// address yet.
	ReasonLoadBalancerPending = "LoadBalancerPending"
	// ReasonMixedProtocolRefused: ExposureReady is False, the provider of the
	// load balancer does not take UDP and TCP in one.
	ReasonMixedProtocolRefused = "MixedProtocolRefused"
	// ReasonHostPortConflict: ExposureReady is False, a pod finds no machine
	// whose port is free.
	ReasonHostPortConflict = "HostPortConflict"
	// ReasonPodsRefused: ExposureReady is False, no pod may use ports of its
	// machine in this namespace.
	ReasonPodsRefused = "PodsRefused"
	// ReasonNodePortPending: ExposureReady is False, a Service has no node port
	// yet.
	ReasonNodePortPending = "NodePortPending"

	// ReasonScalingActive goes with AutoscalingActive being True.
	ReasonScalingActive = "ScalingActive"
	// ReasonNoMetricsAPI: AutoscalingActive is False, nothing serves CPU metrics.
	ReasonNoMetricsAPI = "NoMetricsAPI"
	// ReasonMetricMissing: AutoscalingActive is False, the metrics lack the pods
	// of a region.
	ReasonMetricMissing = "MetricMissing"

	// ReasonScalingLimited: AutoscalingActive is False, an autoscaler wants more
	// pods than maxReplicas allows. Ready does not depend on it.
	ReasonScalingLimited = "ScalingLimited"

	// ReasonPaused goes with Paused being True, and with Progressing being False
	// meanwhile.
	ReasonPaused = "Paused"
	// ReasonUnknown: what the condition is computed from could not be read.
	ReasonUnknown = "Unknown"
)
