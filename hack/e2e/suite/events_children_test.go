package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// The kinds of objects that the operator makes for a RelayCluster.
var (
	kindStatefulSet = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"}
	kindService     = schema.GroupVersionKind{Version: "v1", Kind: "Service"}
	kindSecret      = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
	kindConfigMap   = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	kindPolicy      = schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"}
	kindBudget      = schema.GroupVersionKind{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"}
)

// deleteQuiet deletes, one after the other, all child objects that no packet
// passes: Secrets, the ConfigMap, the policy, the budgets.
func (s *story) deleteQuiet(t *testing.T) {
	before := s.uids(t)
	for _, kind := range []schema.GroupVersionKind{kindConfigMap, kindSecret, kindPolicy, kindBudget} {
		s.deleteEach(t, kind)
	}
	s.followTrust(t) // one of the Secrets was the authority's
	s.ready(t, relays)
	s.samePods(t, before)
}

// deleteServices deletes each Service. Flows that pass through it are cut, and
// come back when it does, at the same port.
func (s *story) deleteServices(t *testing.T) {
	s.deleteEach(t, kindService)
	s.ready(t, relays)
}

// deleteSets deletes each StatefulSet, and with it its pods.
func (s *story) deleteSets(t *testing.T) {
	s.deleteEach(t, kindStatefulSet)
	s.ready(t, relays)
}

// deleteEach deletes the children of a kind one by one, each when the one before
// is back as it was declared.
func (s *story) deleteEach(t *testing.T, kind schema.GroupVersionKind) {
	t.Helper()
	children := &unstructured.UnstructuredList{}
	children.SetGroupVersionKind(kind)
	if err := s.List(t.Context(), children, client.InNamespace(namespace), client.MatchingLabels{"moqrelay.io/cluster": live}); err != nil {
		t.Fatal(err)
	}
	if len(children.Items) == 0 {
		t.Fatalf("no %s belongs to %s", kind.Kind, live)
	}
	for _, child := range children.Items {
		if err := s.Delete(t.Context(), &child); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Minute, kind.Kind+" "+child.GetName()+" as declared", func(ctx context.Context) error {
			return s.isBack(ctx, &child)
		})
		s.agree(t)
	}
}

// agree waits until every node serves and trusts what is stored, so that the next
// deletion is one of its own.
func (s *story) agree(t *testing.T) {
	t.Helper()
	eventually(t, rotationTime, "nodes that serve and trust what is stored", func(ctx context.Context) error {
		rlc, err := s.relayCluster(ctx)
		if err != nil {
			return err
		}
		for _, c := range rlc.Status.Certificates {
			if served, all, _ := strings.Cut(c.ServedBy, "/"); served != all {
				return fmt.Errorf("the certificate of plane %s, region %q, is served by %s", c.Plane, c.Region, c.ServedBy)
			}
		}
		return condition(rlc, v1alpha1.ConditionCertificatesReady, metav1.ConditionTrue)
	})
}

// isBack says whether a deleted object was made again as it was declared.
func (s *story) isBack(ctx context.Context, old *unstructured.Unstructured) error {
	again := &unstructured.Unstructured{}
	again.SetGroupVersionKind(old.GroupVersionKind())
	if err := s.Get(ctx, client.ObjectKeyFromObject(old), again); err != nil {
		return err
	}
	if again.GetUID() == old.GetUID() {
		return errors.New("still there")
	}
	if diff := cmp.Diff(declared(old), declared(again)); diff != "" {
		return fmt.Errorf("not as it was (-before +after):\n%s", diff)
	}
	if old.GetKind() != kindStatefulSet.Kind {
		return nil
	}
	ready, _, _ := unstructured.NestedInt64(again.Object, "status", "readyReplicas")
	want, _, _ := unstructured.NestedInt64(again.Object, "spec", "replicas")
	if ready != want {
		return fmt.Errorf("%d of %d pods are ready", ready, want)
	}
	return nil
}

// declared returns what the operator says about an object, without what
// Kubernetes gives each new one and what others have said.
func declared(u *unstructured.Unstructured) map[string]any {
	u = u.DeepCopy()
	for _, given := range [][]string{{"clusterIP"}, {"clusterIPs"}, {"healthCheckNodePort"}} {
		unstructured.RemoveNestedField(u.Object, append([]string{"spec"}, given...)...)
	}
	labels := u.GetLabels()
	delete(labels, foreign) // what others said goes with the object
	unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt")
	said := map[string]any{"labels": labels, "spec": u.Object["spec"]}
	if data, ok := u.Object["data"].(map[string]any); ok { // what is in it may be new
		keys := map[string]bool{}
		for key := range data {
			keys[key] = true
		}
		said["data"] = keys
	}
	return said
}

// foreign is a label and an annotation of somebody else.
const foreign = "example.com/owner"

// editChildren changes children by hand: what the operator declares comes back,
// and what others own is left alone.
func (s *story) editChildren(t *testing.T) {
	before := s.uids(t)
	edits := []struct {
		kind  schema.GroupVersionKind
		name  string
		patch string   // that breaks it
		path  []string // of what it breaks
	}{
		{kindStatefulSet, live + "-us", `{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1}}}}`, []string{"spec", "template", "spec", "terminationGracePeriodSeconds"}},
		{kindService, live + "-us", `{"spec":{"sessionAffinity":"ClientIP"}}`, []string{"spec", "sessionAffinity"}},
		{kindPolicy, live + "-relays", `{"spec":{"policyTypes":["Ingress","Egress"]}}`, []string{"spec", "policyTypes"}},
		{kindBudget, live + "-us", `{"spec":{"maxUnavailable":0}}`, []string{"spec", "maxUnavailable"}},
	}
	for _, e := range edits {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(e.kind)
		object.SetName(e.name)
		object.SetNamespace(namespace)
		key := client.ObjectKeyFromObject(object)
		if err := s.Get(t.Context(), key, object); err != nil {
			t.Fatal(err)
		}
		want, _, _ := unstructured.NestedFieldCopy(object.Object, e.path...)
		s.kubectl(t, "-n", namespace, "annotate", e.kind.Kind, e.name, foreign+"=them", "--overwrite")
		s.kubectl(t, "-n", namespace, "label", e.kind.Kind, e.name, foreign+"=them", "--overwrite")
		s.kubectl(t, "-n", namespace, "patch", e.kind.Kind, e.name, "--type=merge", "-p", e.patch)
		eventually(t, 30*time.Second, fmt.Sprintf("%s %s as declared", e.kind.Kind, e.name), func(ctx context.Context) error {
			if err := s.Get(ctx, key, object); err != nil {
				return err
			}
			got, _, _ := unstructured.NestedFieldCopy(object.Object, e.path...)
			if diff := cmp.Diff(want, got); diff != "" {
				return fmt.Errorf("%v (-declared +got):\n%s", e.path, diff)
			}
			return nil
		})
		if object.GetLabels()[foreign] != "them" || object.GetAnnotations()[foreign] != "them" {
			t.Errorf("%s %s lost the label or annotation of others: %v, %v", e.kind.Kind, e.name, object.GetLabels(), object.GetAnnotations())
		}
	}
	s.ready(t, relays)
	s.samePods(t, before)
}

// gone says whether an object is not there.
func (c *Cluster) gone(ctx context.Context, object client.Object) error {
	err := c.Get(ctx, client.ObjectKeyFromObject(object), object)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s is still there", object.GetName())
}
