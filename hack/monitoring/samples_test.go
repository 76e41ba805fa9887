package monitoring

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestQueriesOfSamples holds that the queries that people copy, from the samples for
// autoscaling and from docs/monitoring.md, name what relays export.
func TestQueriesOfSamples(t *testing.T) {
	names := exported(t)
	for file, pattern := range map[string]string{
		"config/samples/prometheus-adapter.yaml": `(?:seriesQuery|metricsQuery): (.*)`,
		"config/samples/keda.yaml":               `query: (.*)`,
		"docs/monitoring.md":                     "\\| `([^`]+)` \\|",
	} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		// What the adapter fills in.
		filled := strings.NewReplacer("<<.GroupBy>>", "pod", "<<.LabelMatchers>>", `namespace="default"`).Replace(string(text))
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(filled, -1)
		if len(found) == 0 {
			t.Errorf("%s has no query", file)
		}
		for _, m := range found {
			expr, err := queryParser.ParseExpr(m[1])
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			check(t, names, expr)
		}
	}
}
