package provider

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moqrelay/moqrelay/hack/e2e/rig"
)

func plan(t *testing.T) *rig.Plan {
	t.Helper()
	p, err := rig.NewPlan("x", "", t.TempDir(), "/bin", 2)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNew(t *testing.T) {
	for _, name := range []string{Local, Kind, None} {
		if _, err := New(name, plan(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New("minikube", plan(t)); err == nil {
		t.Error("a provider that there is not was accepted")
	}
}

func TestDescribe(t *testing.T) {
	node := func(name, region string, addresses ...corev1.NodeAddress) corev1.Node {
		return corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{regionLabel: region}},
			Status:     corev1.NodeStatus{Addresses: addresses},
		}
	}
	host := corev1.NodeAddress{Type: corev1.NodeHostName, Address: "a"}
	inside := corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}
	inside6 := corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "fd00::1"}
	outside := corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "192.0.2.1"}
	want := []rig.Node{{Name: "a", Address: "10.0.0.1", Region: "eu"}, {Name: "b", Address: "192.0.2.1", Region: "us"}}
	got := describe([]corev1.Node{node("a", "eu", host, inside, inside6), node("b", "us", inside, outside), node("c", "us", host)})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}

// TestKind calls a command in the place of kind that writes down what it is told.
func TestKind(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"$@\" >>" + dir + "/said\ncat >>" + dir + "/said\n"
	if err := os.WriteFile(filepath.Join(dir, "kind"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	k := kind{plan(t)}
	if err := k.Up(t.Context(), io.Discard); err == nil {
		t.Error("up without a word about nodes")
	}
	if err := k.Load(t.Context(), "/a.tar"); err != nil {
		t.Error(err)
	}
	if err := k.Down(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	file := k.kubeconfig()
	want := "create cluster --name moqrelay-x --kubeconfig " + file + " --config - --wait 3m\n" +
		"kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n" +
		"- role: worker\n  labels: {topology.kubernetes.io/region: eu}\n" +
		"- role: worker\n  labels: {topology.kubernetes.io/region: us}\n" +
		"load image-archive /a.tar --name moqrelay-x\n" +
		"delete cluster --name moqrelay-x --kubeconfig " + file + "\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("kind was told (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(k.plan.State); err == nil {
		t.Error("files of the cluster are left")
	}
}

// TestNone: a cluster that we did not make is described, and never touched.
func TestNone(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	if err := (none{plan(t)}).Up(t.Context(), io.Discard); err == nil {
		t.Error("up without KUBECONFIG")
	}
}
