package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	coordinationv1ac "k8s.io/client-go/applyconfigurations/coordination/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/moqrelay/moqrelay/controllers/clustertest"
)

var plane = clustertest.New(clustertest.Options{Scheme: clientgoscheme.Scheme})

func TestMain(m *testing.M) { os.Exit(plane.Run(m)) }

var labels = map[string]string{"cluster": "live"}

// fixture is an owner in a namespace of its own; any object can be one.
type fixture struct {
	*Applier
	owner *corev1.ConfigMap
}

func setup(t *testing.T) fixture {
	t.Helper()
	plane.Start(t)
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: plane.Namespace(t), Name: "owner"}}
	create(t, owner)
	return fixture{Applier: New(plane.Client, plane.Client), owner: owner}
}

func (f fixture) take(t *testing.T) *Inventory {
	t.Helper()
	inv, err := Take(t.Context(), plane.Client, clientgoscheme.Scheme, f.owner, labels)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func (f fixture) apply(t *testing.T, desired ...Configuration) {
	t.Helper()
	inv := f.take(t)
	for _, d := range desired {
		if err := f.Apply(t.Context(), inv, d); err != nil {
			t.Fatal(err)
		}
	}
}

func (f fixture) ownerReference() *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().WithAPIVersion("v1").WithKind("ConfigMap").
		WithName(f.owner.Name).WithUID(f.owner.UID).WithController(true)
}

func (f fixture) configMap(name, value string) *corev1ac.ConfigMapApplyConfiguration {
	return corev1ac.ConfigMap(name, f.owner.Namespace).WithLabels(labels).
		WithOwnerReferences(f.ownerReference()).WithData(map[string]string{"ours": value})
}

func (f fixture) statefulSet(image string) *appsv1ac.StatefulSetApplyConfiguration {
	return appsv1ac.StatefulSet("one", f.owner.Namespace).WithLabels(labels).
		WithOwnerReferences(f.ownerReference()).
		WithSpec(appsv1ac.StatefulSetSpec().
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(labels)).
			WithTemplate(corev1ac.PodTemplateSpec().WithLabels(labels).
				WithSpec(corev1ac.PodSpec().WithContainers(corev1ac.Container().WithName("one").WithImage(image)))))
}

func TestApplyRestoresOurFieldsAndLeavesOthers(t *testing.T) {
	f := setup(t)
	f.apply(t, f.configMap("a", "1"))

	seen := &corev1.ConfigMap{}
	get(t, f.owner.Namespace, "a", seen)
	seen.Data = map[string]string{"ours": "changed by hand", "theirs": "kept"}
	if err := plane.Client.Update(t.Context(), seen, client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
	f.apply(t, f.configMap("a", "1"))

	get(t, f.owner.Namespace, "a", seen)
	if diff := cmp.Diff(map[string]string{"ours": "1", "theirs": "kept"}, seen.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

// What tells the items of a list apart can be changed by hand too.
func TestApplyRestoresPorts(t *testing.T) {
	f := setup(t)
	service := func(port int32) *corev1ac.ServiceApplyConfiguration {
		return corev1ac.Service("a", f.owner.Namespace).WithLabels(labels).WithOwnerReferences(f.ownerReference()).
			WithSpec(corev1ac.ServiceSpec().WithPorts(
				corev1ac.ServicePort().WithName("quic").WithProtocol(corev1.ProtocolUDP).WithPort(port),
				corev1ac.ServicePort().WithName("http").WithProtocol(corev1.ProtocolTCP).WithPort(port)))
	}
	f.apply(t, service(443))
	seen := &corev1.Service{}
	get(t, f.owner.Namespace, "a", seen)
	seen.Spec.Ports[0].Port = 4000
	seen.Labels["theirs"] = "kept"
	if err := plane.Client.Update(t.Context(), seen, client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int32{443, 8443} {
		f.apply(t, service(want))
		get(t, f.owner.Namespace, "a", seen)
		if p := seen.Spec.Ports; len(p) != 2 || p[0].Port != want || p[1].Port != want {
			t.Errorf("ports %+v, want both to be %d", p, want)
		}
		if seen.Labels["theirs"] != "kept" {
			t.Error("a label of others is gone")
		}
	}
}

func TestInvalidIsReported(t *testing.T) {
	f := setup(t)
	set := f.statefulSet("v1")
	f.applySet(t, "v1", 1)
	set.Spec.WithServiceName("cannot change")
	if err := f.Apply(t.Context(), f.take(t), set); !apierrors.IsInvalid(err) {
		t.Errorf("got error %v, want one that says what is invalid", err)
	}
}

func TestApplyChangesNothingTwice(t *testing.T) {
	f := setup(t)
	f.apply(t, f.configMap("a", "1"))
	before, after := &corev1.ConfigMap{}, &corev1.ConfigMap{}
	get(t, f.owner.Namespace, "a", before)
	f.apply(t, f.configMap("a", "1"))
	get(t, f.owner.Namespace, "a", after)
	if before.ResourceVersion != after.ResourceVersion {
		t.Error("applying the same again wrote the object")
	}
}

// What has not changed is not sent again; what has, by us or by hand, is.
func TestApplyAsksNothingTwice(t *testing.T) {
	f := setup(t)
	sent := 0
	f.Applier = New(interceptor.NewClient(plane.Client, interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			sent++
			return c.Apply(ctx, o, opts...)
		},
	}), plane.Client)
	want := func(n int, reason string) {
		t.Helper()
		if sent != n {
			t.Errorf("%s: sent %d times, want %d", reason, sent, n)
		}
	}
	f.apply(t, f.configMap("a", "1"))
	f.apply(t, f.configMap("a", "1"))
	want(1, "nothing has changed")
	f.apply(t, f.configMap("a", "2"))
	want(2, "another state")
	seen := &corev1.ConfigMap{}
	get(t, f.owner.Namespace, "a", seen)
	seen.Data["ours"] = "changed by hand"
	if err := plane.Client.Update(t.Context(), seen, client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
	f.apply(t, f.configMap("a", "2"))
	want(3, "changed by hand")
	f.apply(t, f.configMap("a", "2"))
	want(3, "changed back")
	f.Forget(client.ObjectKeyFromObject(f.owner))
	f.apply(t, f.configMap("a", "2"))
	want(4, "forgotten")
}

func TestApplyRefusesForeignObjects(t *testing.T) {
	f := setup(t)
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.owner.Namespace, Name: "other"}}
	create(t, other)
	controlled := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: f.owner.Namespace, Name: "controlled", Labels: labels,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "other", UID: other.UID, Controller: new(true)}},
	}}
	create(t, controlled)

	for name, reason := range map[string]string{
		"other":      "an object without owner is the user's",
		"controlled": "our labels do not make it ours",
	} {
		t.Run(name, func(t *testing.T) {
			err := f.Apply(t.Context(), f.take(t), f.configMap(name, "1"))
			if foreign, ok := errors.AsType[*ForeignError](err); !ok || foreign.Name != name {
				t.Errorf("got error %v, want a ForeignError: %s", err, reason)
			}
			seen := &corev1.ConfigMap{}
			get(t, f.owner.Namespace, name, seen)
			if len(seen.Data) > 0 {
				t.Error("the object was written")
			}
		})
	}
}

func TestApplyTakesBackWhatLostItsLabels(t *testing.T) {
	f := setup(t)
	f.apply(t, f.configMap("a", "1"))
	seen := &corev1.ConfigMap{}
	get(t, f.owner.Namespace, "a", seen)
	seen.Labels = nil
	if err := plane.Client.Update(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	f.apply(t, f.configMap("a", "1"))
	get(t, f.owner.Namespace, "a", seen)
	if diff := cmp.Diff(labels, seen.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestPrune(t *testing.T) {
	f := setup(t)
	foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.owner.Namespace, Name: "foreign", Labels: labels}}
	create(t, foreign)
	f.apply(t, f.configMap("kept", "1"), f.configMap("dropped", "1"))

	inv := f.take(t)
	if err := f.Apply(t.Context(), inv, f.configMap("kept", "1")); err != nil {
		t.Fatal(err)
	}
	deleted, err := f.Prune(t.Context(), inv)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ConfigMap/dropped"}, deleted); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
	var left corev1.ConfigMapList
	if err := plane.Client.List(t.Context(), &left, client.InNamespace(f.owner.Namespace), client.MatchingLabels(labels)); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range left.Items {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"foreign", "kept"}, names); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// A kind that Take does not list is pruned all the same, once it was found.
func TestFind(t *testing.T) {
	f := setup(t)
	kind := coordinationv1.SchemeGroupVersion.WithKind("Lease")
	lease := func(name string) *coordinationv1ac.LeaseApplyConfiguration {
		return coordinationv1ac.Lease(name, f.owner.Namespace).WithLabels(labels).WithOwnerReferences(f.ownerReference())
	}
	f.apply(t, lease("kept"), lease("dropped"))
	create(t, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: f.owner.Namespace, Name: "foreign", Labels: labels}})

	inv := f.take(t)
	for _, name := range []string{"kept", "dropped", "foreign", "missing"} {
		if err := f.Find(t.Context(), inv, kind, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok := Get[*coordinationv1.Lease](inv, name); ok != (name == "kept" || name == "dropped") {
			t.Errorf("%s is in the inventory: %v", name, ok)
		}
	}
	if err := f.Apply(t.Context(), inv, lease("kept")); err != nil {
		t.Fatal(err)
	}
	deleted, err := f.Prune(t.Context(), inv)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Lease/dropped"}, deleted); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
}

// The trap that handOver and Scale exist for, shown on the real thing.
func TestDroppingReplicasResetsThem(t *testing.T) {
	f := setup(t)
	set := f.statefulSet("v1")
	set.Spec.WithReplicas(3)
	f.apply(t, set)
	f.apply(t, f.statefulSet("v2"))
	if got := f.replicas(t); got != 1 {
		t.Errorf("an apply without replicas left %d: it used to reset them to 1, and handOver is not needed if it no longer does", got)
	}
}

func TestReplicasSurviveApplies(t *testing.T) {
	f := setup(t)
	for _, image := range []string{"v1", "v2", "v3"} {
		f.applySet(t, image, 3)
		if got := f.replicas(t); got != 3 {
			t.Fatalf("%d replicas after %s, want 3", got, image)
		}
	}
	if err := f.Scale(t.Context(), f.seenSet(t), 5); err != nil {
		t.Fatal(err)
	}
	f.applySet(t, "v4", 3)
	if got := f.replicas(t); got != 5 {
		t.Errorf("%d replicas after scaling to 5 and applying", got)
	}
	f.scaleAs(t, "an autoscaler", 4)
	f.applySet(t, "v5", 3)
	if got := f.replicas(t); got != 4 {
		t.Errorf("%d replicas after an autoscaler chose 4", got)
	}
}

func TestReplicasSurviveLostLabels(t *testing.T) {
	f := setup(t)
	f.applySet(t, "v1", 2)
	f.scaleAs(t, "an autoscaler", 4)
	set := f.seenSet(t)
	set.Labels = nil
	if err := plane.Client.Update(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	f.applySet(t, "v1", 2)
	if got := f.replicas(t); got != 4 {
		t.Errorf("%d replicas, want the autoscaler's 4: the set is not new", got)
	}
}

func TestApplyShowsWhatTheServerMadeOfIt(t *testing.T) {
	f := setup(t)
	inv := f.take(t)
	if err := f.StatefulSet(t.Context(), inv, f.statefulSet("v1"), 3); err != nil {
		t.Fatal(err)
	}
	set, ok := Get[*appsv1.StatefulSet](inv, "one")
	if !ok {
		t.Fatal("the set is not in the inventory")
	}
	if set.Generation != 1 || set.UID == "" || *set.Spec.Replicas != 3 || set.Spec.RevisionHistoryLimit == nil {
		t.Errorf("generation %d, UID %q, spec %v: want the server's answer with its defaults", set.Generation, set.UID, set.Spec)
	}
	if len(All[*appsv1.StatefulSet](inv)) != 1 || len(All[*corev1.ConfigMap](inv)) != 0 {
		t.Error("the inventory holds something else")
	}
}

func (f fixture) applySet(t *testing.T, image string, first int32) {
	t.Helper()
	if err := f.StatefulSet(t.Context(), f.take(t), f.statefulSet(image), first); err != nil {
		t.Fatal(err)
	}
}

func TestScaleLosesAgainstAChangeItHasNotSeen(t *testing.T) {
	f := setup(t)
	f.apply(t, f.statefulSet("v1"))
	stale := f.seenSet(t)
	f.scaleAs(t, "an autoscaler", 4)
	if err := f.Scale(t.Context(), stale, 2); !apierrors.IsConflict(err) {
		t.Errorf("got error %v, want a conflict", err)
	}
	if got := f.replicas(t); got != 4 {
		t.Errorf("%d replicas, want the autoscaler's 4", got)
	}
}

func (f fixture) seenSet(t *testing.T) *appsv1.StatefulSet {
	t.Helper()
	set, ok := Get[*appsv1.StatefulSet](f.take(t), "one")
	if !ok {
		t.Fatal("no StatefulSet")
	}
	return set
}

func (f fixture) replicas(t *testing.T) int32 {
	t.Helper()
	return *f.seenSet(t).Spec.Replicas
}

func (f fixture) scaleAs(t *testing.T, manager string, replicas int) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	err := plane.Client.SubResource("scale").Patch(t.Context(), f.seenSet(t),
		client.RawPatch("application/merge-patch+json", patch), client.FieldOwner(manager))
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, o client.Object) {
	t.Helper()
	if err := plane.Client.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, namespace, name string, into client.Object) {
	t.Helper()
	if err := plane.Client.Get(context.WithoutCancel(t.Context()), client.ObjectKey{Namespace: namespace, Name: name}, into); err != nil {
		t.Fatal(err)
	}
}
