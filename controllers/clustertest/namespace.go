package clustertest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patience bounds every wait of a test; what works takes a fraction of it. A
// rollout of five pods takes 15 s on an idle machine, as pods have to be ready for a
// while, and 50 s on one that is busy.
const patience = 2 * time.Minute

var namespaces atomic.Int64

// Namespace makes a namespace for the test, under the strictest of the pod
// security standards, and deletes it at its end.
func (p *Plane) Namespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   fmt.Sprintf("test-%d", namespaces.Add(1)),
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := p.Client.Create(t.Context(), ns); err != nil {
		t.Fatalf("create a namespace: %v", err)
	}
	t.Cleanup(func() {
		err := p.Client.Delete(context.WithoutCancel(t.Context()), ns)
		if client.IgnoreNotFound(err) != nil {
			t.Errorf("delete the namespace: %v", err)
		}
	})
	return ns.Name
}

// Eventually waits until check returns nil, and fails the test with its last
// error when that takes too long.
func Eventually(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := check(ctx)
		if err == nil || ctx.Err() == nil { // cut off in the middle, a check says nothing
			last = err
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("waited %v until %s: %v", patience, what, last)
	}
}

// Steadily fails the test when check returns an error within d.
func Steadily(t *testing.T, what string, d time.Duration, check func(ctx context.Context) error) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, d, true, func(ctx context.Context) (bool, error) {
		if err := check(ctx); err != nil && ctx.Err() == nil {
			return false, err
		}
		return false, nil
	})
	if !wait.Interrupted(err) {
		t.Fatalf("%s does not stay so: %v", what, err)
	}
}
