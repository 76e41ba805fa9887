package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RelayClusterStatus is what the operator saw when it looked last.
type RelayClusterStatus struct {
	// ObservedGeneration is the generation of the spec that this status is
	// about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the cluster; the operator's documentation lists types and
	// reasons.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// UpdateRevision is what all pods are to become: it changes with the
	// revision of any set.
	// +optional
	UpdateRevision string `json:"updateRevision,omitempty"`
	// Root is the set of nodes that introduce the others.
	// +optional
	Root *RootStatus `json:"root,omitempty"`
	// Regions as they are now.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Regions []RegionStatus `json:"regions,omitempty"`
	// Nodes are the first 100 relays.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	Nodes []NodeStatus `json:"nodes,omitempty"`
	// Certificates of each plane and set.
	// +optional
	// +listType=map
	// +listMapKey=plane
	// +listMapKey=region
	// +kubebuilder:validation:MaxItems=100
	Certificates []CertificateStatus `json:"certificates,omitempty"`
	// Summary holds what is shown in columns.
	// +optional
	Summary Summary `json:"summary,omitempty,omitzero"`
}

// SetStatus is what root and regions have in common.
type SetStatus struct {
	// Desired is the number of relays that the set should have now, by the spec
	// or by its autoscaler.
	// +optional
	Desired int32 `json:"desired"`
	// Replicas is the number of pods there are.
	// +optional
	Replicas int32 `json:"replicas"`
	// ReadyReplicas is the number of pods that accept sessions.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`
	// UpdatedReplicas is the number of pods of the newest revision.
	// +optional
	UpdatedReplicas int32 `json:"updatedReplicas"`
	// Revision is the newest revision of the set's pods.
	// +optional
	Revision string `json:"revision,omitempty"`
	// Sessions of users with the relays that could be asked; absent if none
	// could.
	// +optional
	Sessions *int64 `json:"sessions,omitempty"`
	// EgressBitsPerSecond is the payload that those relays sent when they were
	// asked last, to users and to each other.
	// +optional
	EgressBitsPerSecond *int64 `json:"egressBitsPerSecond,omitempty"`
	// Endpoints are where users reach the set: all of it first, and then its
	// pods, the first 100, where each has an address of its own.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Endpoints []Endpoint `json:"endpoints,omitempty"`
}

// RootStatus is the state of the root.
type RootStatus struct {
	SetStatus `json:",inline"`
	// Hosts are the root's nodes as all others dial them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=3
	Hosts []string `json:"hosts,omitempty"`
}

// RegionStatus is the state of a region.
type RegionStatus struct {
	// Name of the region.
	// +required
	Name      string `json:"name"`
	SetStatus `json:",inline"`
	// Autoscaled says that a HorizontalPodAutoscaler owns the replicas.
	// +optional
	Autoscaled bool `json:"autoscaled,omitempty"`
}

// Endpoint is an address where users reach a set.
type Endpoint struct {
	// Host is a name or an address.
	// +required
	Host string `json:"host"`
	// Pod that is reached there; empty for any of the set.
	// +optional
	Pod string `json:"pod,omitempty"`
	// UDP is the port of media.
	// +optional
	UDP int32 `json:"udp,omitempty"`
	// TCP is the port of health and of the fingerprint.
	// +optional
	TCP int32 `json:"tcp,omitempty"`
}

// NodeStatus is one relay.
type NodeStatus struct {
	// Name of the pod.
	// +required
	Name string `json:"name"`
	// Host is how the other nodes dial it.
	// +optional
	Host string `json:"host,omitempty"`
	// Region it stands in; empty for the root.
	// +optional
	Region string `json:"region,omitempty"`
	// Ready says that it accepts sessions.
	// +optional
	Ready bool `json:"ready"`
	// Message says why it does not, or why it could not be asked for what
	// follows.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// RootConnected says that it has a session with every root; absent if it
	// could not be asked lately, as is everything below.
	// +optional
	RootConnected *bool `json:"rootConnected,omitempty"`
	// Sessions of users with it.
	// +optional
	Sessions *int64 `json:"sessions,omitempty"`
	// ServedFingerprint is the SHA-256 of the certificate that it serves users
	// now, in hex.
	// +optional
	ServedFingerprint string `json:"servedFingerprint,omitempty"`
	// CertNotAfter is when the first of the certificates ends that it serves.
	// +optional
	CertNotAfter *metav1.Time `json:"certNotAfter,omitempty"`
	// Draining says that it takes leave of its sessions.
	// +optional
	Draining bool `json:"draining,omitempty"`
}

// Plane is one of the two kinds of certificate that a relay serves.
//
// +kubebuilder:validation:Enum=Authority;Internal;Public
type Plane string

// The planes. The authority is the one that signs the internal plane.
const (
	PlaneAuthority Plane = "Authority"
	PlaneInternal  Plane = "Internal"
	PlanePublic    Plane = "Public"
)

// CertificateStatus is one certificate.
type CertificateStatus struct {
	// Plane it belongs to.
	// +required
	Plane Plane `json:"plane"`
	// Region that serves it: its name, root, or empty for all.
	// +optional
	// +kubebuilder:default=""
	Region string `json:"region"`
	// Fingerprint is the SHA-256 of the certificate, in hex: what a browser
	// pins.
	// +optional
	Fingerprint string `json:"fingerprint,omitempty"`
	// NotAfter is the end of its life.
	// +optional
	NotAfter metav1.Time `json:"notAfter,omitempty,omitzero"`
	// RenewAt is when the operator replaces it; absent for certificates of the
	// user's.
	// +optional
	RenewAt *metav1.Time `json:"renewAt,omitempty"`
	// ServedBy is how many of the ready relays serve it, or trust it if it is an
	// authority, as in 3/3; ? stands for not known.
	// +optional
	ServedBy string `json:"servedBy,omitempty"`
}

// Summary holds what is shown in columns.
type Summary struct {
	// Root is ready over wanted pods of the root, as in 1/1.
	// +optional
	Root string `json:"root,omitempty"`
	// Regions is serving over wanted regions; parked ones count in neither.
	// +optional
	Regions string `json:"regions,omitempty"`
	// Nodes is ready over wanted pods, the root's among them.
	// +optional
	Nodes string `json:"nodes,omitempty"`
	// Sessions of all users; a + at its end says that not all relays could be
	// asked, ? that none could.
	// +optional
	Sessions string `json:"sessions,omitempty"`
	// Version of the relays that could be asked; several while they are replaced.
	// +optional
	Version string `json:"version,omitempty"`
	// Egress is what all relays send, in bits per second.
	// +optional
	Egress string `json:"egress,omitempty"`
	// Address is the first endpoint of the first region that has one.
	// +optional
	Address string `json:"address,omitempty"`
}
