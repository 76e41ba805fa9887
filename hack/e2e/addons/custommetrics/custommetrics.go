// Package custommetrics serves custom.metrics.k8s.io for the pods of a test
// cluster by asking each pod for its own /metrics: what Prometheus and its
// adapter do for the autoscaler, without either. A metric of a pod is the sum of
// its series of that name, those alone that the metric's selector takes:
//
//	metrics: [{type: Pods, pods: {
//	  metric: {name: moq_relay_sessions, selector: {matchLabels: {peer: client}}},
//	  target: {type: AverageValue, averageValue: "100"}}}]
//
// It runs as a pod (folder manifests of package addons); pods are scraped at the
// container port of the name given by -port. A NetworkPolicy must let it through.
//
// What always holds: a pod that does not answer is left out of the answer, which
// the autoscaler takes for a pod of unknown load. It trusts whoever calls: the
// API server has asked what the caller may do, and others in the cluster could
// read the pods' metrics as well.
package custommetrics

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// scrapeTimeout is how long a pod may take to answer.
const scrapeTimeout = 2 * time.Second

// Adapter answers the autoscaler.
type Adapter struct {
	Client kubernetes.Interface

	// Port is the name of the container port that serves metrics.
	Port string

	// Metrics are the names that discovery shows; all others are served too.
	Metrics []string

	// HTTP asks the pods.
	HTTP *http.Client

	Log *slog.Logger
}

// Handler serves the API.
func (a *Adapter) Handler() http.Handler {
	mux := http.NewServeMux()
	base := "GET /apis/" + v1beta2.SchemeGroupVersion.String()
	mux.HandleFunc(base, a.discover)
	mux.HandleFunc(base+"/namespaces/{namespace}/pods/{pod}/{metric}", a.list)
	return mux
}

// discover says what there is.
func (a *Adapter) discover(w http.ResponseWriter, _ *http.Request) {
	l := metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: v1beta2.SchemeGroupVersion.String(),
		APIResources: []metav1.APIResource{},
	}
	for _, m := range a.Metrics {
		l.APIResources = append(l.APIResources, metav1.APIResource{
			Name: "pods/" + m, Namespaced: true, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"},
		})
	}
	a.answer(w, l)
}

// list answers with a metric of one pod, or of all that a selector takes.
func (a *Adapter) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	series, err := labels.Parse(query.Get("metricLabelSelector"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o := metav1.ListOptions{LabelSelector: query.Get("labelSelector")}
	if pod := r.PathValue("pod"); pod != "*" {
		o.FieldSelector = "metadata.name=" + pod
	}
	pods, err := a.Client.CoreV1().Pods(r.PathValue("namespace")).List(r.Context(), o)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	metric := v1beta2.MetricIdentifier{Name: r.PathValue("metric")}
	if text := query.Get("metricLabelSelector"); text != "" {
		if metric.Selector, err = metav1.ParseToLabelSelector(text); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	a.answer(w, v1beta2.MetricValueList{
		TypeMeta: metav1.TypeMeta{Kind: "MetricValueList", APIVersion: v1beta2.SchemeGroupVersion.String()},
		Items:    a.values(r.Context(), pods.Items, metric, series),
	})
}

// values asks all pods at once.
func (a *Adapter) values(ctx context.Context, pods []corev1.Pod, metric v1beta2.MetricIdentifier, series labels.Selector) []v1beta2.MetricValue {
	sums := make([]*float64, len(pods))
	var scrapes sync.WaitGroup
	for i, p := range pods {
		scrapes.Go(func() {
			v, err := a.scrape(ctx, &p, metric.Name, series)
			if err != nil {
				a.Log.WarnContext(ctx, "pod left out", "pod", p.Namespace+"/"+p.Name, "error", err)
				return
			}
			sums[i] = &v
		})
	}
	scrapes.Wait()

	values := []v1beta2.MetricValue{}
	for i, p := range pods {
		if sums[i] == nil {
			continue
		}
		values = append(values, v1beta2.MetricValue{
			DescribedObject: corev1.ObjectReference{Kind: "Pod", APIVersion: "/v1", Namespace: p.Namespace, Name: p.Name},
			Metric:          metric,
			Timestamp:       metav1.Now(),
			Value:           *resource.NewMilliQuantity(int64(*sums[i]*1000), resource.DecimalSI),
		})
	}
	return values
}

// scrape asks one pod.
func (a *Adapter) scrape(ctx context.Context, p *corev1.Pod, metric string, series labels.Selector) (float64, error) {
	port, ok := portOf(p, a.Port)
	if !ok || p.Status.PodIP == "" || p.Status.Phase != corev1.PodRunning {
		return 0, fmt.Errorf("%s without a port %q", p.Status.Phase, a.Port)
	}
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	url := "http://" + net.JoinHostPort(p.Status.PodIP, strconv.Itoa(int(port))) + "/metrics"
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	r, err := a.HTTP.Do(q)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", url, r.Status)
	}
	return sum(r.Body, metric, series)
}

// portOf returns the number of a pod's port.
func portOf(p *corev1.Pod, name string) (int32, bool) {
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == name {
				return port.ContainerPort, true
			}
		}
	}
	return 0, false
}

func (a *Adapter) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		a.Log.Warn("answer not written", "error", err)
	}
}
