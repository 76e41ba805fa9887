package v1alpha1

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Defaults that depend on other fields, so that no schema can hold them.
const (
	// DefaultValidity and DefaultRenewBefore are the life of a node's
	// certificate where spec.tls.internal.selfSigned does not say.
	DefaultValidity    = 240 * time.Hour
	DefaultRenewBefore = 80 * time.Hour
)

// Default fills in what the schema of the CustomResourceDefinition fills in,
// and nothing else.
func Default(c *RelayCluster) {
	s := &c.Spec
	setDefault(&s.ImagePullPolicy, corev1.PullIfNotPresent)
	setDefault(&s.Port, 443)
	if s.Root != nil {
		setDefault(&s.Root.Replicas, 1)
		s.Root.Exposure.setDefaults()
	}
	for i := range s.Regions {
		r := &s.Regions[i]
		r.Exposure.setDefaults()
		if r.Autoscaling != nil {
			setDefault(&r.Autoscaling.MinReplicas, 2)
		}
	}
	setDefault(&s.TLS.Internal.Mode, InternalSelfSigned)
	if life := s.TLS.Internal.SelfSigned; life != nil {
		setDefault(&life.Validity, "240h")
		setDefault(&life.RenewBefore, "80h")
	}
	if s.TLS.Public != nil && s.TLS.Public.IssuerRef != nil {
		setDefault(&s.TLS.Public.IssuerRef.Kind, IssuerNamespaced)
		setDefault(&s.TLS.Public.IssuerRef.Group, GroupCertManager)
	}
	setDefault(&s.Disruption.SafeToEvict, EvictAlways)
	setDefault(&s.Drain.GoawaySeconds, 60)
	setDefault(&s.Drain.TerminationGracePeriodSeconds, 90)
	if s.NetworkPolicy.Enabled == nil {
		s.NetworkPolicy.Enabled = new(true)
	}
}

func (e *Exposure) setDefaults() {
	setDefault(&e.Mode, ExposureClusterIP)
	setDefault(&e.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyLocal)
	setDefault(&e.SessionAffinity, corev1.ServiceAffinityClientIP)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// FirstReplicas returns the replicas that a region begins with: later ones are
// its autoscaler's to choose, if it has one.
func (r *Region) FirstReplicas() int32 {
	switch {
	case r.Autoscaling != nil:
		return r.Autoscaling.MinReplicas
	case r.Replicas != nil:
		return *r.Replicas
	default:
		return 1
	}
}

// IsParked reports whether a region is to run nothing.
func (r *Region) IsParked() bool { return r.FirstReplicas() == 0 }

// Value returns d as Go counts time, and 0 if it is malformed.
func (d Duration) Value() time.Duration {
	v, err := time.ParseDuration(string(d))
	if err != nil {
		return 0
	}
	return v
}

// LeafLife returns how long the certificates of nodes live and how long before
// their end they are replaced.
func (t *InternalTLS) LeafLife() (validity, renewBefore time.Duration) {
	if t.SelfSigned == nil {
		return DefaultValidity, DefaultRenewBefore
	}
	return t.SelfSigned.Validity.Value(), t.SelfSigned.RenewBefore.Value()
}

// IsEnabled reports whether the operator is to make a NetworkPolicy.
func (p *NetworkPolicy) IsEnabled() bool { return p.Enabled == nil || *p.Enabled }
