package monitoring

import (
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/moqrelay/moqrelay/relay/metrics"
)

var update = flag.Bool("update", false, "write the dashboard into the chart")

const (
	dashboardFile = "../../charts/moq-operator/files/dashboard.json"
	alertsFile    = "../../charts/moq-operator/files/alerts.yaml"
	runbooksFile  = "../../docs/runbooks.md"
	runbooksURL   = "https://github.com/moqrelay/moqrelay/blob/main/docs/runbooks.md#"
)

var queryParser = parser.NewParser(parser.Options{})

// TestDashboardFile holds that the chart has the dashboard that is made here.
func TestDashboardFile(t *testing.T) {
	want, err := New().JSON()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(dashboardFile, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the chart's dashboard is another one, go test -update writes it (-want +got):\n%s", diff)
	}
}

// TestCorePanels (U30) holds that every panel comes with Grafana itself, so that
// the dashboard needs no plugin, and that each says what it shows.
func TestCorePanels(t *testing.T) {
	core := []string{"row", "stat", "timeseries", "heatmap", "table"}
	seen := map[string]bool{}
	for _, p := range New().Panels {
		if !slices.Contains(core, p.Type) {
			t.Errorf("panel %q is a %q, none of %q", p.Title, p.Type, core)
		}
		if p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d shows nothing", p.ID)
		}
		place, err := json.Marshal(p.GridPos)
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(place)] || p.GridPos.X+p.GridPos.W > columns {
			t.Errorf("panel %q is on top of another, or beyond the edge: %s", p.Title, place)
		}
		seen[string(place)] = true
	}
}

// queries returns every query of the dashboard by panel, as Prometheus gets it
// from Grafana when nothing is narrowed down.
func queries() map[string]string {
	fill := strings.NewReplacer(
		"$namespace", ".*", "$cluster", ".*", "$region", ".*", "$pod", ".*",
		"$__rate_interval", "1m",
	)
	found := map[string]string{}
	for _, p := range New().Panels {
		for _, q := range p.Targets {
			found[p.Title+"/"+q.RefID] = fill.Replace(q.Expr)
		}
	}
	return found
}

// alerts returns the rules of the chart.
func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(alertsFile, false, model.UTF8Validation, queryParser, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	var all []rulefmt.Rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// target are the labels that Prometheus adds to what it reads.
var target = []string{"job", "instance", "namespace", "pod", "container", "endpoint"}

// relayTarget are those that our relabelling adds besides.
var relayTarget = []string{"cluster", "region"}

// exported returns the labels of every series by its name, from real registries.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	names := map[string][]string{"up": slices.Concat(target, relayTarget)}
	relay := metrics.New()
	relay.SetRoot("root:4443", true)
	relay.SetCertificate(metrics.Internal, "00", time.Unix(1, 0))
	collect(t, names, relay.Registry(), slices.Concat(target, relayTarget))
	collect(t, names, gathered(operatorFamilies(t)), target)
	return names
}

// gathered is what a registry had.
func gathered(families []*dto.MetricFamily) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
}

// collect adds what a registry has, under the names of its series.
func collect(t *testing.T, names map[string][]string, from prometheus.Gatherer, more []string) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		own := slices.Concat(names[f.GetName()], more) // of another program
		for _, l := range f.GetMetric()[0].GetLabel() {
			own = append(own, l.GetName())
		}
		switch f.GetType() {
		case dto.MetricType_HISTOGRAM:
			names[f.GetName()+"_bucket"] = append(slices.Clone(own), "le")
			names[f.GetName()+"_count"], names[f.GetName()+"_sum"] = own, own
		case dto.MetricType_SUMMARY:
			names[f.GetName()+"_count"], names[f.GetName()+"_sum"] = own, own
			names[f.GetName()] = append(slices.Clone(own), "quantile")
		default:
			names[f.GetName()] = own
		}
	}
}

// TestQueries (U29) holds that every panel and rule parses, and names only
// metrics that relays and operator export and labels that those have.
func TestQueries(t *testing.T) {
	names := exported(t)
	all := queries()
	for _, r := range alerts(t) {
		all["alert "+r.Alert] = r.Expr
	}
	for title, query := range all {
		t.Run(title, func(t *testing.T) {
			expr, err := queryParser.ParseExpr(query)
			if err != nil {
				t.Fatal(err)
			}
			check(t, names, expr)
		})
	}
}

// check walks through an expression and complains of unknown metrics and labels.
// It returns the labels that a series of it may have, nil for any.
func check(t *testing.T, names map[string][]string, expr parser.Expr) {
	t.Helper()
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			known, ok := names[n.Name]
			if !ok {
				t.Errorf("there is no metric %s", n.Name)
				return nil
			}
			for _, m := range n.LabelMatchers {
				if m.Name != model.MetricNameLabel && !slices.Contains(known, m.Name) {
					t.Errorf("%s has no label %s, it has %q", n.Name, m.Name, known)
				}
			}
		case *parser.AggregateExpr:
			known := below(names, n.Expr)
			for _, l := range n.Grouping {
				if !slices.Contains(known, l) {
					t.Errorf("%s: nothing below has label %s", n, l)
				}
			}
		}
		return nil
	})
}

// below returns the labels of all metrics in an expression.
func below(names map[string][]string, expr parser.Expr) []string {
	var all []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			all = append(all, names[v.Name]...)
		}
		return nil
	})
	return all
}

// TestRunbooks (U17) holds that every alert says what is wrong, and has a section
// in the runbooks that its link leads to.
func TestRunbooks(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash(runbooksFile))
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^<a id="([^"]+)"></a>$`).FindAllStringSubmatch(string(text), -1) {
		anchors[m[1]] = false
	}
	for _, r := range alerts(t) {
		anchor, ok := strings.CutPrefix(r.Annotations["runbook_url"], runbooksURL)
		if _, known := anchors[anchor]; !ok || !known {
			t.Errorf("%s: no runbook at %s", r.Alert, r.Annotations["runbook_url"])
		}
		anchors[anchor] = true
		for _, annotation := range []string{"summary", "description"} {
			if r.Annotations[annotation] == "" {
				t.Errorf("%s has no %s", r.Alert, annotation)
			}
		}
		if !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
			t.Errorf("%s has severity %q", r.Alert, r.Labels["severity"])
		}
	}
	for anchor, used := range anchors {
		if !used {
			t.Errorf("no alert leads to runbook %s", anchor)
		}
	}
}
