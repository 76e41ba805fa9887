package relaycluster

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/controllers/resources"
	"github.com/moqrelay/moqrelay/controllers/scrape"
	"github.com/moqrelay/moqrelay/relay/config"
)

// joinTime is how long a relay has after its start to find the root before that
// it has not is told of.
const joinTime = 15 * time.Second

// Nodes knows what relays say of themselves.
type Nodes interface {
	// Look returns what the relay of a pod said lately, or why that is not known.
	Look(pod types.UID, now time.Time) (scrape.Observation, error)
	// Soon asks for all relays to be asked now.
	Soon()
	// Drain has the relay of a pod told to stop gracefully.
	Drain(pod types.UID)
}

// said is what a relay said last, or why that is not known.
type said struct {
	scrape.Observation
	err error
}

func (s said) known() bool { return s.err == nil }

// ask returns what the relay of the pod said last.
func (r *Reconciler) ask(pod *corev1.Pod, now time.Time) said {
	if r.Nodes == nil {
		return said{err: errors.New("nobody asks it")}
	}
	observation, err := r.Nodes.Look(pod.UID, now)
	return said{observation, err}
}

// listRelays returns what lists the pods of all RelayClusters.
func listRelays(reader client.Reader) func(context.Context) ([]scrape.Pod, error) {
	return func(ctx context.Context) ([]scrape.Pod, error) {
		var list corev1.PodList
		if err := reader.List(ctx, &list, client.HasLabels{resources.LabelCluster}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, err
		}
		pods := make([]scrape.Pod, 0, len(list.Items))
		for i := range list.Items {
			pod := &list.Items[i]
			if owner := metav1.GetControllerOf(pod); owner == nil || owner.Kind != "StatefulSet" || owner.APIVersion != appsv1.SchemeGroupVersion.String() {
				continue // bears our label and is none of ours
			}
			pods = append(pods, scrape.Pod{UID: pod.UID, Cluster: ownerKey(pod), Name: pod.Name, Address: privateAddress(pod)})
		}
		return pods, nil
	}
}

// privateAddress returns where the relay of a pod answers, "" if it runs
// nowhere.
func privateAddress(pod *corev1.Pod) string {
	if pod.Status.PodIP == "" || pod.Status.Phase != corev1.PodRunning {
		return ""
	}
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			if c.Name == resources.Container && port.Name == config.PortPrivate {
				return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(port.ContainerPort)))
			}
		}
	}
	return ""
}

func notConnected(root scrape.Root) string {
	why := "no session with the root " + root.URL
	if root.Error != "" {
		why += ": " + root.Error
	}
	return why
}

// isReady reports whether a pod accepts sessions and is to stay.
func isReady(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && podCondition(pod, corev1.PodReady).Status == corev1.ConditionTrue
}

// readyPods returns the pods of a set that accept sessions, in no order.
func (s *scope) readyPods(set resources.Set) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, pod := range s.podsOf(set) {
		if isReady(pod) {
			pods = append(pods, pod)
		}
	}
	return pods
}
