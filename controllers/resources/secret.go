package resources

import (
	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// AuthoritySecret returns the Secret that keeps the cluster's own authority.
// No pod mounts it.
func AuthoritySecret(c *v1alpha1.RelayCluster, data map[string][]byte) *corev1ac.SecretApplyConfiguration {
	return corev1ac.Secret(AuthorityName(c.Name), c.Namespace).
		WithLabels(clusterLabels(c.Name)).
		WithOwnerReferences(owner(c)).
		WithType(corev1.SecretTypeOpaque).
		WithData(data)
}

// CertificateSecret returns the Secret with the certificate and key that all
// pods of the set serve. It is one for the set, because a client may fetch the
// fingerprint from one pod and do the handshake with another.
func CertificateSecret(s Set, data map[string][]byte) *corev1ac.SecretApplyConfiguration {
	return corev1ac.Secret(s.CertificateName(), s.Cluster.Namespace).
		WithLabels(s.labels()).
		WithOwnerReferences(owner(s.Cluster)).
		WithType(corev1.SecretTypeTLS).
		WithData(data)
}
