package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// A subject is a RelayCluster that is looked at.
type subject struct {
	*Cluster
	in, name string // namespace and name
}

// relayCluster reads it.
func (s *subject) relayCluster(ctx context.Context) (*v1alpha1.RelayCluster, error) {
	rlc := &v1alpha1.RelayCluster{}
	return rlc, s.Get(ctx, client.ObjectKey{Namespace: s.in, Name: s.name}, rlc)
}

// condition returns a condition of a RelayCluster as an error when it
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
func (s *subject) ready(t *testing.T, relays int) {
	t.Helper()
	want := fmt.Sprintf("%d/%[1]d", relays)
	eventually(t, readyTime, "RelayCluster as its spec asks", func(ctx context.Context) error {
		rlc, err := s.relayCluster(ctx)
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
func (s *subject) pods(t *testing.T, set string) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	eventually(t, 10*time.Second, "list of pods", func(ctx context.Context) error {
		return s.List(ctx, &list, client.InNamespace(s.in), client.MatchingLabels{"moqrelay.io/cluster": s.name})
	})
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return set != "" && !strings.HasPrefix(p.Name, s.name+"-"+set+"-")
	})
	if len(pods) == 0 {
		t.Fatalf("no pods of %s %s", s.name, set)
	}
	return pods
}

// serving waits until so many pods of a set accept sessions, all of this image.
func (s *subject) serving(t *testing.T, within time.Duration, set string, replicas int32, image string) {
	t.Helper()
	eventually(t, within, "pods of "+set, func(ctx context.Context) error {
		var got appsv1.StatefulSet
		if err := s.Get(ctx, client.ObjectKey{Namespace: s.in, Name: s.name + "-" + set}, &got); err != nil {
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
func (s *subject) uids(t *testing.T) map[string]string {
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

// samePods fails if a pod was replaced or restarted.
func (s *subject) samePods(t *testing.T, before map[string]string) {
	t.Helper()
	if diff := cmp.Diff(before, s.uids(t)); diff != "" {
		t.Errorf("pods were replaced or restarted (-before +after):\n%s", diff)
	}
}

// status is what the operator says of it.
func (s *subject) status(t *testing.T) v1alpha1.RelayClusterStatus {
	t.Helper()
	var status v1alpha1.RelayClusterStatus
	eventually(t, 10*time.Second, "status", func(ctx context.Context) error {
		rlc, err := s.relayCluster(ctx)
		status = rlc.Status
		return err
	})
	return status
}

// A source is how one reaches a region from outside: its URL and whom to trust,
// the authorities in a file or one certificate.
type source struct {
	url   string
	roots string
	pin   string
}

// trust returns the flags of the moq command that say whom to trust.
func (s source) trust() []string {
	if s.pin != "" {
		return []string{"--tls-fingerprint", s.pin}
	}
	return []string{"--tls-root", s.roots}
}

// source returns how a region is reached, as its status says.
func (s *subject) source(t *testing.T, region string) source {
	t.Helper()
	from := source{roots: s.trust(t)}
	eventually(t, 30*time.Second, "address of region "+region, func(ctx context.Context) error {
		rlc, err := s.relayCluster(ctx)
		if err != nil {
			return err
		}
		e, err := endpoint(rlc, region)
		if err != nil {
			return err
		}
		from.url = fmt.Sprintf("https://%s:%d", e.Host, e.UDP)
		return nil
	})
	return from
}

// pinned returns how a region is reached by who trusts its certificate alone.
func (s *subject) pinned(t *testing.T, region string) source {
	t.Helper()
	from := s.source(t, region)
	for _, c := range s.status(t).Certificates {
		if c.Region == region {
			return source{url: from.url, pin: c.Fingerprint}
		}
	}
	t.Fatalf("no certificate of region %s in the status", region)
	return source{}
}

// endpoint returns the first address that the status has of a region.
func endpoint(rlc *v1alpha1.RelayCluster, region string) (v1alpha1.Endpoint, error) {
	for _, r := range rlc.Status.Regions {
		if r.Name == region && len(r.Endpoints) > 0 {
			return r.Endpoints[0], nil
		}
	}
	return v1alpha1.Endpoint{}, fmt.Errorf("no endpoint of region %s in the status", region)
}

// trust writes the authorities of a cluster into a file.
func (s *subject) trust(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), s.name+".pem")
	eventually(t, 30*time.Second, "authorities of "+s.name, func(ctx context.Context) error {
		trust := &corev1.ConfigMap{}
		if err := s.Get(ctx, client.ObjectKey{Namespace: s.in, Name: s.name + "-trust"}, trust); err != nil {
			return err
		}
		if trust.Data["ca.crt"] == "" {
			return errors.New("the ConfigMap holds no ca.crt")
		}
		return os.WriteFile(file, []byte(trust.Data["ca.crt"]), 0o600)
	})
	return file
}
