package relaycluster

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/rollout"
)

// U22 for the operator: the metrics are as named, lint clean, and go with what
// they are about.
func TestU22MetricsOfTheOperator(t *testing.T) {
	cluster := &v1alpha1.RelayCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "media", Name: "live"}}
	cluster.Status = v1alpha1.RelayClusterStatus{
		Conditions:   []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRolloutStuck}},
		Certificates: []v1alpha1.CertificateStatus{{Plane: v1alpha1.PlaneInternal, Region: "eu", NotAfter: metav1.NewTime(now)}},
		Nodes:        []v1alpha1.NodeStatus{{Ready: true, Sessions: new(int64(3))}, {Ready: true}, {}, {Ready: true, Draining: true}},
	}
	reader := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(cluster).Build()
	want := `
# HELP moq_operator_certificate_expiry_timestamp_seconds When a certificate ends, by plane (Authority, Internal or Public) and set.
# TYPE moq_operator_certificate_expiry_timestamp_seconds gauge
moq_operator_certificate_expiry_timestamp_seconds{name="live",namespace="media",plane="Internal",region="eu"} 1.7872272e+09
# HELP moq_operator_condition Conditions of RelayClusters: 1 for the status that each has.
# TYPE moq_operator_condition gauge
moq_operator_condition{condition="Ready",name="live",namespace="media",status="False"} 1
moq_operator_condition{condition="Ready",name="live",namespace="media",status="True"} 0
moq_operator_condition{condition="Ready",name="live",namespace="media",status="Unknown"} 0
# HELP moq_operator_condition_reason Conditions of RelayClusters: 1 for the reason that each has.
# TYPE moq_operator_condition_reason gauge
moq_operator_condition_reason{condition="Ready",name="live",namespace="media",reason="RolloutStuck"} 1
# HELP moq_operator_nodes Relays of all RelayClusters by state: ready, not_ready, draining, or unreachable where a ready one does not answer the operator.
# TYPE moq_operator_nodes gauge
moq_operator_nodes{state="draining"} 1
moq_operator_nodes{state="not_ready"} 1
moq_operator_nodes{state="ready"} 1
moq_operator_nodes{state="unreachable"} 1
`
	if err := testutil.CollectAndCompare(collector{reader}, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(collector{reader})
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if err := reader.Delete(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.CollectAndLint(newStepTimer().seconds); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if n := testutil.CollectAndCount(collector{reader}); n != 4 {
		t.Errorf("%d series without a RelayCluster, want the four states of nodes", n)
	}
}

func TestStepTimer(t *testing.T) {
	steps := newStepTimer()
	key := client.ObjectKey{Namespace: "media", Name: "live"}
	pod := rollout.Pod{Name: "live-eu-1", Created: now}
	sets := func(available bool) []rollout.Set {
		p := pod
		p.Available = available
		return []rollout.Set{{Pods: []rollout.Pod{p}}}
	}
	steps.pass(key, sets(false), &pod, now.Add(5*time.Second))
	steps.pass(key, sets(false), &pod, now.Add(10*time.Second))
	steps.pass(key, sets(true), nil, now.Add(15*time.Second))
	steps.pass(key, sets(true), nil, now.Add(20*time.Second))
	var m dto.Metric
	if err := steps.seconds.Write(&m); err != nil {
		t.Fatal(err)
	}
	if n, sum := m.Histogram.GetSampleCount(), m.Histogram.GetSampleSum(); n != 1 || sum != 15 {
		t.Errorf("%d steps of %v s together, want one of 15", n, sum)
	}
}
