package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// ExposureMode is how a set of relays is reached.
//
// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer;LoadBalancerPerPod;HostPort;HostNetwork
type ExposureMode string

// The modes of exposure. In the last three each relay has an address of its
// own.
const (
	ExposureClusterIP          ExposureMode = "ClusterIP"
	ExposureNodePort           ExposureMode = "NodePort"
	ExposureLoadBalancer       ExposureMode = "LoadBalancer"
	ExposureLoadBalancerPerPod ExposureMode = "LoadBalancerPerPod"
	ExposureHostPort           ExposureMode = "HostPort"
	ExposureHostNetwork        ExposureMode = "HostNetwork"
)

// IsLoadBalancer reports whether the provider's load balancers lead to relays.
func (m ExposureMode) IsLoadBalancer() bool {
	return m == ExposureLoadBalancer || m == ExposureLoadBalancerPerPod
}

// IsHost reports whether relays are reached at the addresses of their machines.
func (m ExposureMode) IsHost() bool { return m == ExposureHostPort || m == ExposureHostNetwork }

// IsPerPod reports whether each relay has an address of its own.
func (m ExposureMode) IsPerPod() bool { return m == ExposureLoadBalancerPerPod || m.IsHost() }

// ProtocolSharing says whether UDP and TCP share a load balancer.
//
// +kubebuilder:validation:Enum=Mixed;Separate
type ProtocolSharing string

// The ways to share.
const (
	ProtocolsMixed    ProtocolSharing = "Mixed"
	ProtocolsSeparate ProtocolSharing = "Separate"
)

// NodeNaming is the name under which nodes dial each other.
//
// +kubebuilder:validation:Enum=InCluster;PodHostname
type NodeNaming string

// The ways to name nodes.
const (
	NodesInCluster     NodeNaming = "InCluster"
	NodesByPodHostname NodeNaming = "PodHostname"
)

// Exposure says where a set of relays is reached, by UDP and by TCP of the same
// number.
//
// +kubebuilder:validation:XValidation:rule="!has(self.loadBalancerClass) || self.mode in ['LoadBalancer', 'LoadBalancerPerPod']",message="loadBalancerClass: does nothing in this mode: set mode to LoadBalancer or LoadBalancerPerPod, or drop it"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceRanges) || self.mode in ['LoadBalancer', 'LoadBalancerPerPod']",message="sourceRanges: does nothing in this mode: set mode to LoadBalancer or LoadBalancerPerPod, or drop it"
// +kubebuilder:validation:XValidation:rule="!has(self.protocolSharing) || self.mode in ['LoadBalancer', 'LoadBalancerPerPod']",message="protocolSharing: does nothing in this mode: set mode to LoadBalancer or LoadBalancerPerPod, or drop it"
// +kubebuilder:validation:XValidation:rule="has(self.hostPort) || !(self.mode in ['HostPort', 'HostNetwork'])",message="hostPort: missing in this mode: set the port of the machines on which the relays are reached, such as 4443"
// +kubebuilder:validation:XValidation:rule="!has(self.hostPort) || self.mode in ['HostPort', 'HostNetwork']",message="hostPort: does nothing in this mode: set mode to HostPort or HostNetwork, or drop it"
// +kubebuilder:validation:XValidation:rule="!has(self.hostPort) || self.mode != 'HostNetwork' || self.hostPort >= 1024",message="hostPort: below 1024, which a relay may not listen on in the network of its machine: set 1024 or more, or set mode to HostPort"
// +kubebuilder:validation:XValidation:rule="!has(self.nodePort) || self.mode in ['NodePort', 'LoadBalancer']",message="nodePort: does nothing in this mode: set mode to NodePort or LoadBalancer, or drop it"
// +kubebuilder:validation:XValidation:rule="!has(self.podHostname) || self.mode in ['LoadBalancerPerPod', 'HostPort', 'HostNetwork']",message="podHostname: in this mode a pod has no address of its own: set mode to LoadBalancerPerPod, HostPort or HostNetwork, or drop it"
// +kubebuilder:validation:XValidation:rule="!has(self.nodeName) || self.nodeName != 'PodHostname' || has(self.podHostname)",message="nodeName: PodHostname without podHostname: set podHostname, such as {pod}.eu.example.com, or drop nodeName"
type Exposure struct {
	// Mode is ClusterIP for inside Kubernetes only, NodePort for a port of every
	// machine, LoadBalancer for an address of the provider, LoadBalancerPerPod
	// for one for each relay, HostPort for a port of each relay's machine, and
	// HostNetwork for a relay in the network of its machine. The last two are
	// refused where the namespace enforces the Pod Security Standards baseline
	// or restricted; in the last one no NetworkPolicy protects the relay, so its
	// private port is for its machine only.
	// +optional
	// +kubebuilder:default=ClusterIP
	Mode ExposureMode `json:"mode,omitempty"`
	// NodePort is the port of every machine in the modes NodePort and
	// LoadBalancer, UDP and TCP. Left out, Kubernetes chooses, and chooses again
	// when the Service was deleted.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	NodePort int32 `json:"nodePort,omitempty"`
	// HostPort is the port of the machines in the modes HostPort and
	// HostNetwork, UDP and TCP.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	HostPort int32 `json:"hostPort,omitempty"`
	// ProtocolSharing is Mixed for a load balancer that takes UDP and TCP, or
	// Separate for one of each, where the provider cannot mix. Left out, it is
	// Mixed.
	// +optional
	ProtocolSharing ProtocolSharing `json:"protocolSharing,omitempty"`
	// Hostnames under which users reach the set. They stand in the certificate
	// that the operator makes, and in the Service's annotation for external-dns.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.all(h, h.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))",message="hostnames: want lower-case host names without scheme or port, such as eu.example.com"
	Hostnames []string `json:"hostnames,omitempty"`
	// PodHostname is the name of each relay where each has an address of its
	// own, such as {pod}.eu.example.com, in which {pod} becomes the name of the
	// pod. The names stand in certificates as *.eu.example.com, and in the
	// annotations for external-dns.
	// +optional
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule="self.matches('^[{]pod[}]([.][a-z0-9]([-a-z0-9]*[a-z0-9])?){2,}$')",message="podHostname: want {pod} and a domain, such as {pod}.eu.example.com"
	PodHostname string `json:"podHostname,omitempty"`
	// NodeName is the name under which other nodes dial these: InCluster for one
	// that resolves inside this Kubernetes only, PodHostname for podHostname,
	// when nodes stand in several. What nodes dial they prove with the internal
	// certificate, so that users who want the public one need names from
	// hostnames. Left out, it is PodHostname where podHostname and
	// spec.externalRoot are set, else InCluster.
	// +optional
	NodeName NodeNaming `json:"nodeName,omitempty"`
	// Annotations of the Services by which users reach the set, for what the
	// provider of the load balancer or external-dns wants to be told.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Annotations map[string]string `json:"annotations,omitempty"`
	// LoadBalancerClass chooses between several providers.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=316
	LoadBalancerClass *string `json:"loadBalancerClass,omitempty"`
	// SourceRanges may connect, all others may not, if the provider heeds it.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="self.all(r, isCIDR(r))",message="sourceRanges: want networks such as 192.0.2.0/24 or 2001:db8::/32"
	SourceRanges []string `json:"sourceRanges,omitempty"`
	// ExternalTrafficPolicy is Local to keep the addresses of clients and save
	// a hop, or Cluster to reach the relays through every machine.
	// +optional
	// +kubebuilder:default=Local
	// +kubebuilder:validation:Enum=Local;Cluster
	ExternalTrafficPolicy corev1.ServiceExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`
	// IPFamilyPolicy is which families of addresses the Services have. Left out,
	// it is that of the Kubernetes cluster.
	// +optional
	// +kubebuilder:validation:Enum=SingleStack;PreferDualStack;RequireDualStack
	IPFamilyPolicy *corev1.IPFamilyPolicy `json:"ipFamilyPolicy,omitempty"`
	// SessionAffinity is ClientIP to lead a client whose port has changed back
	// to its relay, or None where many clients share an address.
	// +optional
	// +kubebuilder:default=ClientIP
	// +kubebuilder:validation:Enum=ClientIP;None
	SessionAffinity corev1.ServiceAffinity `json:"sessionAffinity,omitempty"`
}

// NetworkPolicy says who may reach the relays inside Kubernetes. Media and
// health are open to everybody, metrics and sessions are not.
type NetworkPolicy struct {
	// Enabled makes a NetworkPolicy for the pods of the cluster.
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`
	// PrivateFrom lists who may reach the private port, where metrics, sessions
	// and profiles are: Prometheus, as a rule. The operator always may.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	PrivateFrom []networkingv1.NetworkPolicyPeer `json:"privateFrom,omitempty"`
}
