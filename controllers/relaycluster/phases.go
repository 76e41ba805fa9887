package relaycluster

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// validate refuses what the schema could not: it may be older than the operator,
// and does not know whether the operator has an image.
func (r *Reconciler) validate(_ context.Context, s *scope) error {
	if errs := v1alpha1.Validate(s.cluster); len(errs) > 0 {
		return &problem{Reason: v1alpha1.ReasonInvalidSpec, Message: errs.ToAggregate().Error()}
	}
	if err := r.permit(s); err != nil {
		return err
	}
	if s.cluster.Spec.Image == "" && r.Image == "" {
		return &problem{
			Reason:  v1alpha1.ReasonImageMissing,
			Message: "spec.image is not set and the operator has no default: set spec.image, or start the operator with --relay-image",
		}
	}
	return nil
}

// applyAll applies everything. Where what all sets have in common is refused, no pod
// is changed, and certificates are renewed all the same.
func (r *Reconciler) applyAll(ctx context.Context, s *scope) error {
	if err := r.applyEach(ctx, s, resources.ClusterObjects(s.input)); err != nil {
		return errors.Join(err, r.applyEach(ctx, s, resources.CertificateObjects(s.input, s.sets)))
	}
	errs := []error{r.applyCertificate(ctx, s)}
	for _, set := range s.sets {
		for _, object := range resources.SetObjects(s.input, set) {
			errs = append(errs, r.applyOne(ctx, s, set, object))
		}
		errs = append(errs, r.scale(ctx, s, set))
	}
	return errors.Join(errs...)
}

// renew keeps a cluster alive whose spec is refused: certificates that are due are
// replaced by ones like them, and nothing else is changed.
func (r *Reconciler) renew(ctx context.Context, s *scope) error {
	s.isRefused = true
	if err := r.certificates(ctx, s); err != nil {
		return err
	}
	if err := r.trustOthers(ctx, s); err != nil || s.cluster.Spec.Paused {
		return err
	}
	return r.applyEach(ctx, s, resources.CertificateObjects(s.input, s.sets))
}

// applyEach applies objects that are no StatefulSets. What the API server refuses of
// one keeps nothing of the others back.
func (r *Reconciler) applyEach(ctx context.Context, s *scope, objects []runtime.ApplyConfiguration) error {
	var errs []error
	for _, object := range objects {
		errs = append(errs, r.Applier.Apply(ctx, s.children, object.(apply.Configuration)))
	}
	return errors.Join(errs...)
}

func (r *Reconciler) applyOne(ctx context.Context, s *scope, set resources.Set, object runtime.ApplyConfiguration) error {
	switch object := object.(type) {
	case *appsv1ac.StatefulSetApplyConfiguration:
		return r.Applier.StatefulSet(ctx, s.children, object, set.Replicas)
	case apply.Configuration:
		return r.Applier.Apply(ctx, s.children, object)
	default:
		return fmt.Errorf("BUG: %T is no apply configuration", object)
	}
}

// scale gives a set the number of pods that the spec asks for, if it asks.
func (r *Reconciler) scale(ctx context.Context, s *scope, set resources.Set) error {
	seen := s.statefulSet(set)
	if seen == nil {
		return nil
	}
	live := *seen.Spec.Replicas
	wanted := wantedReplicas(s.cluster, set, seen)
	if wanted == live {
		return nil
	}
	if err := r.Applier.Scale(ctx, seen, wanted); err != nil {
		return err
	}
	log.FromContext(ctx).Info("scaled", "region", set.Key(), "from", live, "to", wanted)
	return nil
}

// wantedReplicas returns how many pods a set is to have. Where the spec names no
// number it is left as it is: it is that of an autoscaler, or the last one of it.
func wantedReplicas(c *v1alpha1.RelayCluster, set resources.Set, seen *appsv1.StatefulSet) int32 {
	live := *seen.Spec.Replicas
	if set.Role == resources.RoleRoot {
		return set.Replicas
	}
	for _, region := range c.Spec.Regions {
		switch {
		case region.Name != set.Region:
			continue
		case live == 0 && !region.IsParked() && (region.Autoscaling != nil || wasParked(seen)):
			return set.Replicas // no autoscaler of ours wakes a set without pods
		case region.Autoscaling == nil && region.Replicas != nil:
			return *region.Replicas
		}
	}
	return live
}

// wasParked reports whether a set has no pods because the spec asked for none.
func wasParked(seen *appsv1.StatefulSet) bool {
	return *seen.Spec.Replicas == 0 && seen.Annotations[resources.AnnotationParked] != ""
}

// prune deletes what no longer belongs to the cluster.
func (r *Reconciler) prune(ctx context.Context, s *scope) error {
	deleted, err := r.Applier.Prune(ctx, s.children)
	if len(deleted) > 0 {
		log.FromContext(ctx).Info("deleted what is no longer wanted", "objects", deleted)
	}
	return err
}
