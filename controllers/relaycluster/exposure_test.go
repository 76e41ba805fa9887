package relaycluster_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
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
