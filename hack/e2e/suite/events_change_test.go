package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// relays is how many relays the story has when nothing is under way: a root and
// two in each region.
const relays = 5

// change changes the spec of the story's RelayCluster.
func (s *story) change(t *testing.T, how func(*v1alpha1.RelayClusterSpec)) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		rlc, err := s.relayCluster(t.Context())
		if err != nil {
			return err
		}
		how(&rlc.Spec)
		return s.Update(t.Context(), rlc, client.FieldOwner("e2e"))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// changeRegion changes the spec of a region.
func (s *story) changeRegion(t *testing.T, name string, how func(*v1alpha1.Region)) {
	t.Helper()
	s.change(t, func(spec *v1alpha1.RelayClusterSpec) {
		i := slices.IndexFunc(spec.Regions, func(r v1alpha1.Region) bool { return r.Name == name })
		if i < 0 {
			t.Fatalf("no region %s", name)
		}
		how(&spec.Regions[i])
	})
}

// scaleUp gives each region the second relay that it keeps from then on.
func (s *story) scaleUp(t *testing.T) {
	for _, region := range []string{"eu", "us"} {
		s.changeRegion(t, region, func(r *v1alpha1.Region) { r.Replicas = new(int32(2)) })
	}
	s.ready(t, relays)
}

// scaleDown takes relays from under the feet of watchers.
func (s *story) scaleDown(t *testing.T) {
	s.changeRegion(t, "us", func(r *v1alpha1.Region) { r.Replicas = new(int32(1)) })
	s.serving(t, 2*time.Minute, "us", 1, "")
	s.ready(t, relays-1)
}

// scaleBack brings back what scaleDown took.
func (s *story) scaleBack(t *testing.T) {
	s.changeRegion(t, "us", func(r *v1alpha1.Region) { r.Replicas = new(int32(2)) })
	s.ready(t, relays)
}

// image returns the image of relays that the chart of the operator names, with
// a suffix: "-next" is the same code under another version, "-broken" exits.
func (s *story) image(t *testing.T, suffix string) string {
	t.Helper()
	const flag = "--relay-image="
	var list appsv1.DeploymentList
	if err := s.List(t.Context(), &list, client.InNamespace(system), client.MatchingLabels{"app.kubernetes.io/name": "moq-operator"}); err != nil {
		t.Fatal(err)
	}
	for _, d := range list.Items {
		for _, arg := range d.Spec.Template.Spec.Containers[0].Args {
			if image, ok := strings.CutPrefix(arg, flag); ok {
				return image + suffix
			}
		}
	}
	t.Fatalf("no operator in %s has the flag %s", system, flag)
	return ""
}

// roll returns an event that rolls an image through the cluster.
func (s *story) roll(suffix string) func(*testing.T) {
	return func(t *testing.T) {
		image := s.image(t, suffix)
		s.change(t, func(spec *v1alpha1.RelayClusterSpec) { spec.Image = image })
		for _, set := range []string{"root", "eu", "us"} {
			s.rolled(t, set, image)
		}
		s.ready(t, relays)
	}
}

// rolled waits until all pods of a set run an image.
func (s *story) rolled(t *testing.T, set, image string) {
	t.Helper()
	replicas := int32(2)
	if set == "root" {
		replicas = 1
	}
	s.serving(t, 3*time.Minute, set, replicas, image)
}

// rollBroken sets an image that exits at once. It stops at one pod, and that is
// not hidden (U21).
func (s *story) rollBroken(t *testing.T) {
	broken := s.image(t, "-broken")
	s.change(t, func(spec *v1alpha1.RelayClusterSpec) { spec.Image = broken })
	var victim string
	eventually(t, time.Minute, "a pod that fails with the image", func(context.Context) error {
		for _, p := range s.pods(t, "") {
			if restarts(p) > 0 && p.Spec.Containers[0].Image == broken {
				victim = p.Name
				return nil
			}
		}
		return fmt.Errorf("no pod with %s has failed", broken)
	})
	eventually(t, 30*time.Second, "U21: not Ready with a broken image", func(ctx context.Context) error {
		rlc, err := s.relayCluster(ctx)
		if err != nil {
			return err
		}
		return condition(rlc, v1alpha1.ConditionReady, metav1.ConditionFalse)
	})
	for _, p := range s.pods(t, "") {
		if p.Spec.Containers[0].Image == broken && p.Name != victim {
			t.Errorf("%s has the broken image too, after %s has failed with it", p.Name, victim)
		}
	}
}

// revert takes the broken image back. The pod that it broke heals by itself.
func (s *story) revert(t *testing.T) {
	s.roll("-next")(t)
}

func restarts(p corev1.Pod) int32 {
	n := int32(0)
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
		if c.State.Waiting != nil && c.State.Waiting.Reason != "ContainerCreating" {
			n++ // it cannot even be started
		}
	}
	return n
}

// rolloutRestart restarts a set the way people restart everything.
func (s *story) rolloutRestart(t *testing.T) { s.restart(t, "us", relays) }

// restart has the relays of a set replaced, and no others of so many.
func (s *subject) restart(t *testing.T, set string, relays int) {
	t.Helper()
	of := s.name + "-" + set
	before := s.uids(t)
	s.kubectl(t, "-n", s.in, "rollout", "restart", "statefulset/"+of)
	eventually(t, time.Minute, "new pods of "+set, func(context.Context) error {
		for name, pod := range s.uids(t) {
			if strings.HasPrefix(name, of+"-") && before[name] == pod {
				return fmt.Errorf("%s is the old one", name)
			}
		}
		return nil
	})
	s.ready(t, relays)
	for name, pod := range s.uids(t) {
		if !strings.HasPrefix(name, of+"-") && before[name] != pod {
			t.Errorf("%s was replaced too: %s", name, cmp.Diff(before[name], pod))
		}
	}
}

// addRegion adds a region of one relay and plays from it.
func (s *story) addRegion(t *testing.T) {
	s.change(t, func(spec *v1alpha1.RelayClusterSpec) {
		us := spec.Regions[slices.IndexFunc(spec.Regions, func(r v1alpha1.Region) bool { return r.Name == "us" })]
		ap := us.DeepCopy()
		ap.Name, ap.Replicas, ap.Exposure.NodePort = "ap", new(int32(1)), 0
		spec.Regions = append(spec.Regions, *ap)
	})
	s.ready(t, relays+1)
	s.plays(t, s.source(t, "ap"), broadcast, 15*time.Second)
}

// removeRegion removes the region again. Nothing of it stays.
func (s *story) removeRegion(t *testing.T) {
	s.change(t, func(spec *v1alpha1.RelayClusterSpec) {
		spec.Regions = slices.DeleteFunc(spec.Regions, func(r v1alpha1.Region) bool { return r.Name == "ap" })
	})
	eventually(t, 2*time.Minute, "end of the region's objects", func(ctx context.Context) error {
		set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: live + "-ap", Namespace: namespace}}
		service := &corev1.Service{ObjectMeta: set.ObjectMeta}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: live + "-ap-tls", Namespace: namespace}}
		for _, object := range []client.Object{set, service, secret} {
			if err := s.gone(ctx, object); err != nil {
				return err
			}
		}
		return nil
	})
	s.ready(t, relays)
}
