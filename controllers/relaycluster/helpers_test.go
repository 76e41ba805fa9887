package relaycluster_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
	"github.com/moqrelay/moqrelay/controllers/relaycluster"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// manifest returns that of a RelayCluster named live with the spec.
func manifest(spec string) string {
	return "apiVersion: moqrelay.io/v1alpha1\nkind: RelayCluster\nmetadata: {name: live}\nspec:\n  " +
		strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ")
}

const sample = `
root: {}
regions:
- {name: eu, replicas: 2}
- {name: us, replicas: 2}
`

// world is a namespace with a RelayCluster.
type world struct {
	namespace string
	t         *testing.T
}

// newWorld starts what is needed and returns an empty namespace. Its tests run
// beside each other.
func newWorld(t *testing.T) world {
	t.Helper()
	start(t)
	t.Parallel()
	return world{namespace: plane.Namespace(t), t: t}
}

// kubelet makes the pods of the world run, but for those of the broken image.
func (w world) kubelet() {
	w.t.Helper()
	plane.Kubelet(w.t, w.namespace, func(image string) bool { return image != brokenImage })
}

// apply applies the RelayCluster with the spec.
func (w world) apply(spec string) {
	w.t.Helper()
	o := parse(w.t, manifest(spec))
	o.SetNamespace(w.namespace)
	applyAsUser(w.t, o)
}

func (w world) cluster() *v1alpha1.RelayCluster {
	w.t.Helper()
	c := &v1alpha1.RelayCluster{}
	w.get("live", c)
	return c
}

func (w world) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: w.namespace, Name: name}
}

func (w world) get(name string, into client.Object) {
	w.t.Helper()
	if err := plane.Client.Get(w.t.Context(), w.key(name), into); err != nil {
		w.t.Fatal(err)
	}
}

// settled waits until the operator has seen the spec as it is, and returns the
// cluster.
func (w world) settled() *v1alpha1.RelayCluster {
	w.t.Helper()
	return w.until("the operator has seen the spec", func(c *v1alpha1.RelayCluster) error {
		if c.Status.ObservedGeneration != c.Generation {
			return fmt.Errorf("observed generation is %d of %d", c.Status.ObservedGeneration, c.Generation)
		}
		return nil
	})
}

// until waits until check has nothing against the cluster.
func (w world) until(what string, check func(*v1alpha1.RelayCluster) error) *v1alpha1.RelayCluster {
	w.t.Helper()
	c := &v1alpha1.RelayCluster{}
	clustertest.Eventually(w.t, what, func(ctx context.Context) error {
		if err := plane.Client.Get(ctx, w.key("live"), c); err != nil {
			return err
		}
		return check(c)
	})
	return c
}

// untilCondition waits for a condition of the present generation.
func (w world) untilCondition(kind string, status metav1.ConditionStatus, reason string) *v1alpha1.RelayCluster {
	w.t.Helper()
	return w.until(fmt.Sprintf("%s is %s, %s", kind, status, reason), func(c *v1alpha1.RelayCluster) error {
		got := meta.FindStatusCondition(c.Status.Conditions, kind)
		if got == nil {
			return fmt.Errorf("there is no condition %s", kind)
		}
		if got.Status != status || got.Reason != reason || got.ObservedGeneration != c.Generation {
			return fmt.Errorf("it is %s, %s, of generation %d: %s", got.Status, got.Reason, got.ObservedGeneration, got.Message)
		}
		return nil
	})
}

// condition returns a condition of the cluster, an empty one if it has none.
func condition(c *v1alpha1.RelayCluster, kind string) metav1.Condition {
	if got := meta.FindStatusCondition(c.Status.Conditions, kind); got != nil {
		return *got
	}
	return metav1.Condition{}
}

func (w world) ready() *v1alpha1.RelayCluster {
	w.t.Helper()
	return w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// eventually waits until check has nothing against the object.
func eventually[T client.Object](w world, name, what string, o T, check func(T) error) {
	w.t.Helper()
	clustertest.Eventually(w.t, what, func(ctx context.Context) error {
		if err := plane.Client.Get(ctx, w.key(name), o); err != nil {
			return err
		}
		return check(o)
	})
}

// children returns all objects of the cluster, by kind and name.
func (w world) children() map[string]client.Object {
	w.t.Helper()
	inv, err := apply.Take(w.t.Context(), plane.Client, plane.Client.Scheme(), w.cluster(), map[string]string{resources.LabelCluster: "live"})
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[string]client.Object{}
	for _, o := range apply.All[client.Object](inv) {
		found[id(w.t, o)] = o
	}
	return found
}

// id returns kind and name of an object.
func id(t *testing.T, o client.Object) string {
	t.Helper()
	gvk, err := apiutil.GVKForObject(o, relaycluster.Scheme())
	if err != nil {
		t.Fatal(err)
	}
	return gvk.Kind + "/" + o.GetName()
}

// wantedChildren returns what the builders want for the cluster as it is.
func (w world) wantedChildren() []string {
	w.t.Helper()
	c := w.cluster()
	in := resources.Input{Cluster: c, Image: relayImage, Trust: []byte("x"), Certificates: map[string]map[string][]byte{}}
	if c.Spec.TLS.Internal.Mode == v1alpha1.InternalSelfSigned {
		in.Authority = map[string][]byte{}
	}
	for _, set := range resources.Sets(c) {
		in.Certificates[set.Key()] = map[string][]byte{}
	}
	var names []string
	for _, o := range resources.Objects(in) {
		named := o.(apply.Configuration)
		names = append(names, *named.GetKind()+"/"+*named.GetName())
	}
	slices.Sort(names)
	return names
}

func (w world) statefulSet(region string) *appsv1.StatefulSet {
	w.t.Helper()
	set := &appsv1.StatefulSet{}
	w.get("live-"+region, set)
	return set
}

func (w world) untilReplicas(region string, want int32) {
	w.t.Helper()
	eventually(w, "live-"+region, fmt.Sprintf("%s has %d replicas", region, want), &appsv1.StatefulSet{}, func(set *appsv1.StatefulSet) error {
		if got := *set.Spec.Replicas; got != want {
			return fmt.Errorf("it has %d", got)
		}
		return nil
	})
}

// pods returns the pods of a region, by name.
func (w world) pods(region string) map[string]corev1.Pod {
	w.t.Helper()
	var list corev1.PodList
	selector := client.MatchingLabels{resources.LabelCluster: "live", resources.LabelRegion: region}
	if region == "root" {
		selector = client.MatchingLabels{resources.LabelCluster: "live", resources.LabelRole: "root"}
	}
	if err := plane.Client.List(w.t.Context(), &list, client.InNamespace(w.namespace), selector); err != nil {
		w.t.Fatal(err)
	}
	pods := map[string]corev1.Pod{}
	for _, pod := range list.Items {
		pods[pod.Name] = pod
	}
	return pods
}

// update changes an object by hand.
func update[T client.Object](w world, name string, o T, change func(T)) {
	w.t.Helper()
	clustertest.Eventually(w.t, "the object is changed", func(ctx context.Context) error {
		if err := plane.Client.Get(ctx, w.key(name), o); err != nil {
			return err
		}
		change(o)
		return plane.Client.Update(ctx, o, client.FieldOwner("kubectl-edit"))
	})
}

// freeAddress returns a loopback address that nothing listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// lockedBuffer is a buffer for several writers.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends p.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all that was written.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
