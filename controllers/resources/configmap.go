package resources

import (
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// TrustConfigMap returns the ConfigMap with the authorities that nodes trust.
// Clients in the same namespace may mount it too.
func TrustConfigMap(c *v1alpha1.RelayCluster, bundle []byte) *corev1ac.ConfigMapApplyConfiguration {
	return corev1ac.ConfigMap(TrustName(c.Name), c.Namespace).
		WithLabels(clusterLabels(c.Name)).
		WithOwnerReferences(owner(c)).
		WithData(map[string]string{FileTrust: string(bundle)})
}
