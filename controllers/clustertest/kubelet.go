package clustertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Kubelet stands in for the kubelets of a namespace until the test ends: it
// reports a pod as running and ready if starts accepts its image, and as failing
// to pull it otherwise. Relays answers for the pods that run.
func (p *Plane) Kubelet(t *testing.T, namespace string, starts func(image string) bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			var pods corev1.PodList
			if err := p.Client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
				return false, nil //nolint:nilerr // the next round tries again
			}
			for i := range pods.Items {
				p.report(ctx, &pods.Items[i], starts)
			}
			return false, nil
		})
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// report writes the status of a pod that has none yet.
func (p *Plane) report(ctx context.Context, pod *corev1.Pod, starts func(string) bool) {
	container := pod.Spec.Containers[0]
	if len(pod.Status.ContainerStatuses) > 0 || pod.DeletionTimestamp != nil {
		return
	}
	status := corev1.ContainerStatus{Name: container.Name, Image: container.Image}
	if !starts(container.Image) {
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "Back-off pulling image"}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{status}
		_ = p.Client.Status().Update(ctx, pod) // the next round tries again
		return
	}
	now := metav1.Now()
	status.Ready, status.Started = true, new(true)
	status.State.Running = &corev1.ContainerStateRunning{StartedAt: now}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{status}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.StartTime = &now
	pod.Status.PodIP = podIP(pod)
	pod.Status.PodIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}
	for _, kind := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	if p.Client.Status().Update(ctx, pod) == nil { // the next round tries again
		p.Relays.runs(pod)
	}
}

// podIP derives an address from the pod's identity.
func podIP(pod *corev1.Pod) string {
	var sum uint32
	for _, c := range string(pod.UID) {
		sum = sum*31 + uint32(c)
	}
	return fmt.Sprintf("10.%d.%d.%d", 200+sum>>16%50, sum>>8&255, sum&255)
}
