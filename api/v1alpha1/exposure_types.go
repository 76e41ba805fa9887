package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// ExposureMode is how a set of relays is reached.
//
// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
type ExposureMode string

// The modes of exposure.
const (
	ExposureClusterIP    ExposureMode = "ClusterIP"
	ExposureNodePort     ExposureMode = "NodePort"
	ExposureLoadBalancer ExposureMode = "LoadBalancer"
)

// Exposure says where a set of relays is reached: one Service with UDP and TCP
// on the port of the cluster.
//
// +kubebuilder:validation:XValidation:rule="!has(self.loadBalancerClass) || self.mode == 'LoadBalancer'",message="loadBalancerClass: does nothing in this mode: set mode to LoadBalancer, or drop it"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceRanges) || self.mode == 'LoadBalancer'",message="sourceRanges: does nothing in this mode: set mode to LoadBalancer, or drop it"
type Exposure struct {
	// Mode of the Service: ClusterIP inside Kubernetes only, NodePort on every
	// machine, LoadBalancer at an address of the provider.
	// +optional
	// +kubebuilder:default=ClusterIP
	Mode ExposureMode `json:"mode,omitempty"`
	// Hostnames under which users reach the set. They stand in the certificate
	// that the operator makes, and in the Service's annotation for external-dns.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.all(h, h.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))",message="hostnames: want lower-case host names without scheme or port, such as eu.example.com"
	Hostnames []string `json:"hostnames,omitempty"`
	// Annotations of the Service, for what the provider of the load balancer
	// wants to be told.
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
