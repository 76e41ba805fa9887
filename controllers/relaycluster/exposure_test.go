package relaycluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
)

func TestLoadBalancer(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply("root: {}\nregions:\n- {name: eu, replicas: 1, exposure: {mode: LoadBalancer}}\n- {name: us, replicas: 1, exposure: {mode: LoadBalancer, hostnames: [us.example.com]}}")
	w.untilCondition(v1alpha1.ConditionExposureReady, metav1.ConditionFalse, v1alpha1.ReasonLoadBalancerPending)
	w.untilCondition(v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonAvailable)
	w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonLoadBalancerPending)

	for name, address := range map[string]string{"live-eu": "192.0.2.7", "live-us": "192.0.2.8"} {
		service := &corev1.Service{}
		w.get(name, service)
		service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
		if err := plane.Client.Status().Update(t.Context(), service); err != nil {
			t.Fatal(err)
		}
	}
	w.ready()
	c := w.until("the endpoints are told", func(c *v1alpha1.RelayCluster) error {
		if len(c.Status.Regions) != 2 || len(c.Status.Regions[0].Endpoints) == 0 {
			return errors.New("they are not")
		}
		return nil
	})
	want := [][]v1alpha1.Endpoint{
		{{Host: "192.0.2.7", UDP: 443, TCP: 443}},
		{{Host: "us.example.com", UDP: 443, TCP: 443}},
	}
	got := [][]v1alpha1.Endpoint{c.Status.Regions[0].Endpoints, c.Status.Regions[1].Endpoints}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if c.Status.Summary.Address != "192.0.2.7" {
		t.Errorf("address %q", c.Status.Summary.Address)
	}
}

// Each pod of the set has a Service as long as there is the pod, whoever chooses
// their number.
func TestLoadBalancerPerPod(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	spec := "root: {}\nregions:\n- {name: eu, replicas: %d, exposure: {mode: LoadBalancerPerPod, hostnames: [eu.example.com], podHostname: '{pod}.eu.example.com'}}\n" +
		"- {name: us, replicas: 1, exposure: {mode: LoadBalancerPerPod}}"
	w.apply(fmt.Sprintf(spec, 1))
	w.balanced("live-eu-pod-0", "192.0.2.10")
	w.balanced("live-us-pod-0", "192.0.2.20")
	w.ready()

	w.apply(fmt.Sprintf(spec, 2))
	w.untilCondition(v1alpha1.ConditionExposureReady, metav1.ConditionFalse, v1alpha1.ReasonLoadBalancerPending)
	w.balanced("live-eu-pod-1", "192.0.2.11")
	c := w.ready()
	want := [][]v1alpha1.Endpoint{{
		{Host: "eu.example.com", UDP: 443, TCP: 443},
		{Host: "live-eu-0.eu.example.com", Pod: "live-eu-0", UDP: 443, TCP: 443},
		{Host: "live-eu-1.eu.example.com", Pod: "live-eu-1", UDP: 443, TCP: 443},
	}, {
		{Host: "192.0.2.20", Pod: "live-us-0", UDP: 443, TCP: 443},
	}}
	got := [][]v1alpha1.Endpoint{c.Status.Regions[0].Endpoints, c.Status.Regions[1].Endpoints}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}

	w.apply(fmt.Sprintf(spec, 1))
	clustertest.Eventually(t, "the Service of the pod that is gone is deleted", func(ctx context.Context) error {
		err := plane.Client.Get(ctx, w.key("live-eu-pod-1"), &corev1.Service{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
	w.ready()
}

// balanced gives a Service an address as soon as it is there.
func (w world) balanced(name, address string) {
	w.t.Helper()
	service := &corev1.Service{}
	clustertest.Eventually(w.t, "the Service "+name+" is there", func(ctx context.Context) error {
		if err := plane.Client.Get(ctx, w.key(name), service); err != nil {
			return err
		}
		service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
		return plane.Client.Status().Update(ctx, service)
	})
}

func TestMixedProtocolRefused(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	// What has been said stands before the Service, so that the first look at it
	// sees both.
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, Name: "refused"},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: w.namespace, Name: "live-eu"},
		Type:           corev1.EventTypeWarning, Reason: "SyncLoadBalancerFailed",
		Message: "Error syncing load balancer: mixed protocol is not supported for LoadBalancer",
	}
	if err := plane.Client.Create(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	w.apply("root: {}\nregions:\n- {name: eu, replicas: 1, exposure: {mode: LoadBalancer}}")
	c := w.untilCondition(v1alpha1.ConditionExposureReady, metav1.ConditionFalse, v1alpha1.ReasonMixedProtocolRefused)
	message := condition(c, v1alpha1.ConditionExposureReady).Message
	for _, want := range []string{"Error syncing load balancer", "exposure.protocolSharing to Separate"} {
		if !strings.Contains(message, want) {
			t.Errorf("message %q lacks %q", message, want)
		}
	}

	w.apply("root: {}\nregions:\n- {name: eu, replicas: 1, exposure: {mode: LoadBalancer, protocolSharing: Separate}}")
	w.balanced("live-eu", "192.0.2.7")
	w.balanced("live-eu-tcp", "192.0.2.8")
	c = w.ready()
	want := []v1alpha1.Endpoint{{Host: "192.0.2.7", UDP: 443}}
	if diff := cmp.Diff(want, c.Status.Regions[0].Endpoints); diff != "" {
		t.Errorf("endpoints when the load balancers share no address (-want +got):\n%s", diff)
	}
}

// podSecurity has the namespace enforce a Pod Security Standard.
func (w world) podSecurity(level string) {
	w.t.Helper()
	ns := &corev1.Namespace{}
	if err := plane.Client.Get(w.t.Context(), client.ObjectKey{Name: w.namespace}, ns); err != nil {
		w.t.Fatal(err)
	}
	ns.Labels["pod-security.kubernetes.io/enforce"] = level
	if err := plane.Client.Update(w.t.Context(), ns); err != nil {
		w.t.Fatal(err)
	}
}

func TestHostPort(t *testing.T) {
	w := newWorld(t)
	w.podSecurity("privileged")
	w.apply("root: {}\nregions:\n- {name: eu, replicas: 1, exposure: {mode: HostPort, hostPort: 8443}}\n- {name: us, replicas: 1, exposure: {mode: HostNetwork, hostPort: 9443, podHostname: '{pod}.us.example.com'}}")
	schedule := func(name string, change func(*corev1.PodStatus)) {
		pod := &corev1.Pod{}
		clustertest.Eventually(t, name+" is scheduled", func(ctx context.Context) error {
			if err := plane.Client.Get(ctx, w.key(name), pod); err != nil {
				return err
			}
			change(&pod.Status)
			return plane.Client.Status().Update(ctx, pod)
		})
	}
	schedule("live-eu-0", func(s *corev1.PodStatus) {
		s.Conditions = []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable",
			Message: "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
		}}
	})
	c := w.untilCondition(v1alpha1.ConditionExposureReady, metav1.ConditionFalse, v1alpha1.ReasonHostPortConflict)
	if message := condition(c, v1alpha1.ConditionExposureReady).Message; !strings.Contains(message, "pod live-eu-0 finds no machine whose port 8443 is free") {
		t.Errorf("message %q", message)
	}

	w.kubelet()
	for name, address := range map[string]string{"live-eu-0": "192.0.2.1", "live-us-0": "192.0.2.2"} {
		schedule(name, func(s *corev1.PodStatus) {
			s.Conditions = nil
			s.HostIP, s.HostIPs = address, []corev1.HostIP{{IP: address}}
		})
	}
	w.untilCondition(v1alpha1.ConditionExposureReady, metav1.ConditionTrue, v1alpha1.ReasonExposed)
	want := [][]v1alpha1.Endpoint{
		{{Host: "192.0.2.1", Pod: "live-eu-0", UDP: 8443, TCP: 8443}},
		{{Host: "live-us-0.us.example.com", Pod: "live-us-0", UDP: 9443, TCP: 9443}},
	}
	c = w.until("the endpoints are told", func(c *v1alpha1.RelayCluster) error {
		if len(c.Status.Regions[0].Endpoints) == 0 || len(c.Status.Regions[1].Endpoints) == 0 {
			return errors.New("they are not")
		}
		return nil
	})
	got := [][]v1alpha1.Endpoint{c.Status.Regions[0].Endpoints, c.Status.Regions[1].Endpoints}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}

// The restricted Pod Security Standard, which relays need nothing beyond of,
// refuses the host modes; the condition says what to do.
func TestHostPortNeedsANamespaceThatAllowsIt(t *testing.T) {
	w := newWorld(t)
	w.podSecurity("restricted")
	w.kubelet()
	w.apply("root: {}\nregions:\n- {name: eu, replicas: 1, exposure: {mode: HostPort, hostPort: 8443}}")
	clustertest.Eventually(t, "the root is made, which needs nothing special", func(context.Context) error {
		if len(w.pods("root")) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	c := w.untilCondition(v1alpha1.ConditionExposureReady, metav1.ConditionFalse, v1alpha1.ReasonPodsRefused)
	if message := condition(c, v1alpha1.ConditionExposureReady).Message; !strings.Contains(message, "label namespace "+w.namespace+" pod-security.kubernetes.io/enforce=privileged") {
		t.Errorf("message %q", message)
	}
}
