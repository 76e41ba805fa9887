package suite

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/hack/e2e/addons"
)

// open and neighbour are further namespaces: one that takes pods with ports of
// their machine, and one of somebody else.
const (
	openNamespace = "open"
	neighbour     = "neighbour"
)

// reachEveryWay runs a region for each mode of exposure, and plays from all of
// them at the address in the status what is published into the first.
func (s *story) reachEveryWay(t *testing.T) {
	s.wantLoadBalancers(t)
	s.makeNamespace(t, openNamespace, "privileged")
	s.apply(t, openNamespace, `apiVersion: moqrelay.io/v1alpha1
kind: RelayCluster
metadata: {name: ways}
spec:
  root: {}
  regions:
  - {name: "np", exposure: {mode: NodePort}}
  - {name: "lb", exposure: {mode: LoadBalancer}}
  - {name: "two", exposure: {mode: LoadBalancer, protocolSharing: Separate, externalTrafficPolicy: Cluster}}
  - {name: "each", replicas: 2, exposure: {mode: LoadBalancerPerPod}}
  - {name: "hp", exposure: {mode: HostPort, hostPort: 4443}}
  - {name: "hn", exposure: {mode: HostNetwork, hostPort: 5443}}
`)
	ways := &subject{s.Cluster, openNamespace, "ways"}
	defer ways.remove(t)
	ways.ready(t, 8)
	publisher := ways.publish(t, ways.pinned(t, "np"), "ways/clip")
	defer publisher.end()
	for _, region := range []string{"lb", "two", "each", "hp", "hn"} {
		from := ways.pinned(t, region)
		began := time.Now()
		ways.plays(t, from, "ways/clip", 15*time.Second)
		t.Logf("%s plays at %s after %v", region, from.url, time.Since(began).Round(time.Millisecond))
	}
	ways.restart(t, "hn", 8) // which the operator cannot ask whether it is back
}

// remove deletes a RelayCluster and waits for the end of its pods.
func (s *subject) remove(t *testing.T) {
	t.Helper()
	s.kubectl(t, "-n", s.in, "delete", "relaycluster", s.name, "--wait=false", "--ignore-not-found")
	eventually(t, 2*time.Minute, "end of the pods of "+s.name, func(ctx context.Context) error {
		var pods corev1.PodList
		err := s.List(ctx, &pods, client.InNamespace(s.in), client.MatchingLabels{"moqrelay.io/cluster": s.name})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d are left", len(pods.Items))
		}
		return err
	})
}

// wantLoadBalancers skips a test that needs addresses from the cluster.
func (c *Cluster) wantLoadBalancers(t *testing.T) {
	t.Helper()
	if c.LoadBalancerRange == "" {
		t.Skipf("a cluster of provider %s may have no load balancers", c.Provider)
	}
}

// lookAsNeighbour looks what the pod of somebody else reaches: health and media of
// the relays, and nothing that is private (S24), nor the operator.
func (s *story) lookAsNeighbour(t *testing.T) {
	s.makeNamespace(t, neighbour, "restricted")
	want := map[string]string{}
	for _, p := range s.pods(t, "") {
		want[p.Status.PodIP+":4443"] = "open"
		want[p.Status.PodIP+":9090"] = "closed"
	}
	var operators corev1.PodList
	if err := s.List(t.Context(), &operators, client.InNamespace(system), client.MatchingLabels{"app.kubernetes.io/name": "moq-operator"}); err != nil {
		t.Fatal(err)
	}
	for _, p := range operators.Items {
		want[p.Status.PodIP+":8081"] = "closed" // its health, for kubelet alone
	}
	got := s.look(t, neighbour, want)
	for address, state := range want {
		if got[address] != state {
			t.Errorf("S24: to a neighbour %s is %q, want %q", address, got[address], state)
		}
	}
}

// look runs a pod that says which addresses are open to it.
func (s *story) look(t *testing.T, in string, addresses map[string]string) map[string]string {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: in, Name: "probe"},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   new(true),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "probe", Image: addons.Probe,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
	for address := range addresses {
		pod.Spec.Containers[0].Args = append(pod.Spec.Containers[0].Args, address)
	}
	if err := s.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "answers of the probe", func(ctx context.Context) error {
		if err := s.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("it is %s", pod.Status.Phase)
		}
		return nil
	})
	got := map[string]string{}
	for line := range strings.Lines(s.run(t, "kubectl", "-n", in, "logs", "probe")) {
		if address, state, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			got[address] = state
		}
	}
	return got
}
