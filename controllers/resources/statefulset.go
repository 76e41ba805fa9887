package resources

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
)

// HeldPartition keeps a StatefulSet from replacing any pod. It is a number that
// no ordinal reaches: with the number of replicas in its place, a set that grows
// would take the new pods from the revision that is being held back.
const HeldPartition = 100000

// minReadySeconds is how long a new pod has to be ready before the next one is
// replaced: time to join the cluster.
const minReadySeconds = 5

// annotationLeftover names pods of an earlier StatefulSet of the same name. When
// it changes the StatefulSet controller looks again, which otherwise it does ever
// more rarely as long as a name is taken, up to 16 minutes later.
const annotationLeftover = "moqrelay.io/leftover-pods"

// AnnotationParked is on a StatefulSet without pods whose spec asked for none: it is
// woken when that asks for pods again. One that somebody else has taken the pods of
// does not have it. Kubernetes does not note whose a number of 0 is.
const AnnotationParked = "moqrelay.io/parked"

// StatefulSet returns the relays of a set. Its replicas are not in it.
//
// The pods are managed in parallel, which can never be changed: in order, a set
// whose template was broken stays broken after the template is mended.
func StatefulSet(in Input, s Set) *appsv1ac.StatefulSetApplyConfiguration {
	set := appsv1ac.StatefulSet(s.Name(), s.Cluster.Namespace).
		WithLabels(s.labels()).
		WithOwnerReferences(owner(s.Cluster)).
		WithSpec(appsv1ac.StatefulSetSpec().
			WithServiceName(s.NodesName()).
			WithPodManagementPolicy(appsv1.ParallelPodManagement).
			WithMinReadySeconds(minReadySeconds).
			WithSelector(s.labelSelector()).
			WithUpdateStrategy(appsv1ac.StatefulSetUpdateStrategy().
				WithType(appsv1.RollingUpdateStatefulSetStrategyType).
				WithRollingUpdate(appsv1ac.RollingUpdateStatefulSetStrategy().WithPartition(in.partition(s)))).
			WithTemplate(podTemplate(in, s)))
	if s.Replicas == 0 || in.Parked[s.Key()] {
		set.WithAnnotations(map[string]string{AnnotationParked: "true"})
	}
	if left := in.Leftover[s.Key()]; len(left) > 0 {
		set.WithAnnotations(map[string]string{annotationLeftover: strings.Join(left, ",")})
	}
	return set
}
