package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RelayCluster is a network of Media-over-QUIC relays: a root that introduces
// the nodes to each other, and regions of relays that publishers and viewers
// connect to.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rlc,categories=moq
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Root",type=string,JSONPath=`.status.summary.root`,description="Ready and wanted pods of the root."
// +kubebuilder:printcolumn:name="Regions",type=string,JSONPath=`.status.summary.regions`,description="Regions that serve, and all that should."
// +kubebuilder:printcolumn:name="Nodes",type=string,JSONPath=`.status.summary.nodes`,description="Ready and wanted relays, the root's among them."
// +kubebuilder:printcolumn:name="Sessions",type=string,JSONPath=`.status.summary.sessions`,description="Sessions of users."
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.summary.version`,priority=1,description="Version of the relays."
// +kubebuilder:printcolumn:name="Egress",type=string,JSONPath=`.status.summary.egress`,priority=1,description="What all relays send."
// +kubebuilder:printcolumn:name="Port",type=integer,JSONPath=`.spec.port`,priority=1
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.summary.address`,priority=1,description="Where the first region is reached."
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 30",message="metadata.name: longer than 30 characters: choose a shorter name, those of pods and Services are made from it"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name: use lower-case letters, digits and dashes, a letter first and no dash last, such as live"
type RelayCluster struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the user wants.
	// +required
	Spec RelayClusterSpec `json:"spec"`
	// Status is what the operator saw last.
	// +optional
	Status RelayClusterStatus `json:"status,omitempty,omitzero"`
}

// RelayClusterList is a list of RelayClusters.
//
// +kubebuilder:object:root=true
type RelayClusterList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RelayCluster `json:"items"`
}

// RelayClusterSpec is what a user can ask for.
//
// +kubebuilder:validation:XValidation:rule="has(self.root) != has(self.externalRoot)",message="root: want exactly one of root and externalRoot: set root to {} for a cluster of its own, or name in externalRoot the root to join"
// +kubebuilder:validation:XValidation:rule="!has(self.tls.public) || !has(self.tls.public.issuerRef) || (has(self.root) && has(self.root.exposure.hostnames) && self.root.exposure.hostnames.size() > 0) || (has(self.regions) && self.regions.exists(r, has(r.exposure.hostnames) && r.exposure.hostnames.size() > 0))",message="tls.public.issuerRef: no name to have a certificate issued for: set exposure.hostnames of a region or of the root, such as eu.example.com, or drop issuerRef"
// +kubebuilder:validation:XValidation:rule="!has(self.tls.public) || !has(self.tls.public.issuerRef) || !has(self.regions) || self.regions.all(r, r.name != 'public')",message="tls.public.issuerRef: a region named public has the Secret that the certificate would be kept in: choose another name for the region, or have the certificate issued into a Secret of your own and name it in secretRef"
// +kubebuilder:validation:XValidation:rule="!has(self.upgrade) || !has(self.upgrade.canaryRegion) || (has(self.regions) && self.regions.exists(r, r.name == self.upgrade.canaryRegion))",message="upgrade.canaryRegion: no region has this name: name one of spec.regions, or drop it to take the first"
// +kubebuilder:validation:XValidation:rule="has(self.root) == has(oldSelf.root)",message="root: root and externalRoot cannot be exchanged, the nodes would lose each other: create another RelayCluster and delete this one"
type RelayClusterSpec struct {
	// Image of the relay, for example ghcr.io/moqrelay/moq-relay:v0.1.0; a
	// digest is welcome. Left out, it is the image that the operator was
	// started with.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.matches('[[:space:]]')",message="image: has a space in it: write it as registry/name:tag or registry/name@sha256:digest"
	Image string `json:"image,omitempty"`
	// ImagePullPolicy is when nodes pull the image.
	// +optional
	// +kubebuilder:default=IfNotPresent
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// ImagePullSecrets name Secrets of this namespace that hold the credentials
	// of the registry.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []SecretRef `json:"imagePullSecrets,omitempty"`

	// Port is where users reach the relays: UDP for media, TCP of the same
	// number for health and for the fingerprint of the certificate.
	// +optional
	// +kubebuilder:default=443
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// Root introduces the nodes to each other; {} is enough. Left out, it is
	// externalRoot that does.
	// +optional
	Root *Root `json:"root,omitempty"`
	// ExternalRoot joins the regions to the root of another RelayCluster. The
	// nodes of both must trust each other: name the other's authority here, and
	// this one's in spec.tls.internal.trustSecretRefs there, or give both the
	// same authority with spec.tls.internal.mode Secret.
	// +optional
	ExternalRoot *ExternalRoot `json:"externalRoot,omitempty"`
	// Regions are the relays that users connect to, one StatefulSet each.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Regions []Region `json:"regions,omitempty"`

	// TLS says which certificates the relays serve.
	// +optional
	// +kubebuilder:default={internal: {mode: SelfSigned}}
	TLS TLS `json:"tls,omitempty,omitzero"`
	// Pod settings of all relays; those of the root or of a region come first.
	// +optional
	Pod *PodSettings `json:"pod,omitempty"`
	// Drain says how a relay stops.
	// +optional
	// +kubebuilder:default={goawaySeconds: 60, terminationGracePeriodSeconds: 90}
	Drain Drain `json:"drain,omitempty,omitzero"`
	// Upgrade says how relays are replaced by ones of a new revision.
	// +optional
	Upgrade Upgrade `json:"upgrade,omitempty,omitzero"`
	// Disruption says who may evict relays.
	// +optional
	// +kubebuilder:default={safeToEvict: Always}
	Disruption Disruption `json:"disruption,omitempty,omitzero"`
	// NetworkPolicy says who may reach the relays inside Kubernetes.
	// +optional
	// +kubebuilder:default={enabled: true}
	NetworkPolicy NetworkPolicy `json:"networkPolicy,omitempty,omitzero"`
	// Paused makes the operator leave everything as it is, except for the
	// status; upgrade.paused holds back the replacing of relays alone.
	// +optional
	Paused bool `json:"paused,omitempty"`
}

// Root is the set of nodes through which all others find each other. It carries
// no media unless users connect to it.
type Root struct {
	// Replicas of the root. Every node tells each of them what it announces, so
	// that they agree without a leader.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3
	Replicas int32 `json:"replicas,omitempty"`
	// Exposure says where the root is reached by users.
	// +optional
	// +kubebuilder:default={mode: ClusterIP}
	Exposure Exposure `json:"exposure,omitempty,omitzero"`
	// Pod settings of the root, before those of the cluster.
	// +optional
	Pod *PodSettings `json:"pod,omitempty"`
}

// ExternalRoot is the root of another cluster.
type ExternalRoot struct {
	// Hosts are the nodes of that root, all of them, as its status.root.hosts
	// has them: host or host:port; without a port it is 443.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:XValidation:rule="self.all(h, h.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[1-9][0-9]{0,4})?$'))",message="hosts: want lower-case host names, without scheme and with the port if it is not 443, such as root.example.com:4443"
	Hosts []string `json:"hosts"`
	// CASecretRef names the Secret of this namespace that holds the authority of
	// that cluster's nodes in ca.crt, or in tls.crt. Left out, it is trusted only
	// if it is the authority of these nodes too.
	// +optional
	CASecretRef *SecretRef `json:"caSecretRef,omitempty"`
}

// Region is a set of relays near each other, behind one name.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.replicas) && has(self.autoscaling))",message="replicas and autoscaling exclude each other: drop replicas, or drop autoscaling"
type Region struct {
	// Name of the region, unique in the cluster.
	// +required
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="name: use lower-case letters, digits and dashes, a letter first and no dash last, such as eu or us-east"
	// +kubebuilder:validation:XValidation:rule="self != 'root'",message="name: root is taken by spec.root: choose another name"
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('-nodes')",message="name: names that end in -nodes are taken by the Services of nodes: choose another name"
	// +kubebuilder:validation:XValidation:rule="!self.matches('(-tcp|-pod-[0-9]+)$')",message="name: names that end in -tcp, or in -pod- and a number, are taken by the Services of load balancers: choose another name"
	Name string `json:"name"`
	// Replicas of the region, 1 without autoscaling. 0 parks it: nothing runs,
	// its name and certificate stay.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`
	// Autoscaling lets a HorizontalPodAutoscaler choose the replicas.
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`
	// Exposure says where the region is reached by users.
	// +optional
	// +kubebuilder:default={mode: ClusterIP}
	Exposure Exposure `json:"exposure,omitempty,omitzero"`
	// MaxUnavailable is how many relays of the region may be evicted at a time.
	// Left out, it is 1; spec.disruption.safeToEvict: Never is for none.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxUnavailable *int32 `json:"maxUnavailable,omitempty"`
	// Pod settings of the region, before those of the cluster.
	// +optional
	Pod *PodSettings `json:"pod,omitempty"`
}

// Upgrade says how relays are replaced by ones of a new revision: one of the canary
// region first, then the root, then the regions one by one.
type Upgrade struct {
	// CanaryRegion is the region whose last relay is replaced before all others.
	// Left out, or while that region is parked, it is the first that is not.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=20
	CanaryRegion string `json:"canaryRegion,omitempty"`
	// Paused replaces no further relay while it is true, whatever the spec asks
	// of them: set before a change to choose when it begins, or in the middle of
	// one to look at those that are replaced. Everything else goes on, and a relay
	// that is lost comes back in the revision that it had.
	// +optional
	Paused bool `json:"paused,omitempty"`
}

// SafeToEvict says by whom relays may be moved to other machines.
//
// +kubebuilder:validation:Enum=Always;OnUpgrade;Never
type SafeToEvict string

// Who may evict relays.
const (
	// EvictAlways lets an autoscaler of machines do it, and whoever drains one.
	EvictAlways SafeToEvict = "Always"
	// EvictOnUpgrade lets whoever drains a machine do it, as for an upgrade.
	EvictOnUpgrade SafeToEvict = "OnUpgrade"
	// EvictNever lets nobody do it.
	EvictNever SafeToEvict = "Never"
)

// Disruption says who may evict relays. An evicted relay drains as any other
// does.
type Disruption struct {
	// SafeToEvict is Always to let the cluster autoscaler and whoever drains a
	// machine evict relays, OnUpgrade to keep the autoscaler from it, Never to
	// keep both from it: a machine with a relay is then drained only when the
	// relay is deleted by hand.
	// +optional
	// +kubebuilder:default=Always
	SafeToEvict SafeToEvict `json:"safeToEvict,omitempty"`
}

// Drain says how a relay stops. New connections go elsewhere as soon as
// Kubernetes begins to delete its pod; its sessions are told and have this long
// to move.
//
// +kubebuilder:validation:XValidation:rule="self.goawaySeconds < self.terminationGracePeriodSeconds",message="goawaySeconds: not less than terminationGracePeriodSeconds, so the relay would be killed while it drains: lower goawaySeconds or raise terminationGracePeriodSeconds"
type Drain struct {
	// GoawaySeconds is how long sessions have to move before they are closed.
	// +optional
	// +kubebuilder:default=60
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=86400
	GoawaySeconds int64 `json:"goawaySeconds,omitempty"`
	// TerminationGracePeriodSeconds is when Kubernetes kills a relay that has
	// not stopped.
	// +optional
	// +kubebuilder:default=90
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=86400
	TerminationGracePeriodSeconds int64 `json:"terminationGracePeriodSeconds,omitempty"`
}
