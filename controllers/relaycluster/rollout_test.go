package relaycluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/resources"
	"github.com/moqrelay/moqrelay/controllers/rollout"
	"github.com/moqrelay/moqrelay/controllers/scrape"
)

func TestClusterBecomesReady(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()

	// Ready speaks of counts, which the set's own controller sees a moment before
	// the last pods are seen here.
	wantNodes := []string{"live-root-0  true ", "live-eu-0 eu true ", "live-eu-1 eu true ", "live-us-0 us true ", "live-us-1 us true "}
	c := w.until("all nodes are ready", func(c *v1alpha1.RelayCluster) error {
		var nodes []string
		for _, n := range c.Status.Nodes {
			nodes = append(nodes, fmt.Sprintf("%s %s %v %s", n.Name, n.Region, n.Ready, n.Message))
		}
		if diff := cmp.Diff(wantNodes, nodes); diff != "" {
			return fmt.Errorf("nodes (-want +got):\n%s", diff)
		}
		return nil
	})
	want := v1alpha1.Summary{
		Root: "1/1", Regions: "2/2", Nodes: "5/5", Sessions: "0", Version: relayImage, Egress: "0 bit/s",
		Address: "live-eu." + w.namespace + ".svc",
	}
	if diff := cmp.Diff(want, c.Status.Summary); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if got, want := c.Status.Root.Hosts, []string{"live-root-0.live-root-nodes." + w.namespace + ".svc:4443"}; !slices.Equal(got, want) {
		t.Errorf("hosts of the root %v, want %v", got, want)
	}
	if n := len(c.Status.Certificates); n != 4 {
		t.Errorf("%d certificates, want those of the authority, the root and two regions", n)
	}
	w.untilCondition(v1alpha1.ConditionProgressing, metav1.ConditionFalse, v1alpha1.ReasonUpToDate)

	// The other controllers understand the objects.
	eventually(w, "live-eu", "the disruption budget allows one", &policyv1.PodDisruptionBudget{}, func(b *policyv1.PodDisruptionBudget) error {
		if b.Status.CurrentHealthy != 2 || b.Status.DisruptionsAllowed != 1 {
			return fmt.Errorf("%+v", b.Status)
		}
		return nil
	})
	w.untilEvent(v1alpha1.ReasonReady)

	// At rest nothing is written: not by the operator, and by the others neither
	// once they have seen everything.
	clustertest.Eventually(t, "nothing is written for a second", func(context.Context) error {
		before, cluster := w.children(), w.cluster()
		time.Sleep(time.Second) // of the real controllers
		for name, o := range w.children() {
			if before[name].GetResourceVersion() != o.GetResourceVersion() {
				return fmt.Errorf("%s was written", name)
			}
		}
		if w.cluster().ResourceVersion != cluster.ResourceVersion {
			return errors.New("the status was written")
		}
		return nil
	})
}

func (w world) untilEvent(reason string) {
	w.t.Helper()
	clustertest.Eventually(w.t, "there is an event "+reason, func(ctx context.Context) error {
		var list corev1.EventList
		if err := plane.Client.List(ctx, &list, client.InNamespace(w.namespace)); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Kind == v1alpha1.Kind && e.Reason == reason {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

func TestRegionComesAndGoes(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()
	w.apply(sample + "- {name: asia, replicas: 1}\n")
	w.until("asia is ready", func(c *v1alpha1.RelayCluster) error {
		if c.Status.Summary.Regions != "3/3" {
			return errors.New(c.Status.Summary.Regions)
		}
		return nil
	})
	w.apply("root: {}\nregions:\n- {name: us, replicas: 2}\n")
	w.untilChildrenAsWanted()
	clustertest.Eventually(t, "the pods are gone", func(context.Context) error {
		if n := len(w.pods("eu")) + len(w.pods("asia")); n > 0 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	w.ready()
}

// recordPods notes the pods of an image in the order in which they are made.
func (w world) recordPods(image string) func() []string {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	pods, err := plane.Client.Watch(ctx, &corev1.PodList{}, client.InNamespace(w.namespace))
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	var mu sync.Mutex
	var made []string
	var wg sync.WaitGroup
	wg.Go(func() {
		for event := range pods.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if ok && event.Type == watch.Added && pod.Spec.Containers[0].Image == image {
				mu.Lock()
				made = append(made, pod.Name)
				mu.Unlock()
			}
		}
	})
	w.t.Cleanup(func() {
		pods.Stop()
		cancel()
		wg.Wait()
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(made)
	}
}

func TestRolloutOrder(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()
	made := w.recordPods("registry.test/moq-relay:v2")
	w.apply("image: registry.test/moq-relay:v2\n" + sample)
	w.until("all pods are replaced", func(*v1alpha1.RelayCluster) error {
		if n := len(made()); n < 5 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	want := []string{"live-eu-1", "live-root-0", "live-eu-0", "live-us-1", "live-us-0"}
	if diff := cmp.Diff(want, made()); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	w.untilCondition(v1alpha1.ConditionProgressing, metav1.ConditionFalse, v1alpha1.ReasonUpToDate)
	clustertest.Eventually(t, "every set is held again", func(context.Context) error {
		for _, region := range []string{"root", "eu", "us"} {
			if p := *w.statefulSet(region).Spec.UpdateStrategy.RollingUpdate.Partition; p != rollout.Hold {
				return fmt.Errorf("%s is at partition %d", region, p)
			}
		}
		return nil
	})
}

// A user who pauses an upgrade chooses when it begins, and where.
func TestUpgradeIsPaused(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()
	made := w.recordPods("registry.test/moq-relay:v2")
	const next = "image: registry.test/moq-relay:v2\n" + sample
	w.apply("upgrade: {paused: true}\n" + next)
	w.untilCondition(v1alpha1.ConditionProgressing, metav1.ConditionFalse, v1alpha1.ReasonRolloutHeld)
	w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	// What else the spec asks for is done meanwhile, in the old revision.
	w.apply("upgrade: {paused: true, canaryRegion: us}\n" + strings.Replace(next, "us, replicas: 2", "us, replicas: 3", 1))
	eventually(w, "live-us-2", "the region has grown", &corev1.Pod{}, func(*corev1.Pod) error { return nil })
	if pods := made(); len(pods) > 0 {
		t.Fatalf("%v were replaced", pods)
	}

	w.apply("upgrade: {canaryRegion: us}\n" + strings.Replace(next, "us, replicas: 2", "us, replicas: 3", 1))
	w.until("two pods are replaced", func(*v1alpha1.RelayCluster) error {
		if n := len(made()); n < 2 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	if got, want := made()[:2], []string{"live-us-2", "live-root-0"}; !slices.Equal(got, want) {
		t.Errorf("first replaced are %v, want %v", got, want)
	}
}

func TestBrokenImageStopsAtOnePod(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()
	broken, mended := w.recordPods(brokenImage), w.recordPods(relayImage)

	w.apply("image: " + brokenImage + "\n" + sample)
	w.until("the canary fails", func(c *v1alpha1.RelayCluster) error {
		for _, n := range c.Status.Nodes {
			if n.Name == "live-eu-1" && !n.Ready && n.Message == "ImagePullBackOff: Back-off pulling image" {
				return nil
			}
		}
		return fmt.Errorf("nodes are %+v", c.Status.Nodes)
	})
	clustertest.Steadily(t, "the rollout", time.Second, func(context.Context) error {
		if got := broken(); !slices.Equal(got, []string{"live-eu-1"}) {
			return fmt.Errorf("pods of the broken image: %v", got)
		}
		return nil
	})
	w.untilCondition(v1alpha1.ConditionProgressing, metav1.ConditionFalse, v1alpha1.ReasonRolloutStuck)
	w.untilCondition(v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonAvailable)
	w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRolloutStuck)

	// Growing meanwhile takes the proven image, in the region of the canary too.
	w.apply("image: " + brokenImage + "\nroot: {}\nregions:\n- {name: eu, replicas: 3}\n- {name: us, replicas: 3}\n")
	for _, name := range []string{"live-us-2", "live-eu-2"} {
		eventually(w, name, name+" is there", &corev1.Pod{}, func(pod *corev1.Pod) error {
			if got := pod.Spec.Containers[0].Image; got != relayImage {
				t.Errorf("%s, by which a region grew, has image %s", name, got)
			}
			return nil
		})
	}

	// Reverting heals by itself.
	before := len(mended())
	w.apply(sample)
	w.until("the canary works again", func(*v1alpha1.RelayCluster) error {
		if got := mended()[before:]; !slices.Contains(got, "live-eu-1") {
			return fmt.Errorf("made meanwhile: %v", got)
		}
		return nil
	})
	w.ready()
	w.untilCondition(v1alpha1.ConditionProgressing, metav1.ConditionFalse, v1alpha1.ReasonUpToDate)
	if got := broken(); len(got) != 1 {
		t.Errorf("pods of the broken image: %v", got)
	}
}

func TestBrokenFromTheStartIsMended(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply("image: " + brokenImage + "\n" + sample)
	c := w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRootUnavailable)
	if c.Status.ObservedGeneration != c.Generation {
		t.Error("the status is of another generation")
	}
	clustertest.Eventually(t, "there are pods", func(context.Context) error {
		if n := len(w.pods("eu")); n != 2 {
			return fmt.Errorf("%d of 2", n)
		}
		return nil
	})
	w.apply(sample)
	w.ready()
	w.until("all nodes are ready", func(c *v1alpha1.RelayCluster) error {
		if c.Status.Summary.Nodes != "5/5" {
			return errors.New(c.Status.Summary.Nodes)
		}
		return nil
	})
}

// The planner and the builders hold sets in one and the same way.
func TestHold(t *testing.T) {
	if rollout.Hold != resources.HeldPartition {
		t.Errorf("the planner holds at %d, the builders at %d", rollout.Hold, resources.HeldPartition)
	}
}

// A pod that starts with a certificate that others do not trust yet would be no
// node to them: while that is so, none is replaced.
func TestRolloutWaitsForTrust(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()
	old := w.pair("live-ca")
	plane.Relays.Change(w.key("live-us-0"), func(n *scrape.Node) { n.Trust = []string{old.Fingerprint()} })
	w.deleteSecret("live-ca")
	eventually(w, "live-ca", "there is a new authority", &corev1.Secret{}, func(ca *corev1.Secret) error {
		authority, err := pki.PairOf(ca.Data)
		if err == nil && authority.Fingerprint() == old.Fingerprint() {
			err = errors.New("it is the old one")
		}
		return err
	})
	w.deleteSecret("live-eu-tls")
	eventually(w, "live-eu-tls", "it has signed the certificate of eu", &corev1.Secret{}, func(eu *corev1.Secret) error {
		leaf, err := pki.PairOf(eu.Data)
		if err == nil {
			err = leaf.Certificate.CheckSignatureFrom(w.pair("live-ca").Certificate)
		}
		if err != nil { // a pass that began before has brought back the old one
			w.deleteSecret("live-eu-tls")
		}
		return err
	})
	made := w.recordPods("registry.test/moq-relay:v2")
	w.apply("image: registry.test/moq-relay:v2\n" + sample)
	w.until("the status says for whom it waits", func(c *v1alpha1.RelayCluster) error {
		got := condition(c, v1alpha1.ConditionProgressing)
		if got.Status != metav1.ConditionTrue || !strings.Contains(got.Message, "a new authority has signed the certificate of eu, and live-us-0 does not trust it yet") {
			return fmt.Errorf("%s %s", got.Status, got.Message)
		}
		return nil
	})
	if pods := made(); len(pods) > 0 {
		t.Errorf("%v were replaced", pods)
	}
	plane.Relays.Change(w.key("live-us-0"), nil)
	w.until("all pods are replaced", func(*v1alpha1.RelayCluster) error {
		if n := len(made()); n < 5 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
}

// A pod that mounts a Secret which is not there cannot start: none is replaced by
// one, and the region goes on with those that it has.
func TestRolloutWaitsForPublicSecret(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()
	made := w.recordPods("registry.test/moq-relay:v2")
	w.apply("image: registry.test/moq-relay:v2\ntls: {public: {secretRef: {name: web}}}\n" + sample)
	w.until("the status says what it waits for", func(c *v1alpha1.RelayCluster) error {
		got := condition(c, v1alpha1.ConditionProgressing)
		if got.Status != metav1.ConditionTrue || !strings.Contains(got.Message, `Secret "web", which new pods mount, is not there`) {
			return fmt.Errorf("%s %s", got.Status, got.Message)
		}
		return nil
	})
	if pods := made(); len(pods) > 0 {
		t.Errorf("%v were replaced", pods)
	}
	w.userSecret("web", w.pair("live-eu-tls").Data()) // whatever it is good for
	w.until("all pods are replaced", func(*v1alpha1.RelayCluster) error {
		if n := len(made()); n < 5 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
}

// deleteSecret deletes a Secret, if it is there.
func (w world) deleteSecret(name string) {
	w.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	if err := client.IgnoreNotFound(plane.Client.Delete(w.t.Context(), secret)); err != nil {
		w.t.Fatal(err)
	}
}
