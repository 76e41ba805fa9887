package relaycluster

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/rollout"
)

// The metrics of the operator beside those of its libraries. All but the steps of
// rollouts are read off the status of all RelayClusters when they are asked for,
// so that a series goes with what it is about.
var (
	metricCondition = prometheus.NewDesc("moq_operator_condition",
		"Conditions of RelayClusters: 1 for the status that each has.",
		[]string{"namespace", "name", "condition", "status"}, nil)
	metricReason = prometheus.NewDesc("moq_operator_condition_reason",
		"Conditions of RelayClusters: 1 for the reason that each has.",
		[]string{"namespace", "name", "condition", "reason"}, nil)
	metricNodes = prometheus.NewDesc("moq_operator_nodes",
		"Relays of all RelayClusters by state: ready, not_ready, draining, or unreachable where a ready one does not answer the operator.",
		[]string{"state"}, nil)
	metricExpiry = prometheus.NewDesc("moq_operator_certificate_expiry_timestamp_seconds",
		"When a certificate ends, by plane (Authority, Internal or Public) and set.",
		[]string{"namespace", "name", "plane", "region"}, nil)
)

// scrapeTime bounds how long metrics wait for the cache.
const scrapeTime = 5 * time.Second

// collector reads the metrics.
type collector struct{ reader client.Reader }

// Describe names all metrics.
func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{metricCondition, metricReason, metricNodes, metricExpiry} {
		descs <- desc
	}
}

// Collect reads the status of every RelayCluster.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	var list v1alpha1.RelayClusterList
	if err := c.reader.List(ctx, &list); err != nil {
		metrics <- prometheus.NewInvalidMetric(metricNodes, err)
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	nodes := map[string]int{"ready": 0, "not_ready": 0, "draining": 0, "unreachable": 0}
	for i := range list.Items {
		cluster := &list.Items[i]
		for _, condition := range cluster.Status.Conditions {
			for _, status := range []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown} {
				value := 0.0
				if condition.Status == status {
					value = 1
				}
				gauge(metricCondition, value, cluster.Namespace, cluster.Name, condition.Type, string(status))
			}
			gauge(metricReason, 1, cluster.Namespace, cluster.Name, condition.Type, condition.Reason)
		}
		for _, certificate := range cluster.Status.Certificates {
			gauge(metricExpiry, float64(certificate.NotAfter.Unix()), cluster.Namespace, cluster.Name, string(certificate.Plane), certificate.Region)
		}
		for _, node := range cluster.Status.Nodes {
			nodes[nodeState(node)]++
		}
	}
	for state, n := range nodes {
		gauge(metricNodes, float64(n), state)
	}
}

func nodeState(node v1alpha1.NodeStatus) string {
	switch {
	case node.Draining:
		return "draining"
	case !node.Ready:
		return "not_ready"
	case node.Sessions == nil:
		return "unreachable"
	default:
		return "ready"
	}
}

// stepTimer measures how long new pods take until they are back in the cluster,
// from when each was made. It remembers the one that each rollout waits for; an
// operator that starts meanwhile measures from the next pass on.
type stepTimer struct {
	seconds prometheus.Histogram

	mu      sync.Mutex
	waiting map[client.ObjectKey]awaited
}

// awaited is a pod that a rollout waits for, and since when it does.
type awaited struct {
	rollout.Pod
	since time.Time
}

// is reports whether a pod is the one that was waited for.
func (a awaited) is(pod rollout.Pod) bool { return pod.Name == a.Name && pod.Created.Equal(a.Created) }

func newStepTimer() *stepTimer {
	return &stepTimer{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "moq_operator_rollout_step_seconds",
			Help:    "Time from the creation of a new pod until a rollout could go on after it.",
			Buckets: []float64{5, 10, 20, 30, 60, 120, 300, 600, 1800},
		}),
		waiting: map[client.ObjectKey]awaited{},
	}
}

// pass notes what a rollout waits for now, and observes what it waited for before
// if that is there. It returns since when it waits for that pod.
func (t *stepTimer) pass(cluster client.ObjectKey, sets []rollout.Set, waiting *rollout.Pod, now time.Time) (since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, waited := t.waiting[cluster]
	delete(t.waiting, cluster)
	since = now
	if waiting != nil {
		if waited && before.is(*waiting) {
			since = before.since
		}
		t.waiting[cluster] = awaited{*waiting, since}
	}
	if !waited {
		return since
	}
	for _, set := range sets {
		for _, pod := range set.Pods {
			if before.is(pod) && pod.Available {
				t.seconds.Observe(now.Sub(pod.Created).Seconds())
			}
		}
	}
	return since
}
