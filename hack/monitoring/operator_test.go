package monitoring

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/util/teststorage"
)

// operatorScrape is what an operator with one RelayCluster exports, those parts
// of it that the dashboard and the alerts use.
func operatorScrape(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "operator.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// operatorNames returns the labels of every series of an operator by its name.
func operatorNames(t *testing.T) map[string][]string {
	t.Helper()
	names := map[string][]string{}
	p := textparse.NewPromParser(operatorScrape(t), labels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		if err != nil {
			return names
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var l labels.Labels
		p.Labels(&l)
		for name := range l.Map() {
			names[l.Get(labels.MetricName)] = append(names[l.Get(labels.MetricName)], name)
		}
	}
}

// recordOperator keeps scrapes of an operator beside those of the relays: the same
// one again and again, with counts that grow.
func recordOperator(t *testing.T, db *teststorage.TestStorage) {
	t.Helper()
	target := labels.FromStrings("job", "moq-operator", "namespace", "moq-system", "pod", "moq-operator-0", "container", "moq-operator", "endpoint", "metrics", "instance", "10.0.0.1:8443")
	for i := range scrapes {
		store(t, db, operatorScrape(t), target, true, time.Unix(0, 0).Add(time.Duration(i)*scrapeStep), float64(i+1))
	}
}
