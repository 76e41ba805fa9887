package relaycluster_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
)

// everyKind is a spec that needs an object of every kind.
const everyKind = `
root: {}
regions:
- {name: eu, replicas: 1}
- {name: us, autoscaling: {maxReplicas: 4, cpuUtilization: 60}}
`

func (w world) untilChildrenAsWanted() {
	w.t.Helper()
	clustertest.Eventually(w.t, "the objects are those that the builders want", func(context.Context) error {
		if diff := cmp.Diff(w.wantedChildren(), slices.Sorted(maps.Keys(w.children()))); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func TestObjects(t *testing.T) {
	w := newWorld(t)
	w.apply(everyKind)
	w.untilChildrenAsWanted()

	kinds := map[string]bool{}
	for _, o := range w.children() {
		kinds[fmt.Sprintf("%T", o)] = true
		if len(o.GetOwnerReferences()) != 1 || len(o.GetFinalizers()) != 0 {
			t.Errorf("%s has owners %v and finalizers %v", id(t, o), o.GetOwnerReferences(), o.GetFinalizers())
		}
	}
	if len(kinds) != len(apply.Kinds()) {
		t.Errorf("objects of %d kinds, want one of each of %d", len(kinds), len(apply.Kinds()))
	}
	if c := w.settled(); len(c.Finalizers) != 0 {
		t.Errorf("the RelayCluster has finalizers %v", c.Finalizers)
	}
}

func TestEveryChildComesBack(t *testing.T) {
	w := newWorld(t)
	w.apply(everyKind)
	w.untilChildrenAsWanted()
	before := w.children()
	for name, o := range before {
		if err := plane.Client.Delete(t.Context(), o); err != nil {
			t.Fatalf("delete %s: %v", name, err)
		}
	}
	clustertest.Eventually(t, "each object is there anew", func(context.Context) error {
		after := w.children()
		for name, o := range before {
			again, ok := after[name]
			if !ok || again.GetUID() == o.GetUID() || again.GetDeletionTimestamp() != nil {
				return fmt.Errorf("%s is not", name)
			}
		}
		return nil
	})
	w.untilReplicas("us", 2)
}

func TestHandEdits(t *testing.T) {
	w := newWorld(t)
	w.apply(sample)
	w.untilChildrenAsWanted()

	update(w, "live-eu", &corev1.Service{}, func(s *corev1.Service) {
		s.Spec.Ports[0].Port = 4000
		s.Labels["theirs"] = "kept"
	})
	eventually(w, "live-eu", "the Service is as wanted", &corev1.Service{}, func(s *corev1.Service) error {
		if s.Spec.Ports[0].Port != 443 {
			return fmt.Errorf("port is %d", s.Spec.Ports[0].Port)
		}
		if s.Labels["theirs"] != "kept" {
			t.Error("a label of others is gone")
		}
		return nil
	})

	update(w, "live-eu", &appsv1.StatefulSet{}, func(s *appsv1.StatefulSet) {
		s.Spec.Template.Spec.Containers[0].Image = "evil"
		s.Spec.Template.Spec.AutomountServiceAccountToken = new(true)
		s.Spec.UpdateStrategy.RollingUpdate.Partition = new(int32(0))
	})
	eventually(w, "live-eu", "the StatefulSet is as wanted", &appsv1.StatefulSet{}, func(s *appsv1.StatefulSet) error {
		pod := s.Spec.Template.Spec
		if pod.Containers[0].Image != relayImage || *pod.AutomountServiceAccountToken {
			return fmt.Errorf("image %s, token %v", pod.Containers[0].Image, *pod.AutomountServiceAccountToken)
		}
		return nil
	})

	update(w, "live-trust", &corev1.ConfigMap{}, func(c *corev1.ConfigMap) { c.Data["ca.crt"] = "evil" })
	eventually(w, "live-trust", "the authorities are as wanted", &corev1.ConfigMap{}, func(c *corev1.ConfigMap) error {
		if c.Data["ca.crt"] == "evil" {
			return errors.New("they are what somebody wrote")
		}
		return nil
	})
}

// A StatefulSet that was deleted leaves pods behind that hold the names which the
// next one wants. Its controller tries ever more rarely; it is made to look when
// they are gone.
func TestStatefulSetWaitsForItsNames(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()
	const finalizer = "test.moqrelay.io/held"
	update(w, "live-us-1", &corev1.Pod{}, func(p *corev1.Pod) { p.Finalizers = []string{finalizer} })
	before := w.statefulSet("us")
	if err := plane.Client.Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	eventually(w, "live-us", "the next StatefulSet waits for the name of a pod", &appsv1.StatefulSet{}, func(s *appsv1.StatefulSet) error {
		if got := s.Annotations["moqrelay.io/leftover-pods"]; s.UID == before.UID || got != "live-us-1" || s.Status.Replicas != 1 {
			return fmt.Errorf("uid %s, leftover %q, %d pods", s.UID, got, s.Status.Replicas)
		}
		return nil
	})
	update(w, "live-us-1", &corev1.Pod{}, func(p *corev1.Pod) { p.Finalizers = nil })
	eventually(w, "live-us", "it has its pods", &appsv1.StatefulSet{}, func(s *appsv1.StatefulSet) error {
		if s.Status.Replicas != 2 || len(s.Annotations) > 0 {
			return fmt.Errorf("%d pods, annotations %v", s.Status.Replicas, s.Annotations)
		}
		return nil
	})
	w.ready()
}

func TestSpecChanges(t *testing.T) {
	w := newWorld(t)
	w.apply(sample)
	w.untilChildrenAsWanted()
	authority := w.children()["Secret/live-ca"].(*corev1.Secret)

	// Another image and port, a region more and a region less, and reached from
	// outside: all in one change.
	w.apply(`
image: registry.test/moq-relay:v2
port: 8443
root: {}
networkPolicy: {enabled: false}
regions:
- {name: asia, replicas: 1}
- {name: us, replicas: 2, exposure: {mode: NodePort}}
`)
	w.untilChildrenAsWanted()
	for _, region := range []string{"root", "asia", "us"} {
		if got := w.statefulSet(region).Spec.Template.Spec.Containers[0].Image; got != "registry.test/moq-relay:v2" {
			t.Errorf("%s has image %s", region, got)
		}
	}
	service := &corev1.Service{}
	w.get("live-us", service)
	if got := service.Spec; got.Type != corev1.ServiceTypeNodePort || got.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal ||
		got.Ports[0].Port != 8443 || got.Ports[1].Port != 8443 || got.Ports[0].NodePort == 0 {
		t.Errorf("Service of us: %+v", got)
	}
	if got := w.children()["Secret/live-ca"].(*corev1.Secret); cmp.Diff(authority.Data, got.Data) != "" {
		t.Error("the authority was made anew")
	}

	// And back inside.
	w.apply(`
root: {}
regions:
- {name: us, replicas: 2}
`)
	w.untilChildrenAsWanted()
	eventually(w, "live-us", "the Service is inside only", service, func(s *corev1.Service) error {
		if s.Spec.Type != corev1.ServiceTypeClusterIP || s.Spec.Ports[0].NodePort != 0 || s.Spec.ExternalTrafficPolicy != "" {
			return fmt.Errorf("%+v", s.Spec)
		}
		return nil
	})
	w.get("live-relays", &networkingv1.NetworkPolicy{})
}

// Both ports of a Service have one number. A client-side apply, which tells them
// apart by number alone, changed only one of them.
func TestBothPortsChange(t *testing.T) {
	w := newWorld(t)
	w.apply(sample)
	w.untilChildrenAsWanted()
	w.apply("port: 8443\n" + sample)
	eventually(w, "live-eu", "both ports are the new one", &corev1.Service{}, func(s *corev1.Service) error {
		ports := map[corev1.Protocol]int32{}
		for _, p := range s.Spec.Ports {
			ports[p.Protocol] = p.Port
		}
		want := map[corev1.Protocol]int32{corev1.ProtocolUDP: 8443, corev1.ProtocolTCP: 8443}
		if diff := cmp.Diff(want, ports); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func TestForeignObjectIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	theirs := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "live-us"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
	if err := plane.Client.Create(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	w.apply(sample)
	c := w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonApplyFailed)
	if got, want := condition(c, v1alpha1.ConditionReady).Message, `Service "live-us" exists and is not the operator's: delete it, or give the RelayCluster or the region another name`; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	after := &corev1.Service{}
	w.get("live-us", after)
	if after.ResourceVersion != theirs.ResourceVersion {
		t.Error("it was written")
	}
	// What stands in the way of one region is not in the way of the others.
	w.get("live-eu", &corev1.Service{})
	w.get("live-us", &appsv1.StatefulSet{})
	if err := plane.Client.Delete(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	w.apply("port: 8443\n" + sample)
	w.untilChildrenAsWanted()
}

func TestPaused(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()

	w.apply("paused: true\nport: 8443\n" + sample)
	c := w.untilCondition(v1alpha1.ConditionPaused, metav1.ConditionTrue, v1alpha1.ReasonPaused)
	if c.Status.ObservedGeneration != c.Generation {
		t.Error("the status is not of the paused spec")
	}
	if err := plane.Client.Delete(t.Context(), w.children()["PodDisruptionBudget/live-eu"]); err != nil {
		t.Fatal(err)
	}
	update(w, "live-us", &corev1.Service{}, func(s *corev1.Service) {
		s.Spec.SessionAffinity, s.Spec.SessionAffinityConfig = corev1.ServiceAffinityNone, nil
	})
	clustertest.Steadily(t, "everything", time.Second, func(context.Context) error {
		if _, ok := w.children()["PodDisruptionBudget/live-eu"]; ok {
			return errors.New("a deleted object came back")
		}
		service := &corev1.Service{}
		w.get("live-us", service)
		if service.Spec.Ports[0].Port != 443 || service.Spec.SessionAffinity != corev1.ServiceAffinityNone {
			return fmt.Errorf("a Service was changed: %+v", service.Spec)
		}
		return nil
	})
	// What is seen is still told.
	for name := range w.pods("eu") {
		pod := &corev1.Pod{}
		w.get(name, pod)
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
		if err := plane.Client.Status().Update(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRegionUnavailable)

	w.apply("port: 8443\n" + sample)
	w.untilChildrenAsWanted()
	eventually(w, "live-us", "the Service is as wanted", &corev1.Service{}, func(s *corev1.Service) error {
		if s.Spec.Ports[0].Port != 8443 || s.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
			return fmt.Errorf("%+v", s.Spec)
		}
		return nil
	})
}

func TestDeletion(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(everyKind)
	w.untilChildrenAsWanted()
	before := w.children()
	if err := plane.Client.Delete(t.Context(), w.cluster()); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "everything is gone", func(ctx context.Context) error {
		for name, o := range before {
			err := plane.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
			if err == nil {
				return fmt.Errorf("%s is there", name)
			}
			if client.IgnoreNotFound(err) != nil {
				return err
			}
		}
		for _, region := range []string{"root", "eu", "us"} {
			if n := len(w.pods(region)); n > 0 {
				return fmt.Errorf("%s has %d pods", region, n)
			}
		}
		return nil
	})
}
