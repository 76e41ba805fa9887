package suite

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/hack/e2e/addons"
)

// Of the region that is autoscaled: sessions that a relay is to have, and how many
// come besides the watchers.
const (
	sessionsPerRelay = 4
	crowdSize        = 8
)

// scaleByLoad has an autoscaler choose the relays of us by their sessions, and a
// crowd come. The metric is served without Prometheus.
func (s *story) scaleByLoad(t *testing.T) {
	manifest, err := addons.CustomMetrics("private", "moq_relay_sessions")
	if err != nil {
		t.Fatal(err)
	}
	s.apply(t, "kube-system", string(manifest))
	s.kubectl(t, "-n", "kube-system", "rollout", "status", "deployment/custommetrics", "--timeout=60s")
	s.change(t, func(spec *v1alpha1.RelayClusterSpec) {
		spec.NetworkPolicy.PrivateFrom = []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{
			MatchLabels: map[string]string{corev1.LabelMetadataName: "kube-system"},
		}}}
	})
	s.changeRegion(t, "us", func(r *v1alpha1.Region) {
		quick := autoscalingv2.HPAScalingRules{
			StabilizationWindowSeconds: new(int32(0)),
			Policies:                   []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 5}},
		}
		r.Replicas = nil
		r.Autoscaling = &v1alpha1.Autoscaling{
			MinReplicas: 2, MaxReplicas: 3,
			CPUUtilization: new(int32(90)), SessionsPerPod: new(int32(sessionsPerRelay)),
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &quick, ScaleDown: &quick},
		}
	})
	s.autoscaled(t, 2)
	us := s.source(t, "us")
	for i := range crowdSize {
		s.crowd = append(s.crowd, s.watch(t, us, broadcast, fmt.Sprintf("crowd-%d", i), "--duration=10m"))
	}
	s.autoscaled(t, 3)
	s.ready(t, relays+1)
}

// scaleByQuiet has the crowd go, and the relay with it that came for it.
func (s *story) scaleByQuiet(t *testing.T) {
	for _, w := range s.crowd {
		w.end()
	}
	s.autoscaled(t, 2)
	s.ready(t, relays)
	s.changeRegion(t, "us", func(r *v1alpha1.Region) { r.Autoscaling, r.Replicas = nil, new(int32(2)) })
	s.ready(t, relays)
}

// autoscaled waits until the autoscaler of us goes by both metrics and has so many
// relays.
func (s *story) autoscaled(t *testing.T, replicas int32) {
	t.Helper()
	eventually(t, 2*time.Minute, fmt.Sprintf("%d relays by the autoscaler", replicas), func(ctx context.Context) error {
		hpa := &autoscalingv2.HorizontalPodAutoscaler{}
		if err := s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: live + "-us"}, hpa); err != nil {
			return err
		}
		if hpa.Status.CurrentReplicas != replicas || hpa.Status.DesiredReplicas != replicas {
			return fmt.Errorf("%d relays, wants %d by %+v", hpa.Status.CurrentReplicas, hpa.Status.DesiredReplicas, hpa.Status.CurrentMetrics)
		}
		rlc, err := s.relayCluster(ctx)
		if err != nil {
			return err
		}
		if len(hpa.Status.CurrentMetrics) < 2 {
			return errors.New("the autoscaler does not see CPU and sessions yet")
		}
		return condition(rlc, v1alpha1.ConditionAutoscalingActive, metav1.ConditionTrue)
	})
}
