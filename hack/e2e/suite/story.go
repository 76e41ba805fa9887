package suite

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Where the story plays.
const (
	system    = "moq-system" // namespace of the operator
	release   = "moq-operator"
	namespace = "media"
	live      = "live" // the RelayCluster
	broadcast = "demo/clip"
)

// A story is what happens to one RelayCluster while media runs.
type story struct {
	subject
	publisher *moqProcess
	watchers  []*watcher
	crowd     []*watcher // that come and go
	roots     []string   // files of the authorities that clients trust
	results   []result
	window    time.Time // end of the last event, when the next one begins to count
}

// An event is something that happens to the cluster.
type event struct {
	name string
	kind kind
	// lossy is why groups may be lost although it is planned.
	lossy string
	// slow is why media may flow again later than flowsAgain.
	slow string
	do   func(*testing.T)
}

// happens runs an event and measures it, media or not: before the first watchers
// come there is nothing to lose. Events after one that failed still run: each
// says something of its own.
func (s *story) happens(t *testing.T, e event) {
	t.Helper()
	r := result{event: e.name, kind: e.kind, lossy: e.lossy, slow: e.slow, broken: "did not end"}
	t.Run(e.name, func(t *testing.T) {
		defer func() {
			s.results = append(s.results, r)
			if t.Skipped() {
				s.results = s.results[:len(s.results)-1]
				return
			}
			words, ok := r.verdict()
			fmt.Fprintf(os.Stderr, "%s\n", strings.Join(r.cells(), "   "))
			if !ok {
				t.Errorf("%s: %s (%d groups lost, longest gap %v)", e.name, words, r.loss.Groups, r.loss.Gap)
			}
			if t.Failed() {
				s.dump(t)
			}
		}()
		began := time.Now()
		e.do(t)
		r.took = time.Since(began)
		r.broken = ""
		if err := s.settle(t.Context()); err != nil {
			r.broken = err.Error()
		}
		r.loss = s.lost()
	})
}

// settleTime is how long media may take to flow after an event, until we stop
// waiting. What counts is the gap.
const settleTime = 20 * time.Second

// settle waits until media flows to every watcher, so that all that an event
// broke is in its window.
func (s *story) settle(ctx context.Context) error {
	if len(s.watchers) == 0 {
		return nil
	}
	return flows(ctx, settleTime, time.Now(), s.watchers...)
}

// lost closes the window of an event and returns what was lost in it.
func (s *story) lost() Loss {
	to := time.Now()
	var all Loss
	for _, w := range s.watchers {
		all = all.worse(w.loss(s.window, to))
	}
	s.window = to
	return all
}
