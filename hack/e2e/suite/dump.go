package suite

import (
	"context"
	"testing"
	"time"
)

// dump writes down what the cluster, the operator and the watchers say: what one
// would look at first.
func (s *story) dump(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "relayclusters,pods,services,endpointslices", "-A", "-o", "wide"},
		{"-n", namespace, "get", "relaycluster", live, "-o", "jsonpath={.status}"},
		{"-n", namespace, "get", "events", "--sort-by=.lastTimestamp"},
		{"-n", system, "logs", "-l", "app.kubernetes.io/name=moq-operator", "--prefix", "--tail=40"},
		{"-n", namespace, "logs", "-l", "moqrelay.io/cluster=" + live, "--prefix", "--tail=25"},
	} {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		out, err := s.try(ctx, "", "kubectl", args...)
		cancel()
		const most = 12000
		if len(out) > most {
			out = "…" + out[len(out)-most:]
		}
		t.Logf("kubectl %v (%v)\n%s", args, err, out)
	}
	if s.publisher != nil {
		t.Logf("publisher: %v\n%s", s.publisher.alive(), s.publisher.lastWords())
	}
	for _, w := range s.watchers {
		t.Logf("%s: %v\n%s", w.name, w.alive(), w.lastWords())
		for _, turn := range w.tail(8) {
			t.Logf("%s: %s %s %s %s", w.name, turn.At.Format(time.TimeOnly), turn.State, turn.URL, turn.Error)
		}
	}
}
