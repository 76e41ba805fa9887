package cloud

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Class is the load balancer class that the cloud answers to besides none: a
// Service of another class waits for someone else.
const Class = "moqrelay.test/cloud"

// errExhausted says that more Services want an address than the range has.
var errExhausted = errors.New("no address left")

// balanced says whether the Service is ours to serve.
func balanced(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.DeletionTimestamp == nil &&
		(s.Spec.LoadBalancerClass == nil || *s.Spec.LoadBalancerClass == Class)
}

// name is how a Service is called in logs and maps.
func name(s *corev1.Service) string { return s.Namespace + "/" + s.Name }

// allocate gives each Service that is ours an address of the range, which is its
// until the Service goes: the one it has, the one it asks for if that is free,
// or the lowest that is. Older Services choose first. The error names those left
// without; the others have theirs.
func allocate(services []*corev1.Service, addresses netip.Prefix) (map[string]netip.Addr, error) {
	given := map[string]netip.Addr{}
	taken := map[netip.Addr]bool{}
	take := func(s *corev1.Service, wanted string) {
		a, err := netip.ParseAddr(wanted)
		if err != nil || !usable(addresses, a) || taken[a] || given[name(s)].IsValid() {
			return
		}
		given[name(s)], taken[a] = a, true
	}

	ours := slices.DeleteFunc(slices.Clone(services), func(s *corev1.Service) bool { return !balanced(s) })
	slices.SortFunc(ours, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(name(a), name(b)))
	})
	for _, s := range ours {
		for _, i := range s.Status.LoadBalancer.Ingress {
			take(s, i.IP)
		}
	}
	for _, s := range ours {
		take(s, s.Spec.LoadBalancerIP)
	}
	next := addresses.Masked().Addr().Next()
	var errs []error
	for _, s := range ours {
		if given[name(s)].IsValid() {
			continue
		}
		for taken[next] {
			next = next.Next()
		}
		if !usable(addresses, next) {
			errs = append(errs, fmt.Errorf("service %s: %w in %s", name(s), errExhausted, addresses))
			continue
		}
		take(s, next.String())
	}
	return given, errors.Join(errs...)
}

// usable says whether an address of the range can be given: the first and the
// last one look like a network's own to too many programs.
func usable(addresses netip.Prefix, a netip.Addr) bool {
	return addresses.Contains(a) && a != addresses.Masked().Addr() && addresses.Contains(a.Next())
}

// ingress is the status of a Service with that address; none without one.
func ingress(a netip.Addr) []corev1.LoadBalancerIngress {
	if !a.IsValid() {
		return nil
	}
	mode := corev1.LoadBalancerIPModeVIP
	return []corev1.LoadBalancerIngress{{IP: a.String(), IPMode: &mode}}
}

// has says whether a Service's status shows that address, or none, already.
func has(s *corev1.Service, a netip.Addr) bool {
	shown := s.Status.LoadBalancer.Ingress
	if !a.IsValid() {
		return len(shown) == 0
	}
	return len(shown) == 1 && shown[0].IP == a.String()
}

// choose returns the node that traffic goes to: the one it goes to now while
// that is healthy, or else the first that is. While none is, it stays, because
// what is under way may yet end well.
func choose(now string, healthy []string) string {
	if len(healthy) == 0 || slices.Contains(healthy, now) {
		return now
	}
	return slices.Min(healthy)
}
