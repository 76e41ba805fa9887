package metrics

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

// own gathers the relay's own metrics by name.
func own(t testing.TB, r *Relay) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := r.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*dto.MetricFamily)
	for _, f := range families {
		if name, ok := strings.CutPrefix(f.GetName(), namespace+"_"); ok {
			byName[name] = f
		}
	}
	return byName
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	default:
		return float64(m.Histogram.GetSampleCount())
	}
}

// values flattens a family to label values → number.
func values(f *dto.MetricFamily) map[string]float64 {
	got := make(map[string]float64)
	for _, m := range f.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		got[strings.Join(labels, " ")] = value(m)
	}
	return got
}

// complete returns metrics in which every family exists.
func complete() *Relay {
	r := New()
	r.SetRoot("root:4443", true)
	r.SetCertificate(Internal, "ab", time.Unix(1, 0))
	r.SetCertificate(Public, "cd", time.Unix(1, 0))
	return r
}

func TestU22Lint(t *testing.T) {
	r := complete()
	names := make([]string, 0, 40)
	for name := range own(t, r) {
		names = append(names, namespace+"_"+name)
	}
	problems, err := testutil.GatherAndLint(r.Registry(), names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestZero holds that what can happen is there, at zero, before it does.
func TestZero(t *testing.T) {
	families := own(t, New())
	series := 0
	for name, f := range families {
		for labels, v := range values(f) {
			series++
			if v != 0 && name != "build_info" {
				t.Errorf("%s{%s} starts at %v", name, labels, v)
			}
		}
		for _, m := range f.GetMetric() {
			if n := len(m.GetHistogram().GetBucket()); n > 12 {
				t.Errorf("%s has %d buckets, at most 12 are wanted", name, n)
			}
		}
	}
	want := []string{
		"announcements_total", "broadcasts", "build_info", "cache_bytes", "cache_requests_total", "draining",
		"egress_bytes_total", "egress_frames_total", "egress_groups_total", "goaways_total", "group_age_seconds", "groups_dropped_total",
		"handshake_seconds", "ingress_bytes_total", "ingress_frames_total", "ingress_groups_total", "join_seconds",
		"memory_budget_bytes", "panics_total", "peer_dials_total", "peers", "qlog_events_dropped_total", "quic_packets_lost_total",
		"quic_packets_sent_total", "quic_rtt_seconds", "sessions", "sessions_closed_total", "sessions_opened_total",
		"sessions_refused_total", "subscribe_errors_total", "subscribe_seconds", "subscriptions",
	}
	var got []string
	for name := range families {
		got = append(got, name)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics that exist from the start (-want +got):\n%s", diff)
	}
	if series > 200 {
		t.Errorf("%d sets of labels from the start, at most 200 are wanted", series)
	}
}

func TestSessions(t *testing.T) {
	r := New()
	kind := SessionKind{Transfork, "quic", Node}
	r.SessionOpened(kind, time.Millisecond)
	r.SessionOpened(kind, time.Millisecond)
	r.SessionClosed(kind, ClosedLimit)
	r.SessionRefused(RefusedVersion)
	families := own(t, r)
	for name, want := range map[string]struct {
		labels string
		value  float64
	}{
		"sessions":               {"node moq-transfork quic", 1},
		"sessions_opened_total":  {"node moq-transfork quic", 2},
		"sessions_closed_total":  {"limit", 1},
		"sessions_refused_total": {"version", 1},
		"handshake_seconds":      {"quic", 2},
	} {
		if got := values(families[name])[want.labels]; got != want.value {
			t.Errorf("%s{%s} = %v, want %v; all: %v", name, want.labels, got, want.value, values(families[name]))
		}
	}
}

func TestRootsAreBounded(t *testing.T) {
	r := New()
	for i := range 10 {
		r.SetRoot(fmt.Sprintf("root%d:4443", i), true)
	}
	r.SetRoot("root0:4443", false)
	want := map[string]float64{"root0:4443": 0, "root1:4443": 1, "root2:4443": 1}
	if diff := cmp.Diff(want, values(own(t, r)["root_connected"])); diff != "" {
		t.Errorf("roots (-want +got):\n%s", diff)
	}
}

func TestLookUp(t *testing.T) {
	r := New()
	r.LookUp(Scraped{
		CacheBytes:  func() int64 { return 7 },
		BudgetBytes: func() int64 { return 9 },
		Broadcasts:  func() (int, int) { return 2, 3 },
	})
	families := own(t, r)
	got := []map[string]float64{values(families["cache_bytes"]), values(families["memory_budget_bytes"]), values(families["broadcasts"])}
	want := []map[string]float64{{"": 7}, {"": 9}, {"local": 2, "node": 3}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values that are looked up (-want +got):\n%s", diff)
	}
}

// TestLossesTakenBack holds that a counter does not fall when QUIC finds that a
// packet was not lost after all.
func TestLossesTakenBack(t *testing.T) {
	r := New()
	c := r.Traffic(Client).Connection()
	for _, s := range []struct{ sent, lost uint64 }{{10, 2}, {20, 1}, {30, 3}} {
		c.Sample(0, s.sent, s.lost)
	}
	families := own(t, r)
	if got := values(families["quic_packets_lost_total"])["client"]; got != 3 {
		t.Errorf("%v packets lost, want 3", got)
	}
	if got := values(families["quic_packets_sent_total"])["client"]; got != 30 {
		t.Errorf("%v packets sent, want 30", got)
	}
}

func TestEgressBytes(t *testing.T) {
	r := New()
	r.Traffic(Client).EgressBytes.Add(1200)
	r.Traffic(Node).EgressBytes.Add(300)
	if got := r.EgressBytes(); got != 1500 {
		t.Errorf("%d bytes, want 1500 to clients and nodes together", got)
	}
}

// TestFrameAllocs pins what a frame costs: nothing that the collector has to clean up.
func TestFrameAllocs(t *testing.T) {
	traffic := New().Traffic(Client)
	if n := testing.AllocsPerRun(100, func() {
		traffic.EgressBytes.Add(1200)
		traffic.EgressFrames.Inc()
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func BenchmarkFrame(b *testing.B) {
	traffic := New().Traffic(Client)
	for b.Loop() {
		traffic.EgressBytes.Add(1200)
		traffic.EgressFrames.Inc()
	}
}
