package apply

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	autoscalingv1ac "k8s.io/client-go/applyconfigurations/autoscaling/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// ScaleManager owns the number of pods of every StatefulSet that no autoscaler
// drives.
const ScaleManager = FieldManager + "-scale"

// StatefulSet applies a set, which carries no number of pods. If there is none yet
// it is made with so many as first says; else its number stays as it is.
func (a *Applier) StatefulSet(ctx context.Context, inv *Inventory, desired *appsv1ac.StatefulSetApplyConfiguration, first int32) error {
	seen, ok := Get[*appsv1.StatefulSet](inv, *desired.GetName())
	if !ok {
		found, err := a.find(ctx, inv, appsv1.SchemeGroupVersion.WithKind("StatefulSet"), *desired.GetName())
		if err != nil {
			return err
		}
		seen, ok = found.(*appsv1.StatefulSet)
	}
	if !ok {
		desired.Spec.WithReplicas(first)
	} else if err := a.handOver(ctx, seen); err != nil {
		return err
	}
	return a.Apply(ctx, inv, desired)
}

// Scale gives the set so many pods, if it was not changed since it was read.
func (a *Applier) Scale(ctx context.Context, set *appsv1.StatefulSet, replicas int32) error {
	scale := autoscalingv1ac.Scale().
		WithAPIVersion("autoscaling/v1").WithKind("Scale").
		WithName(set.Name).WithNamespace(set.Namespace).
		WithResourceVersion(set.ResourceVersion).
		WithSpec(autoscalingv1ac.ScaleSpec().WithReplicas(replicas))
	err := a.client.SubResource("scale").Apply(ctx, appsv1ac.StatefulSet(set.Name, set.Namespace), &client.SubResourceApplyOptions{
		ApplyOptions:    client.ApplyOptions{FieldManager: ScaleManager, Force: new(true)},
		SubResourceBody: scale,
	})
	if err != nil {
		return fmt.Errorf("scale StatefulSet %q to %d: %w", set.Name, replicas, err)
	}
	return nil
}

// handOver makes sure that the next apply of the set, which carries no number of
// pods, leaves it as it is: as long as FieldManager is the one to own the number,
// ScaleManager takes it over. It does nothing otherwise.
func (a *Applier) handOver(ctx context.Context, set *appsv1.StatefulSet) error {
	if !ownsReplicas(set, FieldManager) || ownsReplicas(set, ScaleManager) {
		return nil
	}
	return a.Scale(ctx, set, *set.Spec.Replicas)
}

var replicasPath = fieldpath.MakePathOrDie("spec", "replicas")

// ownsReplicas reports whether an apply of the manager has set the number of
// pods.
func ownsReplicas(set *appsv1.StatefulSet, manager string) bool {
	for _, entry := range set.ManagedFields {
		if entry.Manager != manager || entry.Operation != metav1.ManagedFieldsOperationApply || entry.FieldsV1 == nil {
			continue
		}
		var fields fieldpath.Set
		if err := fields.FromJSON(entry.FieldsV1.GetRawReader()); err == nil && fields.Has(replicasPath) {
			return true
		}
	}
	return false
}
