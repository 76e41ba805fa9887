package suite

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// rotationTime is how long a rotation may take: kubelet brings a Secret to the
// pods within a minute or so, and an authority needs that three times.
const rotationTime = 5 * time.Minute

// rotateLeaves asks for new certificates. No pod restarts, no session is cut,
// and the status shows what each node serves from then on.
func (s *story) rotateLeaves(t *testing.T) {
	s.rotate(t, v1alpha1.AnnotationRotateCertificates, v1alpha1.PlaneInternal)
}

// rotateAuthority asks for a new authority. It is trusted everywhere before it
// signs, so nodes of both go on speaking to each other (complaint 9 of the
// operators before ours), and what is served counts, not what is stored
// (complaint 10); certificates are folders that a pod reads again (complaint 8).
func (s *story) rotateAuthority(t *testing.T) {
	s.rotate(t, v1alpha1.AnnotationRotateCA, v1alpha1.PlaneAuthority)
	s.followTrust(t)
}

func (s *story) rotate(t *testing.T, annotation string, plane v1alpha1.Plane) {
	t.Helper()
	pods, served, turns := s.uids(t), s.served(t), s.turns()
	before := s.fingerprints(t, plane)
	s.kubectl(t, "-n", namespace, "annotate", "relaycluster", live, annotation+"="+time.Now().UTC().Format("20060102T150405.000Z"), "--overwrite")
	eventually(t, rotationTime, "new certificates served by every node", func(context.Context) error {
		for region, fingerprint := range s.fingerprints(t, plane) {
			if before[region] == fingerprint {
				return fmt.Errorf("%s certificate of %q is the old one", plane, region)
			}
		}
		for node, fingerprint := range s.served(t) {
			if fingerprint == "" || fingerprint == served[node] {
				return fmt.Errorf("%s serves %q as before", node, fingerprint)
			}
		}
		return nil
	})
	s.ready(t, relays)
	s.samePods(t, pods)
	if now := s.turns(); now != turns {
		t.Errorf("sessions were cut: %d changes of watchers' sessions, %d before", now, turns)
	}
}

// fingerprints returns the certificates of a plane by region.
func (s *story) fingerprints(t *testing.T, plane v1alpha1.Plane) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, c := range s.status(t).Certificates {
		if c.Plane == plane {
			got[c.Region] = c.Fingerprint
		}
	}
	if len(got) == 0 {
		t.Fatalf("the status has no certificate of plane %s", plane)
	}
	return got
}

// served returns what each node serves, as it says itself.
func (s *story) served(t *testing.T) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, n := range s.status(t).Nodes {
		got[n.Name] = n.ServedFingerprint
	}
	if len(got) != relays {
		t.Fatalf("the status has the nodes %v, want %d", slices.Sorted(maps.Keys(got)), relays)
	}
	return got
}

// turns is how often sessions of watchers have changed.
func (s *story) turns() int {
	n := 0
	for _, w := range s.watchers {
		n += len(w.tail(1 << 20))
	}
	return n
}

// followTrust gives clients the authorities that are to be trusted now, as who
// mounts the ConfigMap would have them.
func (s *story) followTrust(t *testing.T) {
	t.Helper()
	var trust corev1.ConfigMap
	if err := s.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: live + "-trust"}, &trust); err != nil {
		t.Fatal(err)
	}
	for _, file := range s.roots {
		if err := os.WriteFile(file, []byte(trust.Data["ca.crt"]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(trust.Data["ca.crt"], "BEGIN CERTIFICATE"); n < 1 {
		t.Errorf("%d authorities in the ConfigMap to trust", n)
	}
}
