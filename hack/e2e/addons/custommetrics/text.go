package custommetrics

import (
	"fmt"
	"io"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/labels"
)

// sum adds up the series of a metric, a counter or a gauge, whose labels the
// selector takes. A metric that has none is an error: zero would be a guess.
func sum(text io.Reader, metric string, series labels.Selector) (float64, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return 0, fmt.Errorf("metrics: %w", err)
	}
	total, found := 0.0, false
	for _, m := range families[metric].GetMetric() {
		set := labels.Set{}
		for _, l := range m.GetLabel() {
			set[l.GetName()] = l.GetValue()
		}
		if v, ok := value(m); ok && series.Matches(set) {
			total, found = total+v, true
		}
	}
	if !found {
		return 0, fmt.Errorf("no series of %s with labels %q", metric, series)
	}
	return total, nil
}

// value is that of a counter, a gauge, or what has no type.
func value(m *dto.Metric) (float64, bool) {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue(), true
	case m.Gauge != nil:
		return m.Gauge.GetValue(), true
	case m.Untyped != nil:
		return m.Untyped.GetValue(), true
	}
	return 0, false
}
