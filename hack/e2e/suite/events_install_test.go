package suite

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// install installs the chart as its README says, with nothing set.
func (s *story) install(t *testing.T) {
	s.run(t, "helm", "upgrade", "--install", release, s.path("charts", "moq-operator"),
		"--namespace", system, "--create-namespace", "--wait", "--timeout", "90s")
}

// Bounds of U7: from nothing but an operator to media that plays.
const (
	mostLines    = 12
	mostCommands = 3
	playableIn   = 60 * time.Second
)

// applyLive applies the RelayCluster and plays through it (U7). Its namespace
// enforces the strictest of the Pod Security Standards.
func (s *story) applyLive(t *testing.T) {
	s.restricted(t, namespace)
	manifest := s.liveManifest(t)
	if lines := strings.Count(manifest, "\n"); lines > mostLines {
		t.Errorf("U7: %d lines of YAML, want at most %d:\n%s", lines, mostLines, manifest)
	}
	began := time.Now()
	// Three commands of the user's: apply, publish, watch.
	s.apply(t, namespace, manifest)
	eu, us := s.source(t, "eu"), s.source(t, "us")
	s.ready(t, 3)
	s.publish(t, eu, "demo/first")
	s.plays(t, us, "demo/first", playableIn-time.Since(began))
	if took := time.Since(began); took > playableIn {
		t.Errorf("U7: playable after %v, want at most %v", took, playableIn)
	}
}

// restricted makes a namespace that takes no pod but restricted ones.
func (c *Cluster) restricted(t *testing.T, name string) {
	t.Helper()
	eventually(t, 10*time.Second, "namespace "+name, func(ctx context.Context) error {
		return client.IgnoreAlreadyExists(c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name:   name,
			Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
		}}))
	})
}
