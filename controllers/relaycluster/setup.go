package relaycluster

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
)

// SetupWithManager has the manager call the reconciler when a RelayCluster
// changes, anything that belongs to it, or what its relays say of themselves.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, said <-chan types.NamespacedName) error {
	b := ctrl.NewControllerManagedBy(mgr).
		Named("relaycluster").
		// Not for the status, which is the reconciler's own.
		For(&v1alpha1.RelayCluster{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(podOwner)).
		WatchesRawSource(keys(said)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 4,
			ReconciliationTimeout:   time.Minute,
		})
	for _, kind := range apply.Kinds() {
		b.Owns(kind)
	}
	return b.Complete(r)
}

// keys is a source of requests for what comes through a channel.
func keys(from <-chan types.NamespacedName) source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		go func() { // ends with the manager, which waits for nobody to read from it
			for {
				select {
				case <-ctx.Done():
					return
				case key := <-from:
					queue.Add(reconcile.Request{NamespacedName: key})
				}
			}
		}()
		return nil
	})
}

// podOwner maps a pod to its RelayCluster, which owns it by way of a
// StatefulSet.
func podOwner(_ context.Context, pod client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: ownerKey(pod)}}
}
