package v1alpha1

// TLS says which certificates the relays serve. There are two planes on one
// port, told apart by the name that a client asks for: the internal one, with
// which nodes prove themselves to each other, and the public one.
type TLS struct {
	// Internal is the plane of the nodes. Without a public one, users get its
	// certificate too and pin its fingerprint.
	// +optional
	// +kubebuilder:default={mode: SelfSigned}
	Internal InternalTLS `json:"internal,omitempty,omitzero"`
	// Public is the plane of users, for certificates that a public authority
	// has signed.
	// +optional
	Public *PublicTLS `json:"public,omitempty"`
}

// InternalTLSMode is where the authority of the internal plane comes from.
//
// +kubebuilder:validation:Enum=SelfSigned;Secret
type InternalTLSMode string

// The modes of the internal plane.
const (
	// InternalSelfSigned is an authority that the operator makes and renews.
	InternalSelfSigned InternalTLSMode = "SelfSigned"
	// InternalSecret is an authority of the user's.
	InternalSecret InternalTLSMode = "Secret"
)

// InternalTLS is the plane of the nodes. The operator issues a certificate for
// the root and for each region, in either mode.
//
// +kubebuilder:validation:XValidation:rule="self.mode == 'Secret' || !has(self.caSecretRef)",message="caSecretRef: does nothing in this mode: set mode to Secret, or drop it"
// +kubebuilder:validation:XValidation:rule="self.mode != 'Secret' || has(self.caSecretRef)",message="caSecretRef: missing in mode Secret: name the Secret with tls.crt and tls.key of your authority, or set mode to SelfSigned"
// +kubebuilder:validation:XValidation:rule="self.mode == 'SelfSigned' || !has(self.selfSigned)",message="selfSigned: does nothing in this mode: set mode to SelfSigned, or drop it"
type InternalTLS struct {
	// Mode is SelfSigned for an authority that the operator makes and renews,
	// Secret for one of your own.
	// +optional
	// +kubebuilder:default=SelfSigned
	Mode InternalTLSMode `json:"mode,omitempty"`
	// SelfSigned sets the life of certificates in mode SelfSigned.
	// +optional
	SelfSigned *SelfSigned `json:"selfSigned,omitempty"`
	// CASecretRef names the Secret of this namespace that holds the authority in
	// mode Secret: tls.crt, tls.key, and in ca.crt further authorities to trust
	// while one replaces the other.
	// +optional
	CASecretRef *SecretRef `json:"caSecretRef,omitempty"`
	// TrustSecretRefs name Secrets of this namespace with further authorities,
	// in ca.crt or in tls.crt, whose nodes may join this cluster: those of a
	// RelayCluster that names this one's root as its externalRoot. Whoever holds
	// a certificate of such an authority is a node.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	TrustSecretRefs []SecretRef `json:"trustSecretRefs,omitempty"`
}

// SelfSigned is the life of the certificates that the operator issues.
//
// +kubebuilder:validation:XValidation:rule="!self.validity.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self.validity) <= duration('336h')",message="validity: more than 336h, and browsers pin no certificate that lives longer than 14 days: lower it to 336h or less"
// +kubebuilder:validation:XValidation:rule="!self.validity.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self.validity) >= duration('1h')",message="validity: less than 1h: raise it, 240h is the default"
// +kubebuilder:validation:XValidation:rule="!self.renewBefore.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || !self.validity.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self.renewBefore) < duration(self.validity)",message="renewBefore: not less than validity, so certificates would be renewed without end: lower renewBefore or raise validity"
// +kubebuilder:validation:XValidation:rule="!self.renewBefore.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self.renewBefore) >= duration('5m')",message="renewBefore: less than 5m, too late for nodes to load the new certificate: raise it, 80h is the default"
type SelfSigned struct {
	// Validity of a node's certificate, at most 336h: browsers pin no
	// certificate that lives longer than 14 days.
	// +optional
	// +kubebuilder:default="240h"
	Validity Duration `json:"validity,omitempty"`
	// RenewBefore is how long before its end a certificate is replaced.
	// +optional
	// +kubebuilder:default="80h"
	RenewBefore Duration `json:"renewBefore,omitempty"`
}

// PublicTLS is the plane of users.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != has(self.issuerRef)",message="secretRef: want exactly one of secretRef and issuerRef: name in secretRef a Secret that you keep filled, or in issuerRef the issuer that cert-manager is to ask"
type PublicTLS struct {
	// SecretRef names the Secret of this namespace that holds tls.crt, the chain
	// with the leaf first, and tls.key. What replaces it is served without a
	// restart.
	// +optional
	SecretRef *SecretRef `json:"secretRef,omitempty"`
	// IssuerRef names an issuer of cert-manager. The operator asks it for a
	// certificate with every name in exposure.hostnames, and for a podHostname
	// that only users dial with *.eu.example.com. cert-manager keeps it in the
	// Secret named after the RelayCluster with -public-tls, and renews it there.
	// +optional
	IssuerRef *IssuerRef `json:"issuerRef,omitempty"`
}

// GroupCertManager is the API group of cert-manager and of its own issuers.
const GroupCertManager = "cert-manager.io"

// Kinds of cert-manager's own issuers. Issuers of others have kinds and a group
// of their own.
const (
	// IssuerNamespaced is an issuer of the namespace.
	IssuerNamespaced = "Issuer"
	// IssuerCluster is an issuer for all namespaces.
	IssuerCluster = "ClusterIssuer"
)

// IssuerRef names an issuer of cert-manager.
//
// +kubebuilder:validation:XValidation:rule="self.group != 'cert-manager.io' || self.kind in ['Issuer', 'ClusterIssuer']",message="kind: cert-manager has no issuers of this kind: set kind to Issuer or ClusterIssuer, or set group to that of the issuer"
type IssuerRef struct {
	// Name of the issuer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Kind is Issuer for one of this namespace or ClusterIssuer for one of the
	// whole Kubernetes cluster, or that of an issuer in another group. The
	// operator takes those alone that it was started with; as a rule, Issuer.
	// +optional
	// +kubebuilder:default=Issuer
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Z][A-Za-z0-9]*$')",message="kind: want that of an issuer, such as Issuer or ClusterIssuer"
	Kind string `json:"kind,omitempty"`
	// Group of the issuer, other than cert-manager.io for one that is not
	// cert-manager's own.
	// +optional
	// +kubebuilder:default=cert-manager.io
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="group: want an API group, such as cert-manager.io"
	Group string `json:"group,omitempty"`
}

// SecretRef names a Secret of the same namespace.
type SecretRef struct {
	// Name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Duration is a length of time in the style of Go: 240h, 90m, 1h30m.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')",message="want a length of time such as 240h, 90m or 1h30m"
type Duration string
