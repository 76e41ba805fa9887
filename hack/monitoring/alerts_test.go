package monitoring

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

// step is the time between two samples and two evaluations.
const step = 30 * time.Second

// A scenario is what Prometheus sees while something breaks and mends: series in
// the notation of promqltest, a sample every step. The alert has to be silent in
// the first minute, fire at one time, and be silent at the end.
type scenario struct {
	series []string
	fires  time.Duration
	ends   time.Duration
	text   string // is in the summary or the description
}

const relayLabels = `namespace="tv",cluster="live",region="eu",pod="live-eu-0"`

var scenarios = map[string]scenario{
	"MoqNodeDown": {
		[]string{`up{job="moq-relay",` + relayLabels + `} 1x4 0x8 1x10`},
		5 * time.Minute, 10 * time.Minute, "tv/live-eu-0",
	},
	"MoqRootUnreachable": {
		[]string{`moq_relay_root_connected{root="a",` + relayLabels + `} 1x4 0x8 1x10`},
		5 * time.Minute, 10 * time.Minute, "no link to a root",
	},
	"MoqRegionUnavailable": {
		[]string{`up{job="moq-relay",` + relayLabels + `} 1x4 0x8 1x10`},
		4 * time.Minute, 10 * time.Minute, "does not serve in eu",
	},
	"MoqRegionUnavailable/operator": {
		[]string{`moq_operator_condition{namespace="tv",name="live",condition="Available",status="False"} 0x4 1x8 0x10`},
		4 * time.Minute, 10 * time.Minute, "RelayCluster tv/live does not serve",
	},
	"MoqJoinSlow": {
		[]string{
			`moq_relay_join_seconds_bucket{le="2",` + relayLabels + `} 0+10x10 100x40 100+10x60`,
			`moq_relay_join_seconds_bucket{le="5",` + relayLabels + `} 0+10x10 100+10x40 500+10x60`,
			`moq_relay_join_seconds_bucket{le="+Inf",` + relayLabels + `} 0+10x10 100+10x40 500+10x60`,
		},
		24 * time.Minute, 50 * time.Minute, "tv/live eu",
	},
	"MoqGroupsDropped": {
		[]string{
			`moq_relay_groups_dropped_total{reason="stale",` + relayLabels + `} 0x10 0+5x40 200x60`,
			`moq_relay_egress_groups_total{peer="client",` + relayLabels + `} 0+95x110`,
		},
		24 * time.Minute, 50 * time.Minute, "5%",
	},
	"MoqSessionsRefused": {
		[]string{`moq_relay_sessions_refused_total{reason="limit",` + relayLabels + `} 0x10 0+3x30 90x60`},
		18 * time.Minute, 45 * time.Minute, "refuse sessions",
	},
	"MoqMemoryNearBudget": {
		[]string{
			`moq_relay_cache_bytes{` + relayLabels + `} 10x10 95x30 10x20`,
			`moq_relay_memory_budget_bytes{` + relayLabels + `} 100x60`,
		},
		18 * time.Minute, 29 * time.Minute, "95%",
	},
	"MoqCertificateExpiring/internal": {
		// Samples begin at the epoch, so this is the time left.
		[]string{`moq_relay_certificate_expiry_timestamp_seconds{plane="internal",` + relayLabels + `} 864000x10 3600x40 864000x20`},
		18 * time.Minute, 34 * time.Minute, "ends in",
	},
	"MoqCertificateExpiring/internal/told": {
		[]string{
			`moq_relay_certificate_expiry_timestamp_seconds{plane="internal",` + relayLabels + `} 40000x70`,
			`moq_operator_condition{namespace="tv",name="live",condition="CertificatesReady",status="True"} 1x10 0x30 1x20`,
		},
		18 * time.Minute, 34 * time.Minute, "does not say that it is renewed",
	},
	"MoqCertificateExpiring/internal/ended": {
		[]string{
			`moq_relay_certificate_expiry_timestamp_seconds{plane="internal",` + relayLabels + `} 40000x10 100x30 40000x20`,
			`moq_operator_condition{namespace="tv",name="live",condition="CertificatesReady",status="True"} 1x70`,
		},
		18 * time.Minute, 34 * time.Minute, "ends in",
	},
	"MoqCertificateExpiring/public": {
		[]string{
			`moq_relay_certificate_expiry_timestamp_seconds{plane="public",` + relayLabels + `} 8640000x10 300000x40 8640000x20`,
			`moq_relay_certificate_expiry_timestamp_seconds{plane="internal",` + relayLabels + `} 864000x70`,
		},
		18 * time.Minute, 34 * time.Minute, "The one for users",
	},
	"MoqSessionPanicked": {
		[]string{`moq_relay_panics_total{` + relayLabels + `} 0x10 1x60`},
		8 * time.Minute, 34 * time.Minute, "by a bug",
	},
	"MoqNotReady": {
		[]string{`moq_operator_condition{namespace="tv",name="live",condition="Ready",status="False"} 0x4 1x40 0x10`},
		20 * time.Minute, 26 * time.Minute, "tv/live is not ready",
	},
	"MoqRolloutStuck": {
		[]string{
			`moq_operator_condition_reason{namespace="tv",name="live",condition="Progressing",reason="RolloutStuck"} _x4 1x40 _x20`,
			`moq_operator_condition_reason{namespace="tv",name="live",condition="Progressing",reason="RollingOut"} 1x4 _x60`,
			// A node is silent meanwhile.
			`moq_operator_condition{namespace="tv",name="live",condition="ClusterConnected",status="Unknown"} 1x60`,
		},
		20 * time.Minute, 29 * time.Minute, "its manifest asks",
	},
	"MoqRolloutStuck/refused": {
		[]string{`moq_operator_condition_reason{namespace="tv",name="live",condition="Ready",reason="ApplyFailed"} _x4 1x40 _x20`},
		20 * time.Minute, 29 * time.Minute, "its manifest asks",
	},
	"MoqOperatorDown": {
		[]string{`up{job="moq-operator"} 1x4 0x30 1x10`},
		14 * time.Minute, 22 * time.Minute, "No moq-operator",
	},
}

// silent are scenes that no alert may fire at, however long they last.
var silent = map[string][]string{
	"a public plane that is the internal certificate": {
		`moq_relay_certificate_expiry_timestamp_seconds{plane="public",` + relayLabels + `} 300000x70`,
		`moq_relay_certificate_expiry_timestamp_seconds{plane="internal",` + relayLabels + `} 300000x70`,
		`up{job="moq-operator"} 1x70`,
	},
	"certificates that live for hours": {
		`moq_relay_certificate_expiry_timestamp_seconds{plane="internal",` + relayLabels + `} 40000x70`,
		`moq_operator_condition{namespace="tv",name="live",condition="CertificatesReady",status="True"} 1x70`,
		`up{job="moq-operator"} 1x70`,
	},
	"no metrics API": {
		`moq_operator_condition{namespace="tv",name="live",condition="AutoscalingActive",status="False"} 1x70`,
		`moq_operator_condition_reason{namespace="tv",name="live",condition="AutoscalingActive",reason="NoMetricsAPI"} 1x70`,
		`moq_operator_condition_reason{namespace="tv",name="live",condition="Ready",reason="NoMetricsAPI"} 1x70`,
		`up{job="moq-operator"} 1x70`,
	},
	"one root of two is away": {
		`moq_relay_root_connected{root="a",` + relayLabels + `} 1x70`,
		`moq_relay_root_connected{root="b",` + relayLabels + `} 0x70`,
		`up{job="moq-operator"} 1x70`,
	},
	"nothing happens": {
		`moq_relay_join_seconds_bucket{le="2",` + relayLabels + `} 0x70`,
		`moq_relay_join_seconds_bucket{le="+Inf",` + relayLabels + `} 0x70`,
		`moq_relay_groups_dropped_total{reason="stale",` + relayLabels + `} 0x70`,
		`moq_relay_egress_groups_total{peer="client",` + relayLabels + `} 0x70`,
		`moq_relay_cache_bytes{` + relayLabels + `} 0x70`,
		`moq_relay_memory_budget_bytes{` + relayLabels + `} 0x70`,
		`up{job="moq-operator"} 1x70`,
	},
}

// alertingRules returns the rules as Prometheus runs them, by name, or by name
// and plane where there are two of one name.
func alertingRules(t *testing.T) map[string]*rules.AlertingRule {
	t.Helper()
	found := map[string]*rules.AlertingRule{}
	for _, r := range alerts(t) {
		expr, err := queryParser.ParseExpr(r.Expr)
		if err != nil {
			t.Fatal(err)
		}
		name := r.Alert
		if plane := r.Labels["plane"]; plane != "" {
			name += "/" + plane
		}
		found[name] = rules.NewAlertingRule(r.Alert, expr, time.Duration(r.For), time.Duration(r.KeepFiringFor),
			labels.FromMap(r.Labels), labels.FromMap(r.Annotations), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
	}
	return found
}

// TestAlerts (U29) holds that each alert fires when what it is for happens, with
// words that name it, and resolves when it is over.
func TestAlerts(t *testing.T) {
	known := alertingRules(t)
	covered := map[string]bool{}
	for name := range scenarios {
		covered[ruleOf(known, name)] = true
	}
	for name := range known {
		if !covered[name] {
			t.Errorf("nothing tests %s", name)
		}
	}
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			known := alertingRules(t)
			rule := known[ruleOf(known, name)]
			if rule == nil {
				t.Fatal("there is no such alert")
			}
			fired := firing(t, rule, s.series, s.ends)
			for _, at := range []time.Duration{0, time.Minute, s.ends} {
				if fired[at] != "" {
					t.Errorf("at %v it fires: %s", at, fired[at])
				}
			}
			if !strings.Contains(fired[s.fires], s.text) {
				t.Errorf("at %v it says %q, want something with %q", s.fires, fired[s.fires], s.text)
			}
		})
	}
}

// ruleOf returns the name of the rule that a scenario is about: what follows a
// last slash tells several of one rule apart, if it is no part of the rule's name.
func ruleOf(known map[string]*rules.AlertingRule, scenario string) string {
	if known[scenario] != nil {
		return scenario
	}
	return scenario[:max(0, strings.LastIndex(scenario, "/"))]
}

// TestNoFalseAlerts holds that no alert fires at what is fine.
func TestNoFalseAlerts(t *testing.T) {
	for name, series := range silent {
		t.Run(name, func(t *testing.T) {
			for alert, rule := range alertingRules(t) {
				for at, text := range firing(t, rule, series, 35*time.Minute) {
					t.Errorf("%s fires at %v: %s", alert, at, text)
				}
			}
		})
	}
}

// firing evaluates a rule every step, and returns what its alerts say at the
// times at which any fires.
func firing(t *testing.T, rule *rules.AlertingRule, series []string, until time.Duration) map[time.Duration]string {
	t.Helper()
	storage := promqltest.LoadedStorage(t, fmt.Sprintf("load %s\n  %s\n", step, strings.Join(series, "\n  ")))
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1e6)
	fired := map[time.Duration]string{}
	for at := time.Duration(0); at <= until; at += step {
		if _, err := rule.Eval(context.Background(), 0, time.Unix(0, 0).Add(at), rules.EngineQueryFunc(engine, storage), nil, 0); err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, a := range rule.ActiveAlerts() {
			if a.State == rules.StateFiring {
				said = append(said, a.Annotations.Get("summary")+" "+a.Annotations.Get("description"))
			}
		}
		if len(said) > 0 {
			slices.Sort(said)
			fired[at] = strings.Join(said, "; ")
		}
	}
	return fired
}
