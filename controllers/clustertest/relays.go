package clustertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/scrape"
	"github.com/moqrelay/moqrelay/relay/config"
)

// Relays stands in for the relays in the pods that Kubelet reports as running:
// it answers at their private ports. A relay serves what is in the Secrets and
// ConfigMaps that its pod mounts, at once, and is connected to every root that
// runs, unless a test says otherwise.
type Relays struct {
	plane *Plane

	mu       sync.Mutex
	pods     map[string]client.ObjectKey // by address
	draining map[types.UID]time.Time
	changes  map[client.ObjectKey]func(*scrape.Node)
	silent   map[client.ObjectKey]bool
}

func newRelays(p *Plane) *Relays {
	return &Relays{
		plane:    p,
		pods:     map[string]client.ObjectKey{},
		draining: map[types.UID]time.Time{},
		changes:  map[client.ObjectKey]func(*scrape.Node){},
		silent:   map[client.ObjectKey]bool{},
	}
}

// Change has the relay of a pod say what change makes of it, until it is given
// nil. The pod need not exist yet.
func (r *Relays) Change(pod client.ObjectKey, change func(*scrape.Node)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if change == nil {
		delete(r.changes, pod)
		return
	}
	r.changes[pod] = change
}

// Silence has the relay of a pod answer or not.
func (r *Relays) Silence(pod client.ObjectKey, silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent[pod] = silent
}

// runs notes that a pod has an address.
func (r *Relays) runs(pod *corev1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pods[pod.Status.PodIP] = client.ObjectKeyFromObject(pod)
}

// RoundTrip answers for the pod whose address is asked.
func (r *Relays) RoundTrip(req *http.Request) (*http.Response, error) {
	pod, err := r.running(req.Context(), req.URL.Hostname())
	if err != nil {
		return nil, err
	}
	switch req.Method + " " + req.URL.Path {
	case "POST /drain":
		r.mu.Lock()
		if _, ok := r.draining[pod.UID]; !ok {
			r.draining[pod.UID] = time.Now()
		}
		r.mu.Unlock()
		return answer(http.StatusAccepted, nil)
	case "GET " + config.PathNodes:
		node, err := r.node(req.Context(), pod)
		if err != nil {
			return nil, err
		}
		return answer(http.StatusOK, node)
	default:
		return answer(http.StatusNotFound, nil)
	}
}

func answer(code int, body any) (*http.Response, error) {
	raw, err := json.Marshal(body)
	return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Body: io.NopCloser(strings.NewReader(string(raw)))}, err
}

// running returns the pod at an address, and fails as a network would if there
// is none.
func (r *Relays) running(ctx context.Context, address string) (*corev1.Pod, error) {
	r.mu.Lock()
	key, ok := r.pods[address]
	silent := r.silent[key]
	r.mu.Unlock()
	pod := &corev1.Pod{}
	if !ok || silent || r.plane.Client.Get(ctx, key, pod) != nil || pod.Status.PodIP != address {
		return nil, fmt.Errorf("dial tcp %s: connection refused", address)
	}
	return pod, nil
}

// node returns what the relay of the pod says.
func (r *Relays) node(ctx context.Context, pod *corev1.Pod) (scrape.Node, error) {
	flags := flagsOf(pod)
	n := scrape.Node{
		Node:      strings.ReplaceAll(flags["cluster-node"][0], "$(POD_NAME)", pod.Name),
		Role:      "node",
		Version:   pod.Spec.Containers[0].Image,
		StartedAt: pod.Status.StartTime.Time,
	}
	var err error
	if n.Certificates, n.Trust, err = r.mounted(ctx, pod); err != nil {
		return scrape.Node{}, err
	}
	r.mu.Lock()
	if since, ok := r.draining[pod.UID]; ok {
		n.Draining, n.DrainingSince = true, &since
	}
	change := r.changes[client.ObjectKeyFromObject(pod)]
	r.mu.Unlock()
	for _, root := range flags["cluster-root"] {
		if root == n.Node {
			n.Role = "root"
			continue
		}
		n.Roots = append(n.Roots, scrape.Root{URL: root, Connected: r.runsAt(ctx, pod.Namespace, root)})
	}
	if n.Role == "root" {
		n.Peers = r.peers(ctx, pod)
	}
	if change != nil {
		change(&n)
	}
	return n, nil
}

// runsAt reports whether the pod of a host is ready.
func (r *Relays) runsAt(ctx context.Context, namespace, host string) bool {
	name, _, _ := strings.Cut(host, ".")
	pod := &corev1.Pod{}
	err := r.plane.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, pod)
	return err == nil && isReady(pod)
}

// peers returns all other relays of the namespace that run.
func (r *Relays) peers(ctx context.Context, root *corev1.Pod) []scrape.Peer {
	var pods corev1.PodList
	if err := r.plane.Client.List(ctx, &pods, client.InNamespace(root.Namespace)); err != nil {
		return nil
	}
	var peers []scrape.Peer
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Name == root.Name || !isReady(pod) {
			continue
		}
		peers = append(peers, scrape.Peer{
			Node:      strings.ReplaceAll(flagsOf(pod)["cluster-node"][0], "$(POD_NAME)", pod.Name),
			Connected: true,
		})
	}
	return peers
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// flagsOf returns the flags of the pod's relay.
func flagsOf(pod *corev1.Pod) map[string][]string {
	flags := map[string][]string{}
	for _, arg := range pod.Spec.Containers[0].Args {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		flags[name] = append(flags[name], value)
	}
	return flags
}

// mounted returns the certificates and authorities in what the pod mounts, as
// they are stored now.
func (r *Relays) mounted(ctx context.Context, pod *corev1.Pod) (certificates []scrape.Certificate, trust []string, err error) {
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			switch {
			case source.Secret != nil:
				secret := &corev1.Secret{}
				if err := r.plane.Client.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: source.Secret.Name}, secret); err != nil {
					return nil, nil, err
				}
				if chain, err := pki.ParseCertificates(secret.Data[corev1.TLSCertKey]); err == nil {
					certificates = append(certificates, scrape.Certificate{Fingerprint: pki.Fingerprint(chain[0]), NotAfter: chain[0].NotAfter})
				}
			case source.ConfigMap != nil:
				bundle := &corev1.ConfigMap{}
				if err := r.plane.Client.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: source.ConfigMap.Name}, bundle); err != nil {
					return nil, nil, err
				}
				authorities, _ := pki.ParseCertificates([]byte(bundle.Data["ca.crt"])) // none where there is none
				for _, authority := range authorities {
					trust = append(trust, pki.Fingerprint(authority))
				}
			}
		}
	}
	return certificates, trust, nil
}
