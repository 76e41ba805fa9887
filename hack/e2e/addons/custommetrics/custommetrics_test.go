package custommetrics

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

const text = `# TYPE moq_relay_sessions gauge
moq_relay_sessions{peer="client",transport="quic"} 3
moq_relay_sessions{peer="client",transport="webtransport"} 4
moq_relay_sessions{peer="node",transport="quic"} 2
# TYPE moq_relay_egress_bytes_total counter
moq_relay_egress_bytes_total 1.5
untyped 7
# TYPE moq_relay_join_seconds histogram
moq_relay_join_seconds_bucket{le="+Inf"} 1
moq_relay_join_seconds_sum 1
moq_relay_join_seconds_count 1
`

func TestSum(t *testing.T) {
	for _, c := range []struct {
		name, text, metric, selector string
		want                         float64
		fails                        bool
	}{
		{name: "all series of a gauge", text: text, metric: "moq_relay_sessions", want: 9},
		{name: "those that a selector takes", text: text, metric: "moq_relay_sessions", selector: "peer=client", want: 7},
		{name: "a counter", text: text, metric: "moq_relay_egress_bytes_total", want: 1.5},
		{name: "without a type", text: text, metric: "untyped", want: 7},
		{name: "a selector that takes none", text: text, metric: "moq_relay_sessions", selector: "peer=nobody", fails: true},
		{name: "an unknown metric", text: text, metric: "moq_relay_session", fails: true},
		{name: "a histogram has no one value", text: text, metric: "moq_relay_join_seconds", fails: true},
		{name: "not metrics", text: "<html>", metric: "moq_relay_sessions", fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			selector, err := labels.Parse(c.selector)
			if err != nil {
				t.Fatal(err)
			}
			got, err := sum(strings.NewReader(c.text), c.metric, selector)
			if (err != nil) != c.fails || got != c.want {
				t.Errorf("%s{%s} = %v, %v; want %v, failing: %t", c.metric, c.selector, got, err, c.want, c.fails)
			}
		})
	}
}

// The autoscaler asks for a metric of all pods of a set and gets those that answer.
func TestAdapterAnswersForPods(t *testing.T) {
	pods := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			fmt.Fprint(w, text)
		}
	}))
	defer pods.Close()
	port := pods.Listener.Addr().(*net.TCPAddr).Port
	a := &Adapter{
		Client: fake.NewClientset(
			pod("eu-0", "eu", "127.0.0.1", port),
			pod("eu-1", "eu", "127.0.0.1", 1), // does not answer
			pod("eu-2", "eu", "", port),       // has no address yet
			pod("us-0", "us", "127.0.0.1", port),
		),
		Port:    "private",
		Metrics: []string{"moq_relay_sessions"},
		HTTP:    http.DefaultClient,
		Log:     slog.New(slog.DiscardHandler),
	}
	server := httptest.NewServer(a.Handler())
	defer server.Close()

	query := url.Values{"labelSelector": {"region=eu"}, "metricLabelSelector": {"peer=client"}}
	got := get[v1beta2.MetricValueList](t, server.URL+"/apis/custom.metrics.k8s.io/v1beta2/namespaces/live/pods/*/moq_relay_sessions?"+query.Encode())
	if len(got.Items) != 1 {
		t.Fatalf("%d pods answered, want eu-0 alone: %+v", len(got.Items), got.Items)
	}
	i := got.Items[0]
	if i.DescribedObject.Name != "eu-0" || i.DescribedObject.Kind != "Pod" || i.Value.String() != "7" || i.Metric.Name != "moq_relay_sessions" {
		t.Errorf("%s %s has %s of %s, want Pod eu-0 with 7 of moq_relay_sessions", i.DescribedObject.Kind, i.DescribedObject.Name, &i.Value, i.Metric.Name)
	}

	found := get[metav1.APIResourceList](t, server.URL+"/apis/custom.metrics.k8s.io/v1beta2")
	want := []metav1.APIResource{{Name: "pods/moq_relay_sessions", Namespaced: true, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"}}}
	if diff := cmp.Diff(want, found.APIResources); diff != "" {
		t.Errorf("discovery (-want +got):\n%s", diff)
	}
}

func pod(name, region, address string, port int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "live", Name: name, Labels: map[string]string{"region": region}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name:  "relay",
			Ports: []corev1.ContainerPort{{Name: "private", ContainerPort: int32(port)}},
		}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address},
	}
}

func get[T any](t *testing.T, url string) T {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var v T
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, r.Status, err)
	}
	return v
}
