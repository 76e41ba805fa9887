package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// killRegionPod kills a relay that watchers are connected to, as a crash would.
func (s *story) killRegionPod(t *testing.T) { s.crash(t, "us", 2) }

// killRootPod kills the relay that introduces the others. Media does not pass
// through it.
func (s *story) killRootPod(t *testing.T) { s.crash(t, "root", 1) }

// crash kills the process of the pod of a set that has most sessions, and waits
// until it is back.
func (s *story) crash(t *testing.T, set string, replicas int32) {
	t.Helper()
	sessions := map[string]int64{}
	for _, n := range s.status(t).Nodes {
		if n.Sessions != nil {
			sessions[n.Name] = *n.Sessions
		}
	}
	victim := s.pods(t, set)[0]
	for _, p := range s.pods(t, set) {
		if sessions[p.Name] > sessions[victim.Name] {
			victim = p
		}
	}
	s.kill(t, &victim, "moq-relay")
	eventually(t, 30*time.Second, victim.Name+" again", func(ctx context.Context) error {
		var now corev1.Pod
		if err := s.Get(ctx, client.ObjectKeyFromObject(&victim), &now); err != nil {
			return err
		}
		if now.UID == victim.UID && restarts(now) == restarts(victim) {
			return errors.New("its crash was not seen yet")
		}
		return nil
	})
	s.serving(t, 30*time.Second, set, replicas, "")
}

// killOperator kills the operator that leads, in the middle of a rollout. The
// other one takes over and brings it to its end.
func (s *story) killOperator(t *testing.T) {
	image := s.image(t, "")
	s.change(t, func(spec *v1alpha1.RelayClusterSpec) { spec.Image = image })
	eventually(t, time.Minute, "first pod of the rollout", func(context.Context) error {
		for _, p := range s.pods(t, "") {
			if p.Spec.Containers[0].Image == image {
				return nil
			}
		}
		return errors.New("no pod has the new image")
	})
	leader := s.leader(t)
	pod := &corev1.Pod{}
	name, _, _ := strings.Cut(leader, "_")
	if err := s.Get(t.Context(), client.ObjectKey{Namespace: system, Name: name}, pod); err != nil {
		t.Fatal(err)
	}
	s.kill(t, pod, "moq-operator")
	for _, set := range []string{"root", "eu", "us"} {
		s.rolled(t, set, image)
	}
	s.ready(t, relays)
	if now := s.leader(t); now == leader {
		t.Errorf("%s leads as before it was killed", now)
	}
}

// leader returns the replica of the operator that works.
func (s *story) leader(t *testing.T) string {
	t.Helper()
	var holder string
	eventually(t, 10*time.Second, "lease of the operator", func(ctx context.Context) error {
		var leases coordinationv1.LeaseList
		if err := s.List(ctx, &leases, client.InNamespace(system)); err != nil {
			return err
		}
		for _, lease := range leases.Items {
			if lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "" {
				holder = *lease.Spec.HolderIdentity
				return nil
			}
		}
		return errors.New("nobody holds it")
	})
	return holder
}

// killKubelet kills the kubelet of the watchers' node. It comes back by itself,
// and its pods never went.
func (s *story) killKubelet(t *testing.T) {
	node := s.region(t, "us").Name
	before := s.uids(t)
	old := s.component(t, "kubelet", node)
	old.signal(t, syscall.SIGKILL)
	eventually(t, time.Minute, "kubelet again", func(context.Context) error {
		now, err := s.find("kubelet", node)
		if err == nil && now.pid == old.pid {
			err = fmt.Errorf("%v still runs", old)
		}
		return err
	})
	s.kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "node/"+node)
	s.ready(t, relays)
	for name, pod := range s.uids(t) {
		if before[name] != pod {
			t.Errorf("%s was %s, is %s", name, before[name], pod)
		}
	}
}

// apiOutage is how long the API server is away.
const apiOutage = time.Minute

// stopAPIServer holds the API server, as if the control plane were unreachable.
// Media goes on, and new viewers come, as if nothing were.
func (s *story) stopAPIServer(t *testing.T) {
	us := s.source(t, "us")
	server := s.component(t, "kube-apiserver", "")
	server.signal(t, syscall.SIGSTOP)
	defer server.signal(t, syscall.SIGCONT)
	over := time.After(apiOutage)
	s.plays(t, us, broadcast, 15*time.Second)
	select {
	case <-over:
	case <-t.Context().Done():
	}
	server.signal(t, syscall.SIGCONT)
	s.kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "nodes", "--all")
	s.ready(t, relays)
}

// drainNode drains the node of us, whose relays may go to the other one for as
// long. The budget lets one relay go at a time.
func (s *story) drainNode(t *testing.T) {
	node := s.region(t, "us").Name
	var pin map[string]string
	s.changeRegion(t, "us", func(r *v1alpha1.Region) { pin, r.Pod.NodeSelector = r.Pod.NodeSelector, nil })
	s.ready(t, relays)
	s.run(t, "kubectl", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=100s")
	s.ready(t, relays)
	for _, p := range s.pods(t, "") {
		if p.Spec.NodeName == node {
			t.Errorf("%s is still on %s", p.Name, node)
		}
	}
	s.kubectl(t, "uncordon", node)
	s.changeRegion(t, "us", func(r *v1alpha1.Region) { r.Pod.NodeSelector = pin })
	s.ready(t, relays)
}
