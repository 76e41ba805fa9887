package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
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
	*Cluster
	watchers []*watcher
	roots    []string // files of the authorities that clients trust
	results  []result
	window   time.Time // end of the last event, when the next one begins to count
}

// An event is something that happens to the cluster.
type event struct {
	name string
	kind kind
	// lossy is why groups may be lost although it is planned.
	lossy string
	do    func(*testing.T)
}

// happens runs an event and measures it, media or not: before the first watchers
// come there is nothing to lose. Events after one that failed still run: each
// says something of its own.
func (s *story) happens(t *testing.T, e event) {
	t.Helper()
	r := result{event: e.name, kind: e.kind, lossy: e.lossy, broken: "did not end"}
	t.Run(e.name, func(t *testing.T) {
		defer func() {
			s.results = append(s.results, r)
			if t.Skipped() {
				s.results = s.results[:len(s.results)-1]
				return
			}
			words, ok := r.verdict()
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

// condition returns a condition of the story's RelayCluster as an error when it
// has another status than wanted, or is about an older spec.
func condition(rlc *v1alpha1.RelayCluster, name string, want metav1.ConditionStatus) error {
	c := meta.FindStatusCondition(rlc.Status.Conditions, name)
	switch {
	case c == nil:
		return fmt.Errorf("no condition %s", name)
	case c.ObservedGeneration != rlc.Generation:
		return fmt.Errorf("condition %s is of generation %d, the spec of %d", name, c.ObservedGeneration, rlc.Generation)
	case c.Status != want:
		return fmt.Errorf("condition %s is %s: %s: %s", name, c.Status, c.Reason, c.Message)
	}
	return nil
}

// readyTime is how long a change may take, each step of it apart.
const readyTime = time.Minute

// ready waits until the RelayCluster serves as its spec asks and nothing is
// being changed, with so many relays in all.
func (s *story) ready(t *testing.T, relays int) {
	t.Helper()
	want := fmt.Sprintf("%d/%[1]d", relays)
	eventually(t, readyTime, "RelayCluster as its spec asks", func(ctx context.Context) error {
		rlc, err := s.relayCluster(ctx, namespace, live)
		if err != nil {
			return err
		}
		if rlc.Status.ObservedGeneration != rlc.Generation || rlc.Status.Summary.Nodes != want {
			return fmt.Errorf("status is of generation %d with %s nodes, the spec of %d with %s",
				rlc.Status.ObservedGeneration, rlc.Status.Summary.Nodes, rlc.Generation, want)
		}
		return errors.Join(
			condition(rlc, v1alpha1.ConditionReady, metav1.ConditionTrue),
			condition(rlc, v1alpha1.ConditionProgressing, metav1.ConditionFalse))
	})
}

// pods returns the pods of the RelayCluster, or of one of its sets.
func (s *story) pods(t *testing.T, set string) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	eventually(t, 10*time.Second, "list of pods", func(ctx context.Context) error {
		return s.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{"moqrelay.io/cluster": live})
	})
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return set != "" && !strings.HasPrefix(p.Name, live+"-"+set+"-")
	})
	if len(pods) == 0 {
		t.Fatalf("no pods of %s %s", live, set)
	}
	return pods
}

// serving waits until so many pods of a set accept sessions, all of this image.
func (s *story) serving(t *testing.T, within time.Duration, set string, replicas int32, image string) {
	t.Helper()
	eventually(t, within, "pods of "+set, func(ctx context.Context) error {
		var got appsv1.StatefulSet
		if err := s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: live + "-" + set}, &got); err != nil {
			return err
		}
		if got.Status.ReadyReplicas != replicas || got.Status.Replicas != replicas {
			return fmt.Errorf("%d ready of %d, want %d", got.Status.ReadyReplicas, got.Status.Replicas, replicas)
		}
		if image == "" {
			return nil
		}
		for _, p := range s.pods(t, set) {
			if p.Spec.Containers[0].Image != image {
				return fmt.Errorf("%s runs %s", p.Name, p.Spec.Containers[0].Image)
			}
		}
		return nil
	})
}

// uids returns which pods there are: none may be replaced by some events.
func (s *story) uids(t *testing.T) map[string]string {
	t.Helper()
	uids := map[string]string{}
	for _, p := range s.pods(t, "") {
		restarts := int32(0)
		for _, c := range p.Status.ContainerStatuses {
			restarts += c.RestartCount
		}
		uids[p.Name] = fmt.Sprintf("%s, %d restarts", p.UID, restarts)
	}
	return uids
}
