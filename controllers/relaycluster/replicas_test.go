package relaycluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
)

// recordReplicas notes every number of replicas that a region's StatefulSet is
// given, and returns what it noted so far.
func (w world) recordReplicas(region string) func() []int32 {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	watch, err := plane.Client.Watch(ctx, &appsv1.StatefulSetList{}, client.InNamespace(w.namespace))
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []int32
	var wg sync.WaitGroup
	wg.Go(func() {
		for event := range watch.ResultChan() {
			set, ok := event.Object.(*appsv1.StatefulSet)
			if !ok || set.Name != "live-"+region {
				continue
			}
			mu.Lock()
			if n := *set.Spec.Replicas; len(seen) == 0 || seen[len(seen)-1] != n {
				seen = append(seen, n)
			}
			mu.Unlock()
		}
	})
	w.t.Cleanup(func() {
		watch.Stop()
		cancel()
		wg.Wait()
	})
	taken := func() []int32 {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
	return func() []int32 { // the watch may be behind what was read
		w.t.Helper()
		clustertest.Eventually(w.t, "the watch has caught up", func(context.Context) error {
			now := *w.statefulSet(region).Spec.Replicas
			if so := taken(); len(so) == 0 || so[len(so)-1] != now {
				return fmt.Errorf("%v, and now %d", so, now)
			}
			return nil
		})
		return taken()
	}
}

func region(settings string) string { return "root: {}\nregions:\n- {name: eu" + settings + "}" }

func TestScaleBySpec(t *testing.T) {
	w := newWorld(t)
	seen := w.recordReplicas("eu")
	for _, want := range []int32{3, 5, 2, 0, 1} {
		w.apply(region(fmt.Sprintf(", replicas: %d", want)))
		w.untilReplicas("eu", want)
	}
	if got, want := seen(), []int32{3, 5, 2, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("replicas went %v, want %v", got, want)
	}
	for _, entry := range w.statefulSet("eu").ManagedFields {
		if entry.Manager == apply.ScaleManager && entry.Subresource != "scale" {
			t.Errorf("%s wrote through %q, want the scale subresource", entry.Manager, entry.Subresource)
		}
	}
}

func TestAutoscalingOnAndOffChangesNoCount(t *testing.T) {
	w := newWorld(t)
	w.apply(region(", replicas: 3"))
	w.untilReplicas("eu", 3)
	seen := w.recordReplicas("eu")

	w.apply(region(", autoscaling: {minReplicas: 2, maxReplicas: 10, cpuUtilization: 60}"))
	eventually(w, "live-eu", "the autoscaler has looked", &autoscalingv2.HorizontalPodAutoscaler{}, func(h *autoscalingv2.HorizontalPodAutoscaler) error {
		if len(h.Status.Conditions) == 0 {
			return errors.New("it has no condition")
		}
		return nil
	})
	// An image comes out meanwhile.
	w.apply("image: registry.test/moq-relay:v2\n" + region(", autoscaling: {minReplicas: 2, maxReplicas: 10, cpuUtilization: 60}"))
	w.settled()

	w.apply(region(""))
	w.untilChildrenAsWanted()
	w.settled()
	if got, want := seen(), []int32{3}; !slices.Equal(got, want) {
		t.Errorf("replicas went %v, want them to stay at %v", got, want)
	}
	w.apply(region(", replicas: 1"))
	w.untilReplicas("eu", 1)
}

func TestCountOfOthersStays(t *testing.T) {
	w := newWorld(t)
	w.apply(region(""))
	w.untilReplicas("eu", 1)
	// What kubectl scale does, and an autoscaler of the user's own.
	w.scaleByHand("eu", 4)
	w.apply("port: 8443\n" + region(""))
	w.settled()
	if got := *w.statefulSet("eu").Spec.Replicas; got != 4 {
		t.Errorf("%d replicas, want 4: the spec names no number", got)
	}
	// A number in the spec is the user's word.
	w.apply(region(", replicas: 2"))
	w.untilReplicas("eu", 2)
	w.scaleByHand("eu", 4)
	w.untilReplicas("eu", 2)
}

// An autoscaler of the user's own, such as KEDA, may take the last pod as well
// (complaint 11).
func TestZeroOfOthersStays(t *testing.T) {
	w := newWorld(t)
	w.apply(region(""))
	w.untilReplicas("eu", 1)
	w.scaleByHand("eu", 0)
	w.apply("port: 8443\n" + region(""))
	w.settled()
	if got := *w.statefulSet("eu").Spec.Replicas; got != 0 {
		t.Errorf("%d replicas, want 0: the spec names no number", got)
	}
}

func (w world) scaleByHand(region string, replicas int) {
	w.t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	err := plane.Client.SubResource("scale").Patch(w.t.Context(), w.statefulSet(region),
		client.RawPatch("application/merge-patch+json", patch), client.FieldOwner("kubectl"))
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestParkedRegionWakes(t *testing.T) {
	for name, settings := range map[string]string{
		"NoNumber":    "",
		"Autoscaling": ", autoscaling: {minReplicas: 1, maxReplicas: 10, cpuUtilization: 60}",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.apply(region(", replicas: 0"))
			w.untilReplicas("eu", 0)
			w.apply(region(settings))
			w.untilReplicas("eu", 1)
		})
	}
}

// The autoscaler is Kubernetes' own, and so is what it reads, but for the
// numbers.
func TestAutoscalerFollowsCPU(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(region(", autoscaling: {minReplicas: 2, maxReplicas: 5, cpuUtilization: 50, behavior: {scaleUp: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 5, periodSeconds: 15}]}}}"))
	w.untilCondition(v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonAvailable)
	w.untilCondition(v1alpha1.ConditionAutoscalingActive, metav1.ConditionFalse, v1alpha1.ReasonMetricMissing)
	w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonMetricMissing)

	load := func(milli int) func(context.Context) error {
		return func(ctx context.Context) error {
			for name, pod := range w.pods("eu") {
				if err := plane.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(podMetrics(&pod, name, milli)), client.FieldOwner("metrics"), client.ForceOwnership); err != nil {
					return err
				}
			}
			return nil
		}
	}
	// A pod requests 250m; 250m of each is twice the target of 50 %.
	clustertest.Eventually(t, "the region has grown to four", func(ctx context.Context) error {
		if err := load(250)(ctx); err != nil {
			return err
		}
		if got := *w.statefulSet("eu").Spec.Replicas; got < 4 {
			return fmt.Errorf("it has %d replicas", got)
		}
		return nil
	})
	clustertest.Eventually(t, "the status says so", func(ctx context.Context) error {
		if err := load(125)(ctx); err != nil {
			return err
		}
		c := w.cluster()
		r := c.Status.Regions[0]
		if !r.Autoscaled || r.Desired < 4 || r.ReadyReplicas != r.Desired {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	w.untilCondition(v1alpha1.ConditionAutoscalingActive, metav1.ConditionTrue, v1alpha1.ReasonScalingActive)
}

// What the schema cannot know of a metric the API server refuses, and the user is
// told in its words.
func TestAutoscalerMetricIsRefused(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(region(", autoscaling: {maxReplicas: 5, metrics: [{type: External, external: {metric: {name: viewers}, target: {type: AverageValue, averageValue: 100}}}]}"))
	eventually(w, "live-eu", "the autoscaler goes by the metric", &autoscalingv2.HorizontalPodAutoscaler{}, func(h *autoscalingv2.HorizontalPodAutoscaler) error {
		if len(h.Spec.Metrics) != 1 || h.Spec.Metrics[0].External == nil || h.Spec.Metrics[0].External.Metric.Name != "viewers" {
			return fmt.Errorf("it goes by %v", h.Spec.Metrics)
		}
		return nil
	})
	w.apply(region(", autoscaling: {maxReplicas: 5, metrics: [{type: External, external: {metric: {name: viewers}, target: {type: AverageValue}}}]}"))
	c := w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonApplyFailed)
	if got := condition(c, v1alpha1.ConditionReady).Message; !strings.Contains(got, "metrics[0].external.target") {
		t.Errorf("the message is %q", got)
	}
}

func podMetrics(pod *corev1.Pod, name string, milli int) *unstructured.Unstructured {
	labels := map[string]any{}
	for k, v := range pod.Labels {
		labels[k] = v
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
		"metadata":  map[string]any{"namespace": pod.Namespace, "name": name, "labels": labels},
		"timestamp": metav1.NewTime(time.Now()).UTC().Format(time.RFC3339),
		"window":    "10s",
		"containers": []any{map[string]any{
			"name": "relay", "usage": map[string]any{"cpu": fmt.Sprintf("%dm", milli), "memory": "64Mi"},
		}},
	}}
}
