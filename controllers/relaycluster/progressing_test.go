package relaycluster

import (
	"fmt"
	"maps"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// rolling returns what there is when the canary of a new revision was made so
// long ago and is not available.
func rolling(t *testing.T, ago time.Duration) *scope {
	t.Helper()
	c := &v1alpha1.RelayCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "media", Name: "live", UID: "1"}}
	c.Spec.Root = &v1alpha1.Root{}
	c.Spec.Regions = []v1alpha1.Region{{Name: "eu", Replicas: new(int32(2))}}
	v1alpha1.Default(c)
	owner := []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind, Name: "live", UID: "1", Controller: new(true)}}

	var objects []client.Object
	for _, set := range resources.Sets(c) {
		labels := map[string]string{resources.LabelCluster: "live", resources.LabelRole: string(set.Role)}
		if set.Region != "" {
			labels[resources.LabelRegion] = set.Region
		}
		sts := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "media", Name: set.Name(), Labels: labels, OwnerReferences: owner}}
		sts.Spec.Replicas = new(set.Replicas)
		sts.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(set.Replicas - 1)}
		sts.Status = appsv1.StatefulSetStatus{Replicas: set.Replicas, CurrentRevision: "old", UpdateRevision: "new"}
		objects = append(objects, sts)
		for i := range int(set.Replicas) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "media", Name: set.PodName(i), Labels: maps.Clone(labels)}}
			pod.Labels[appsv1.PodIndexLabel] = fmt.Sprint(i)
			pod.Labels[appsv1.ControllerRevisionHashLabelKey] = "old"
			if pod.Name == "live-eu-1" {
				pod.Labels[appsv1.ControllerRevisionHashLabelKey] = "new"
				pod.CreationTimestamp = metav1.NewTime(now.Add(-ago))
			}
			objects = append(objects, pod)
		}
	}
	reader := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(objects...).Build()
	s, err := (&Reconciler{Client: reader}).newScope(t.Context(), c, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRolloutIsStuckAfterAWhile(t *testing.T) {
	young := rolling(t, time.Minute)
	if got := young.progressing(); got.reason != v1alpha1.ReasonRollingOut || got.status != metav1.ConditionTrue {
		t.Errorf("after a minute: %+v", got)
	}
	if want := stuckAfter - time.Minute; young.again != want {
		t.Errorf("looks again after %v, want %v: nothing else tells that time has passed", young.again, want)
	}
	old := rolling(t, stuckAfter)
	if got := old.progressing(); got.reason != v1alpha1.ReasonRolloutStuck || got.status != metav1.ConditionFalse {
		t.Errorf("after %v: %+v", stuckAfter, got)
	}
}

// Of a canary that fails the user is told also while the upgrade is paused.
func TestPausedRolloutIsStuck(t *testing.T) {
	s := rolling(t, stuckAfter)
	s.cluster.Spec.Upgrade.Paused = true
	if got := s.progressing(); got.reason != v1alpha1.ReasonRolloutStuck {
		t.Errorf("%+v", got)
	}
}

func TestCanary(t *testing.T) {
	s := rolling(t, time.Minute)
	for region, want := range map[string]string{"": "eu", "eu": "eu", "us": "eu"} { // us has no pods
		s.cluster.Spec.Upgrade.CanaryRegion = region
		if got := s.canary(); got != want {
			t.Errorf("with canaryRegion %q it is %q, want %q", region, got, want)
		}
	}
}

// A new pod that is evicted is made anew as it was.
func TestRolloutOutlastsEviction(t *testing.T) {
	s := rolling(t, time.Minute)
	for i := range s.pods {
		if s.pods[i].Name == "live-eu-1" {
			s.pods[i].DeletionTimestamp = &metav1.Time{Time: now}
		}
	}
	if plan := s.nextStep(); plan.Partitions["eu"] != 1 || plan.Waiting != nil {
		t.Errorf("eu is at partition %d, want 1; waits for %v", plan.Partitions["eu"], plan.Waiting)
	}
}

// A pod that was there and has lost the root for a moment is not stuck.
func TestLostRootIsNotStuckAtOnce(t *testing.T) {
	s := rolling(t, 2*stuckAfter)
	for i := range s.pods {
		s.pods[i].Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-stuckAfter))}}
	}
	s.waitsSince = now.Add(-time.Second)
	if got := s.progressing(); got.reason != v1alpha1.ReasonRollingOut {
		t.Errorf("%+v", got)
	}
	s.waitsSince = now.Add(-stuckAfter)
	if got := s.progressing(); got.reason != v1alpha1.ReasonRolloutStuck {
		t.Errorf("after %v: %+v", stuckAfter, got)
	}
}
