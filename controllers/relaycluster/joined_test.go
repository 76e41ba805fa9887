package relaycluster

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/resources"
	"github.com/moqrelay/moqrelay/controllers/scrape"
)

// meshed returns a cluster at rest whose nodes all say that they see each other,
// with a root of so many and a region of two that is reached as the mode says. Those
// that are on the network of their machine cannot be asked.
func meshed(t *testing.T, roots int32, mode v1alpha1.ExposureMode) *scope {
	t.Helper()
	c := &v1alpha1.RelayCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "media", Name: "live", UID: "1"}}
	c.Spec.Root = &v1alpha1.Root{Replicas: roots}
	c.Spec.Regions = []v1alpha1.Region{{Name: "eu", Replicas: new(int32(2)), Exposure: v1alpha1.Exposure{Mode: mode, HostPort: 8443}}}
	v1alpha1.Default(c)
	s := &scope{now: now, cluster: c, sets: resources.Sets(c), said: map[types.UID]said{}}
	for _, set := range s.sets {
		for i := range int(set.Replicas) {
			pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: set.PodName(i), UID: types.UID(set.PodName(i)), Labels: map[string]string{
				resources.LabelRole: string(set.Role), resources.LabelRegion: set.Region, appsv1.PodIndexLabel: fmt.Sprint(i),
			}}}
			pod.Spec.Containers = []corev1.Container{{Name: resources.Container, Args: resources.Args(set, resources.PodLayout(set))}}
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))}}
			s.pods = append(s.pods, pod)
			s.said[pod.UID] = says(s, set)
			if !set.IsPrivateReachable() {
				s.said[pod.UID] = said{err: errors.New("connection refused")}
			}
		}
	}
	s.owns(t)
	return s
}

// owns has the cluster own these objects and no others.
func (s *scope) owns(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind, Name: s.cluster.Name, UID: s.cluster.UID, Controller: new(true)}})
	}
	reader := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(objects...).Build()
	var err error
	if s.children, err = apply.Take(t.Context(), reader, reader.Scheme(), s.cluster, nil); err != nil {
		t.Fatal(err)
	}
}

// says returns what a node says that sees all others.
func says(s *scope, set resources.Set) said {
	is := said{Observation: scrape.Observation{Node: scrape.Node{StartedAt: now.Add(-time.Hour)}}}
	for _, other := range s.sets {
		for i := range int(other.Replicas) {
			host := other.Host(i)
			if other.Role == resources.RoleRoot {
				is.Roots = append(is.Roots, scrape.Root{URL: host, Connected: true})
			} else if set.Role == resources.RoleRoot {
				is.Peers = append(is.Peers, scrape.Peer{Node: host, Connected: true})
			}
		}
	}
	return is
}

// change has a node say something else.
func (s *scope) change(pod string, change func(*scrape.Node)) {
	s.said = maps.Clone(s.said)
	is := s.said[types.UID(pod)]
	change(&is.Node)
	s.said[types.UID(pod)] = is
}

func (s *scope) pod(name string) *corev1.Pod {
	for i := range s.pods {
		if s.pods[i].Name == name {
			return &s.pods[i]
		}
	}
	return nil
}

// A relay on the network of its machine answers nobody but that machine: the others
// say whether it is back, so that it can be replaced like any other.
func TestJoinedOnTheHost(t *testing.T) {
	s := meshed(t, 1, v1alpha1.ExposureHostNetwork)
	eu := s.sets[1]
	if ok, why := s.joined(eu, s.pod("live-eu-0")); !ok {
		t.Errorf("the root sees it, and it is not joined: %s", why)
	}
	if got := s.clusterConnected(); got.status != metav1.ConditionTrue {
		t.Errorf("%+v", got)
	}
	s.change("live-root-0", func(n *scrape.Node) { n.Peers = []scrape.Peer{{Node: eu.Host(1), Connected: true}} })
	if ok, why := s.joined(eu, s.pod("live-eu-0")); ok || why != "live-root-0 has no session with it" {
		t.Errorf("joined: %v, %q", ok, why)
	}
	if got := s.clusterConnected(); got.reason != v1alpha1.ReasonPartiallyConnected {
		t.Errorf("%+v", got)
	}
	s.pod("live-eu-0").Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(-time.Second))
	if got := s.clusterConnected(); got.status != metav1.ConditionTrue {
		t.Errorf("of one that has just begun: %+v", got)
	}
}

// Of several roots one is enough.
func TestOneOfSeveralRootsIsLost(t *testing.T) {
	s := meshed(t, 2, v1alpha1.ExposureClusterIP)
	lose := func(pod string, roots ...int) {
		s.change(pod, func(n *scrape.Node) {
			n.Roots = append([]scrape.Root{}, n.Roots...)
			for _, i := range roots {
				n.Roots[i].Connected = false
			}
		})
	}
	lose("live-eu-0", 0)
	lose("live-eu-1", 0)
	if got := s.clusterConnected(); got.status != metav1.ConditionTrue || got.message == "every ready node has a session with every root" {
		t.Errorf("without one of two roots: %+v", got)
	}
	lose("live-eu-1", 0, 1)
	if got := s.clusterConnected(); got.reason != v1alpha1.ReasonPartiallyConnected {
		t.Errorf("one without any: %+v", got)
	}
	lose("live-eu-0", 0, 1)
	if got := s.clusterConnected(); got.reason != v1alpha1.ReasonRootUnreachable {
		t.Errorf("all without any: %+v", got)
	}
}

// A root that moves to another port is not waited for by the relays that look for it
// there already, nor does it wait for those that do not.
func TestRootMoves(t *testing.T) {
	s := meshed(t, 1, v1alpha1.ExposureClusterIP)
	root, eu := s.sets[0], s.sets[1]
	canary := s.pod("live-eu-1")
	s.change("live-eu-1", func(n *scrape.Node) { n.Roots = []scrape.Root{{URL: root.Host(0)}} })
	if ok, _ := s.joined(eu, canary); ok {
		t.Error("joined, although the root is there and has no session with it")
	}
	old := s.pod("live-root-0")
	old.Spec.Containers[0].Args = []string{"--cluster-node=" + old.Name + ".live-root-nodes.media.svc:8443"}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "media", Name: root.Name()}}
	set.Status.UpdateRevision = "new"
	s.owns(t, set)
	if ok, why := s.joined(eu, canary); !ok {
		t.Errorf("waits for a root that is elsewhere until it is replaced: %s", why)
	}

	s = meshed(t, 1, v1alpha1.ExposureClusterIP)
	s.change("live-root-0", func(n *scrape.Node) { n.Peers = []scrape.Peer{{Node: eu.Host(1), Connected: true}} })
	if ok, _ := s.joined(root, s.pod("live-root-0")); ok {
		t.Error("joined, although live-eu-0 has not come back")
	}
	s.pod("live-eu-0").Spec.Containers[0].Args = []string{"--cluster-root=live-root-0.live-root-nodes.media.svc:8443"}
	if ok, why := s.joined(root, s.pod("live-root-0")); !ok {
		t.Errorf("waits for a relay that looks for it elsewhere: %s", why)
	}
}
