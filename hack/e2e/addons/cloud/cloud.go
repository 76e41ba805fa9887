// Package cloud is the cloud provider of a test cluster, as far as Services of
// type LoadBalancer go: each gets an address of a range of its own, in its
// status, and a route on this machine to a node that is healthy for it. The rest
// is kube-proxy's: it takes TCP and UDP for the address on any node and looks
// after source ranges and traffic policies.
//
// One runs per cluster, where the cluster's clients are, as the command cloud:
//
//	cloud -kubeconfig FILE -range 172.30.1.0/24
//
// What always holds: an address belongs to one Service until that is deleted or
// becomes another type; all state is in the Services, so it may be started again
// at any time; it removes its routes when Run ends. A node is healthy for a
// Service with externalTrafficPolicy Local if its health check node port says
// so, and for others if it is Ready. What it does not do: spread connections over
// nodes, and let those that are open stay with a node that is not healthy.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	// checkEvery is the time between two looks at the health of all nodes.
	checkEvery = 500 * time.Millisecond

	// checkTimeout is how long a node may take to say that it is healthy.
	checkTimeout = time.Second
)

// Options are what [Run] needs.
type Options struct {
	Client kubernetes.Interface

	// Range holds the addresses to give, without its first and last.
	Range netip.Prefix

	// Routes leads addresses to nodes; nil if the client sees to that.
	Routes Routes

	Log *slog.Logger
}

// Routes leads traffic for an address to a node.
type Routes interface {
	Set(ctx context.Context, address, node netip.Addr) error
	Remove(ctx context.Context, address netip.Addr) error
}

// Run serves the cluster until ctx is done.
func Run(ctx context.Context, o Options) error {
	if !o.Range.Addr().Is4() || o.Range.Bits() > 30 {
		return fmt.Errorf("range %s: want one of IPv4 with addresses to give, such as 172.30.1.0/24", o.Range)
	}
	factory := informers.NewSharedInformerFactory(o.Client, 0)
	changed := make(chan struct{}, 1) // holds one: many changes are one
	ring := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	c := &provider{
		Options:  o,
		services: factory.Core().V1().Services().Lister(),
		nodes:    factory.Core().V1().Nodes().Lister(),
		http:     &http.Client{Timeout: checkTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
		via:      map[netip.Addr]route{},
	}
	if _, err := factory.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { ring() },
		UpdateFunc: func(any, any) { ring() },
		DeleteFunc: func(any) { ring() },
	}); err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	factory.WaitForCacheSync(ctx.Done())
	defer c.clear(ctx)

	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		if err := c.serve(ctx); err != nil && ctx.Err() == nil {
			o.Log.ErrorContext(ctx, "services not served", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// provider is a cloud at work. All fields belong to Run.
type provider struct {
	Options
	services corev1listers.ServiceLister
	nodes    corev1listers.NodeLister
	http     *http.Client

	via map[netip.Addr]route // routes that are set
}

// route is where an address leads.
type route struct {
	node    string
	address netip.Addr // of the node
}

// serve brings status and routes of all Services to what they should be.
func (c *provider) serve(ctx context.Context) error {
	services, err := c.services.List(labels.Everything())
	if err != nil {
		return err
	}
	given, err := allocate(services, c.Range)
	errs := []error{err}
	for _, s := range services {
		foreign := s.Spec.Type == corev1.ServiceTypeLoadBalancer && !balanced(s)
		if a := given[name(s)]; !foreign && !has(s, a) {
			errs = append(errs, c.publish(ctx, s, a))
		}
	}
	if c.Routes != nil {
		errs = append(errs, c.route(ctx, services, given))
	}
	return errors.Join(errs...)
}

// publish writes the address of a Service, or that it has none, to its status.
func (c *provider) publish(ctx context.Context, s *corev1.Service, a netip.Addr) error {
	s = s.DeepCopy()
	s.Status.LoadBalancer.Ingress = ingress(a)
	_, err := c.Client.CoreV1().Services(s.Namespace).UpdateStatus(ctx, s, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // someone was quicker; the watch tells
	}
	if err == nil {
		c.Log.InfoContext(ctx, "address given", "service", name(s), "address", a.String())
	}
	return err
}

// route leads each address to a healthy node, and no longer to any if nobody has it.
func (c *provider) route(ctx context.Context, services []*corev1.Service, given map[string]netip.Addr) error {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	addresses := nodeAddresses(nodes)
	ours := slices.DeleteFunc(slices.Clone(services), func(s *corev1.Service) bool { return !given[name(s)].IsValid() })
	healthy := make([][]string, len(ours))
	var checks sync.WaitGroup
	for i, s := range ours {
		checks.Go(func() { healthy[i] = c.healthy(ctx, s, nodes, addresses) })
	}
	checks.Wait()

	var errs []error
	used := map[netip.Addr]bool{}
	for i, s := range ours {
		a := given[name(s)]
		used[a] = true
		node := choose(c.via[a].node, healthy[i])
		want := route{node, addresses[node]}
		if want == c.via[a] || !want.address.IsValid() {
			continue
		}
		if err := c.Routes.Set(ctx, a, want.address); err != nil {
			errs = append(errs, err)
			continue
		}
		c.via[a] = want
		c.Log.InfoContext(ctx, "address leads to a node", "service", name(s), "address", a.String(), "node", node)
	}
	for a := range c.via {
		if !used[a] {
			errs = append(errs, c.Routes.Remove(ctx, a))
			delete(c.via, a)
		}
	}
	return errors.Join(errs...)
}

// healthy lists the nodes that take traffic for a Service.
func (c *provider) healthy(ctx context.Context, s *corev1.Service, nodes []*corev1.Node, addresses map[string]netip.Addr) []string {
	var names []string
	for _, n := range nodes {
		address, ok := addresses[n.Name]
		if !ok {
			continue
		}
		port := s.Spec.HealthCheckNodePort
		if port == 0 && isReady(n) || port != 0 && c.answers(ctx, address, port) {
			names = append(names, n.Name)
		}
	}
	return names
}

// answers asks a node's kube-proxy whether it has pods of a Service.
func (c *provider) answers(ctx context.Context, node netip.Addr, port int32) bool {
	url := "http://" + net.JoinHostPort(node.String(), strconv.Itoa(int(port))) + "/healthz"
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	r, err := c.http.Do(q)
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// clear removes all routes; it outlives ctx.
func (c *provider) clear(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for a := range c.via {
		if err := c.Routes.Remove(ctx, a); err != nil {
			c.Log.ErrorContext(ctx, "route stays behind", "address", a.String(), "error", err)
		}
	}
}

func isReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// nodeAddresses maps the names of nodes to their addresses.
func nodeAddresses(nodes []*corev1.Node) map[string]netip.Addr {
	addresses := map[string]netip.Addr{}
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); a.Type == corev1.NodeInternalIP && err == nil && ip.Is4() {
				addresses[n.Name] = ip
			}
		}
	}
	return addresses
}
