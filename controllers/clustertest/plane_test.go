package clustertest

import (
	"context"
	"errors"
	"os"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var plane = New(Options{Scheme: clientgoscheme.Scheme, Controllers: true})

func TestMain(m *testing.M) { os.Exit(plane.Run(m)) }

// The suites rely on this: the controllers are real and act on what the stand-in
// for the kubelet reports.
func TestStatefulSetBecomesReady(t *testing.T) {
	plane.Start(t)
	ns := plane.Namespace(t)
	plane.Kubelet(t, ns, func(image string) bool { return image != "broken" })

	set := statefulSet(ns)
	if err := plane.Client.Create(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "both pods are ready", func(ctx context.Context) error {
		if err := plane.Client.Get(ctx, client.ObjectKeyFromObject(set), set); err != nil {
			return err
		}
		if set.Status.ReadyReplicas != 2 {
			return errors.New("not ready yet")
		}
		return nil
	})
}

func statefulSet(ns string) *appsv1.StatefulSet {
	labels := map[string]string{"app": "one"}
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "one"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(2)),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot:   new(true),
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: []corev1.Container{{
						Name: "one", Image: "works",
						SecurityContext: &corev1.SecurityContext{
							AllowPrivilegeEscalation: new(false),
							Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
						},
					}},
				},
			},
		},
	}
}
