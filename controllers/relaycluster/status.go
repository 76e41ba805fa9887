package relaycluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// Bounds of lists and texts, as in the schema.
const (
	maxNodes        = 100
	maxCertificates = 100
	maxNodeMessage  = 1024
)

// writeStatus computes the status from what the pass saw and left behind, writes
// it if it differs from that of before, and tells of what has changed.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope) error {
	before := s.cluster.Status
	after := s.status()
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	desired, err := statusConfiguration(s.cluster, after)
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	err = r.Client.Status().Apply(ctx, desired, client.FieldOwner(apply.FieldManager), client.ForceOwnership)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // deleted meanwhile, or made anew: then another pass is due
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write status: %w", err), r.refuseStatus(ctx, s, err))
	}
	r.tell(s.cluster, before.Conditions, after.Conditions)
	return nil
}

// refuseStatus leaves nothing green when the API server does not take the status:
// a CustomResourceDefinition that is older than the operator lacks fields of it.
// What is written instead has been there from the beginning.
func (r *Reconciler) refuseStatus(ctx context.Context, s *scope, why error) error {
	answer, ok := errors.AsType[*apierrors.StatusError](why)
	if !ok || !slices.Contains([]int32{http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusInternalServerError}, answer.Status().Code) {
		return nil // it was not looked at: to be tried again
	}
	status := v1alpha1.RelayClusterStatus{ObservedGeneration: s.cluster.Generation}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonStatusRefused,
		Message:            truncate("the status cannot be written, apply the CustomResourceDefinition of this operator: "+why.Error(), maxMessage),
		ObservedGeneration: s.cluster.Generation,
		LastTransitionTime: metav1.NewTime(s.now),
	})
	desired, err := statusConfiguration(s.cluster, status)
	if err != nil {
		return err
	}
	return r.Client.Status().Apply(ctx, desired, client.FieldOwner(apply.FieldManager), client.ForceOwnership)
}

// statusConfiguration returns what is applied: the status whole, and nothing
// else.
func statusConfiguration(c *v1alpha1.RelayCluster, status v1alpha1.RelayClusterStatus) (runtime.ApplyConfiguration, error) {
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": raw}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
	u.SetNamespace(c.Namespace)
	u.SetName(c.Name)
	// One of the same name that was made anew is another.
	u.SetUID(c.UID)
	return client.ApplyConfigurationFromUnstructured(u), nil
}

// status returns the status as of now.
func (s *scope) status() v1alpha1.RelayClusterStatus {
	status := v1alpha1.RelayClusterStatus{
		ObservedGeneration: s.cluster.Generation,
		Nodes:              s.nodeStatus(),
		Certificates:       s.certificateStatus(),
	}
	if s.failure != nil {
		// The spec of this generation is not applied yet.
		status.ObservedGeneration = s.cluster.Status.ObservedGeneration
	}
	status.UpdateRevision = s.updateRevision()
	for _, set := range s.sets {
		state := s.setStatus(set)
		if set.Role == resources.RoleRoot {
			root := &v1alpha1.RootStatus{SetStatus: state}
			for i := range int(set.Replicas) {
				root.Hosts = append(root.Hosts, set.Host(i))
			}
			status.Root = root
			continue
		}
		status.Regions = append(status.Regions, v1alpha1.RegionStatus{
			Name: set.Region, SetStatus: state, Autoscaled: set.Autoscaling != nil,
		})
	}
	status.Summary = s.summarize(status)
	status.Conditions = s.conditions(status)
	return status
}

func (s *scope) setStatus(set resources.Set) v1alpha1.SetStatus {
	status := v1alpha1.SetStatus{Desired: set.Replicas, Endpoints: s.endpoints(set)}
	if seen := s.statefulSet(set); seen != nil {
		status.Desired = *seen.Spec.Replicas
		status.Replicas = seen.Status.Replicas
		status.ReadyReplicas = seen.Status.ReadyReplicas
		status.UpdatedReplicas = seen.Status.UpdatedReplicas
		status.Revision = seen.Status.UpdateRevision
	}
	status.Sessions, status.EgressBitsPerSecond = s.load(set)
	return status
}

// whyNotReady says what keeps a pod from being ready, as far as Kubernetes
// tells.
func whyNotReady(pod *corev1.Pod) string {
	if pod.DeletionTimestamp != nil {
		return "draining"
	}
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "" {
			return sentence(w.Reason, w.Message)
		}
		if t := c.State.Terminated; t != nil {
			return sentence(t.Reason, t.Message)
		}
	}
	if scheduled := podCondition(pod, corev1.PodScheduled); scheduled.Status == corev1.ConditionFalse {
		return sentence(scheduled.Reason, scheduled.Message)
	}
	ready := podCondition(pod, corev1.PodReady)
	return sentence(ready.Reason, ready.Message)
}

func sentence(reason, message string) string {
	switch {
	case reason == "":
		return "starting"
	case message == "":
		return reason
	default:
		return reason + ": " + message
	}
}

func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}

// summarize fills the columns that kubectl shows.
func (s *scope) summarize(status v1alpha1.RelayClusterStatus) v1alpha1.Summary {
	var ready, wanted, serving, regions int32
	var summary v1alpha1.Summary
	if root := status.Root; root != nil {
		ready, wanted = root.ReadyReplicas, root.Desired
		summary.Root = fmt.Sprintf("%d/%d", ready, wanted)
	}
	for _, region := range status.Regions {
		ready += region.ReadyReplicas
		wanted += region.Desired
		if region.Desired > 0 {
			regions++
			if region.ReadyReplicas > 0 {
				serving++
			}
		}
		if summary.Address == "" && len(region.Endpoints) > 0 {
			summary.Address = region.Endpoints[0].Host
		}
	}
	summary.Regions = fmt.Sprintf("%d/%d", serving, regions)
	summary.Nodes = fmt.Sprintf("%d/%d", ready, wanted)
	s.summarizeNodes(&summary)
	return summary
}
