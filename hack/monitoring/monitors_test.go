package monitoring

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// TestMonitors (U40) holds that the PodMonitors and the PrometheusRule of the chart
// have no field that the Prometheus operator does not know, and that the operator's
// metrics keep their own namespace and name.
func TestMonitors(t *testing.T) {
	out := render(t)
	found := map[string]bool{}
	for doc := range strings.SplitSeq(string(out), "\n---") {
		var meta struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if err := yaml.Unmarshal([]byte(doc), &meta); err != nil {
			t.Fatal(err)
		}
		id := meta.Kind + "/" + meta.Metadata.Name
		found[id] = true
		switch meta.Kind {
		case monitoringv1.PodMonitorsKind:
			var m monitoringv1.PodMonitor
			if err := yaml.UnmarshalStrict([]byte(doc), &m); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			if m.Spec.JobLabel != "app.kubernetes.io/name" {
				t.Errorf("%s: the job is not the program's name, which queries go by", id)
			}
			isOperator := id == "PodMonitor/moq-operator"
			if got := m.Spec.PodMetricsEndpoints[0].HonorLabels; got != isOperator {
				t.Errorf("%s: honorLabels is %v", id, got)
			}
		case monitoringv1.PrometheusRuleKind:
			var r monitoringv1.PrometheusRule
			if err := yaml.UnmarshalStrict([]byte(doc), &r); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			for _, rule := range r.Spec.Groups[0].Rules {
				if rule.Labels["team"] != "video" || rule.Labels["severity"] == "" || !strings.HasPrefix(rule.Annotations["runbook_url"], "https://wiki.test/moq#") {
					t.Errorf("%s has labels %v and runbook %s", rule.Alert, rule.Labels, rule.Annotations["runbook_url"])
				}
			}
		}
	}
	for _, want := range []string{"PodMonitor/moq-operator", "PodMonitor/moq-operator-relays", "PrometheusRule/moq-operator"} {
		if !found[want] {
			t.Errorf("there is no %s", want)
		}
	}
}

// render renders the chart with all that monitors.
func render(t *testing.T) []byte {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), filepath.Join(root, "hack/e2e/build.sh"), "--if-built").Output()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no helm: run hack/e2e/build.sh")
		}
		t.Skip("there is no helm: run hack/e2e/build.sh")
	}
	helm := exec.CommandContext(t.Context(), filepath.Join(strings.TrimSpace(string(dir)), "helm"),
		"template", "moq-operator", filepath.Join(root, "charts/moq-operator"), "--namespace", "moq-system", "--set",
		"monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true,monitoring.prometheusRule.alertLabels.team=video,monitoring.prometheusRule.runbookURL=https://wiki.test/moq")
	helm.Env = append(os.Environ(), "HOME="+t.TempDir())
	var errs bytes.Buffer
	helm.Stderr = &errs
	out, err := helm.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return out
}
