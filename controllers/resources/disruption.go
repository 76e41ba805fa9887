package resources

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// DisruptionBudget returns how many relays of the set may be evicted at a time:
// one, if the user says nothing else. A least number in its place would keep a machine with the only root from
// ever being drained.
func DisruptionBudget(s Set) *policyv1ac.PodDisruptionBudgetApplyConfiguration {
	most := intstr.FromInt32(1)
	switch {
	case s.Cluster.Spec.Disruption.SafeToEvict == v1alpha1.EvictNever:
		most = intstr.FromInt32(0)
	case s.MaxUnavailable != nil:
		most = intstr.FromInt32(*s.MaxUnavailable)
	}
	return policyv1ac.PodDisruptionBudget(s.Name(), s.Cluster.Namespace).
		WithLabels(s.labels()).
		WithOwnerReferences(owner(s.Cluster)).
		WithSpec(policyv1ac.PodDisruptionBudgetSpec().
			WithMaxUnavailable(most).
			WithUnhealthyPodEvictionPolicy(policyv1.AlwaysAllow).
			WithSelector(s.labelSelector()))
}
