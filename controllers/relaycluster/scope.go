package relaycluster

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// scope is one pass over one RelayCluster.
type scope struct {
	// Read at the start.

	now     time.Time
	cluster *v1alpha1.RelayCluster // defaulted; its status is that of before
	sets    []resources.Set        // root first, then the regions of the spec
	pods    []corev1.Pod
	said    map[types.UID]said // what the relay of each pod said last
	// children are the objects of the cluster; applying keeps them current.
	children *apply.Inventory

	// Filled in by phases.

	input resources.Input
	// refusals are the newest warnings about objects through which a set was to
	// be reached, by their name.
	refusals map[string]string
	// tls is what is wrong with certificates, nil if nothing is; public is that
	// of users, if it could be read, and publicStored when it was stored.
	tls          *problem
	public       *v1alpha1.CertificateStatus
	publicStored time.Time
	// own are the authorities of the cluster itself.
	own []*x509.Certificate
	// ending is which authority that others make ends soon, or has ended; nil if
	// none does. It is used meanwhile.
	ending *problem
	// issuance is how far that is, if cert-manager is asked for it.
	issuance issuance
	// rotation is what the replacement of the authority waits for, "" if none is
	// under way.
	rotation string
	// isRefused is whether the spec is refused: what is there is kept alive.
	isRefused bool
	// held is why no pod may be replaced now, "" if pods may.
	held string
	// waitsSince is when the rollout began to wait for the pod that it waits for, as
	// far as this operator has seen it.
	waitsSince time.Time

	// How the pass ended; both are nil if it did all it had to.

	problem *problem // the user's to mend
	failure error    // to be tried again

	// again is when to look again without being told of a change; 0 is never.
	again time.Duration
}

// newScope reads all that a pass needs.
func (r *Reconciler) newScope(ctx context.Context, cluster *v1alpha1.RelayCluster, now time.Time) (*scope, error) {
	v1alpha1.Default(cluster)
	s := &scope{
		now:     now,
		cluster: cluster,
		input:   resources.Input{Cluster: cluster, Image: r.Image, OperatorNamespace: r.OperatorNamespace},
	}
	if cluster.Spec.Root != nil || cluster.Spec.ExternalRoot != nil {
		s.sets = resources.Sets(cluster)
	}
	ours := map[string]string{resources.LabelCluster: cluster.Name}
	var err error
	if s.children, err = apply.Take(ctx, r.Client, r.Client.Scheme(), cluster, ours); err != nil {
		return nil, err
	}
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(cluster.Namespace), client.MatchingLabels(ours)); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	s.pods = pods.Items
	s.said = map[types.UID]said{}
	for _, pod := range s.pods {
		s.said[pod.UID] = r.ask(&pod, now)
	}
	s.input.Leftover, s.input.Parked = map[string][]string{}, map[string]bool{}
	for _, set := range s.sets {
		s.input.Leftover[set.Key()] = s.leftover(set)
		if seen := s.statefulSet(set); seen != nil {
			s.input.Parked[set.Key()] = wasParked(seen)
		}
	}
	return s, nil
}

// lookAgain asks for another pass within d.
func (s *scope) lookAgain(d time.Duration) {
	d = max(d, time.Second)
	if s.again == 0 || d < s.again {
		s.again = d
	}
}

// statefulSet returns the StatefulSet of a set, nil if there is none.
func (s *scope) statefulSet(set resources.Set) *appsv1.StatefulSet {
	seen, ok := apply.Get[*appsv1.StatefulSet](s.children, set.Name())
	if !ok {
		return nil
	}
	return seen
}

// leftover returns the names of pods that a StatefulSet of a set has made which
// is not there any more.
func (s *scope) leftover(set resources.Set) []string {
	var present types.UID
	if seen := s.statefulSet(set); seen != nil {
		present = seen.UID
	}
	var names []string
	for _, pod := range s.podsOf(set) {
		if by := metav1.GetControllerOf(pod); by != nil && by.UID != present {
			names = append(names, pod.Name)
		}
	}
	slices.Sort(names)
	return names
}

// podsOf returns the pods of a set by ordinal.
func (s *scope) podsOf(set resources.Set) map[int32]*corev1.Pod {
	pods := map[int32]*corev1.Pod{}
	for i := range s.pods {
		pod := &s.pods[i]
		labels := pod.Labels
		if labels[resources.LabelRole] != string(set.Role) || labels[resources.LabelRegion] != set.Region {
			continue
		}
		ordinal, err := strconv.ParseInt(labels[appsv1.PodIndexLabel], 10, 32)
		if err != nil || pod.Name != set.PodName(int(ordinal)) {
			continue // not made by the StatefulSet
		}
		pods[int32(ordinal)] = pod
	}
	return pods
}
