package relaycluster

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
)

// SetupWithManager has the manager call the reconciler when a RelayCluster
// changes, or anything that belongs to it.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	b := ctrl.NewControllerManagedBy(mgr).
		Named("relaycluster").
		// Not for the status, which is the reconciler's own.
		For(&v1alpha1.RelayCluster{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(podOwner)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 4,
			ReconciliationTimeout:   time.Minute,
		})
	for _, kind := range apply.Kinds() {
		b.Owns(kind)
	}
	return b.Complete(r)
}

// podOwner maps a pod to its RelayCluster, which owns it by way of a
// StatefulSet.
func podOwner(_ context.Context, pod client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: ownerKey(pod)}}
}
