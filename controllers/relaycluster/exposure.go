package relaycluster

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// maxEndpoints bounds the endpoints of a set, as in the schema.
const maxEndpoints = 100

// pollEvents is how often the events of what is not exposed are read: nobody
// tells of them.
const pollEvents = 10 * time.Second

// expose finds out for how many pods there are to be Services, and why what is
// not exposed is not.
func (r *Reconciler) expose(ctx context.Context, s *scope) error {
	s.input.Pods = map[string]int32{}
	s.refusals = map[string]string{}
	for _, set := range s.sets {
		s.input.Pods[set.Key()] = s.podsToExpose(set)
		kind, name := s.unexposed(set)
		if name == "" {
			continue
		}
		s.lookAgain(pollEvents)
		message, err := r.lastWarning(ctx, s, kind, name)
		if err != nil {
			return err
		}
		s.refusals[name] = message
	}
	return nil
}

// podsToExpose returns how many pods of the set are to have a Service of their
// own. One that is to go keeps it as long as it drains.
func (s *scope) podsToExpose(set resources.Set) int32 {
	count := set.Replicas
	if seen := s.statefulSet(set); seen != nil {
		count = wantedReplicas(s.cluster, set, seen)
	}
	for ordinal := range s.podsOf(set) {
		count = max(count, ordinal+1)
	}
	return count
}

// lastWarning returns the text of the newest warning about an object, empty if
// there is none.
func (r *Reconciler) lastWarning(ctx context.Context, s *scope, kind, name string) (string, error) {
	var list corev1.EventList
	err := r.Live.List(ctx, &list, client.InNamespace(s.cluster.Namespace), client.MatchingFieldsSelector{Selector: fields.SelectorFromSet(fields.Set{
		"involvedObject.kind": kind, "involvedObject.name": name, "type": corev1.EventTypeWarning,
	})})
	if err != nil {
		return "", fmt.Errorf("list events of %s %q: %w", kind, name, err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(e corev1.Event) bool {
		return strings.HasPrefix(e.Reason, "FailedToUpdateEndpoint") // of pods that come and go
	})
	if len(list.Items) == 0 {
		return "", nil
	}
	newest := slices.MaxFunc(list.Items, func(a, b corev1.Event) int { return lastSeen(&a).Compare(lastSeen(&b)) })
	return newest.Message, nil
}

// lastSeen returns when an event came last, in whichever way its sender says so.
func lastSeen(e *corev1.Event) time.Time {
	if e.Series != nil {
		return e.Series.LastObservedTime.Time
	}
	return slices.MaxFunc([]time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time}, time.Time.Compare)
}

// services returns the Services through which users are to reach a set from
// outside, nil for each that is not there.
func (s *scope) services(set resources.Set) []*corev1.Service {
	var services []*corev1.Service
	pods := int(s.input.Pods[set.Key()])
	for _, wanted := range resources.UserServices(set, pods) {
		if set.Exposure.Mode == v1alpha1.ExposureLoadBalancerPerPod && *wanted.Name == set.Name() {
			continue
		}
		service, _ := apply.Get[*corev1.Service](s.children, *wanted.Name)
		services = append(services, service)
	}
	return services
}

// service returns the Service of any pod of a set, nil if there is none.
func (s *scope) service(set resources.Set) *corev1.Service {
	service, ok := apply.Get[*corev1.Service](s.children, set.Name())
	if !ok {
		return nil
	}
	return service
}

// endpoints returns where users reach a set now: all of it under its hostnames
// or at the address of its Service, and its pods where each has an address of
// its own.
func (s *scope) endpoints(set resources.Set) []v1alpha1.Endpoint {
	service := s.service(set)
	if service == nil {
		return nil
	}
	var endpoints []v1alpha1.Endpoint
	switch mode := set.Exposure.Mode; {
	case mode.IsPerPod():
		endpoints = s.podEndpoints(set)
	case s.notExposed(set) != nil:
	default:
		udp, tcp := s.exposedPorts(set, service)
		hosts := slices.Clone(set.Exposure.Hostnames)
		if len(hosts) == 0 || mode == v1alpha1.ExposureClusterIP {
			hosts = s.addresses(set, service)
		}
		for _, host := range hosts {
			endpoints = append(endpoints, v1alpha1.Endpoint{Host: host, UDP: udp, TCP: tcp})
		}
	}
	return endpoints[:min(len(endpoints), maxEndpoints)]
}

// podEndpoints returns where users reach each pod that has an address of its
// own, after the names that lead to all of them.
func (s *scope) podEndpoints(set resources.Set) []v1alpha1.Endpoint {
	port := set.UserPort()
	var endpoints []v1alpha1.Endpoint
	for ordinal := range int(s.input.Pods[set.Key()]) {
		addresses := s.podAddresses(set, ordinal)
		if name := set.PodHostname(ordinal); name != "" && len(addresses) > 0 {
			addresses = []string{name}
		}
		for _, address := range addresses {
			endpoints = append(endpoints, v1alpha1.Endpoint{Host: address, UDP: port, TCP: port, Pod: set.PodName(ordinal)})
		}
	}
	if len(endpoints) == 0 {
		return nil // the names lead nowhere yet
	}
	var all []v1alpha1.Endpoint
	for _, name := range set.Exposure.Hostnames {
		all = append(all, v1alpha1.Endpoint{Host: name, UDP: port, TCP: port})
	}
	return append(all, endpoints...)
}

// podAddresses returns where users reach one pod without a name.
func (s *scope) podAddresses(set resources.Set, ordinal int) []string {
	if set.Exposure.Mode == v1alpha1.ExposureLoadBalancerPerPod {
		service, ok := apply.Get[*corev1.Service](s.children, set.PodServiceName(ordinal))
		if !ok {
			return nil
		}
		return ingresses(service)
	}
	pod := s.podsOf(set)[int32(ordinal)]
	if pod == nil || pod.Status.HostIP == "" {
		return nil
	}
	return []string{pod.Status.HostIP}
}

// addresses returns where the Service of a set is reached without a hostname of
// the user's.
func (s *scope) addresses(set resources.Set, service *corev1.Service) []string {
	switch set.Exposure.Mode {
	case v1alpha1.ExposureLoadBalancer:
		return ingresses(service)
	case v1alpha1.ExposureNodePort:
		// The machines that have a pod: others lead nowhere while the traffic
		// policy is Local.
		machines := map[string]bool{}
		for _, pod := range s.podsOf(set) {
			if pod.Status.HostIP != "" {
				machines[pod.Status.HostIP] = true
			}
		}
		return slices.Sorted(maps.Keys(machines))
	default:
		return []string{service.Name + "." + service.Namespace + ".svc"}
	}
}

// ingresses returns the addresses of a load balancer.
func ingresses(service *corev1.Service) []string {
	var hosts []string
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		hosts = append(hosts, cmp.Or(ingress.Hostname, ingress.IP))
	}
	return hosts
}

// exposedPorts returns the ports that users of a set speak to. Where UDP and TCP
// have a load balancer each, only the one of UDP has this address, unless they
// share it.
func (s *scope) exposedPorts(set resources.Set, service *corev1.Service) (udp, tcp int32) {
	ports := service.Spec.Ports
	if second, ok := apply.Get[*corev1.Service](s.children, resources.TCPServiceName(service.Name)); ok &&
		set.Exposure.ProtocolSharing == v1alpha1.ProtocolsSeparate && slices.Equal(ingresses(service), ingresses(second)) {
		ports = slices.Concat(ports, second.Spec.Ports)
	}
	for _, port := range ports {
		number := port.Port
		if service.Spec.Type == corev1.ServiceTypeNodePort {
			number = port.NodePort
		}
		if port.Protocol == corev1.ProtocolUDP {
			udp = number
		} else {
			tcp = number
		}
	}
	return udp, tcp
}

// unexposed returns the object whose events may say why users do not reach a
// set; none if they do.
func (s *scope) unexposed(set resources.Set) (kind, name string) {
	switch mode := set.Exposure.Mode; {
	case mode.IsLoadBalancer():
		for _, service := range s.services(set) {
			if service != nil && len(service.Status.LoadBalancer.Ingress) == 0 {
				return "Service", service.Name
			}
		}
	case mode.IsHost():
		if seen := s.statefulSet(set); seen != nil && len(s.podsOf(set)) < int(*seen.Spec.Replicas) {
			return "StatefulSet", seen.Name
		}
	}
	return "", ""
}

// notExposed says what is missing for users to reach a set, nil if nothing is.
func (s *scope) notExposed(set resources.Set) *problem {
	switch mode := set.Exposure.Mode; {
	case mode.IsLoadBalancer():
		for _, service := range s.services(set) {
			if p := s.notBalanced(service); p != nil {
				return p
			}
		}
	case mode.IsHost():
		return s.notOnHost(set)
	case mode == v1alpha1.ExposureNodePort:
		service := s.service(set)
		if service == nil {
			return nil
		}
		if udp, tcp := s.exposedPorts(set, service); udp == 0 || tcp == 0 {
			return &problem{Reason: v1alpha1.ReasonNodePortPending, Message: "Service " + service.Name + " has no node port yet"}
		}
	}
	return nil
}

// notBalanced says what keeps a Service from having a load balancer.
func (s *scope) notBalanced(service *corev1.Service) *problem {
	if service == nil {
		return nil
	}
	told := s.refusals[service.Name]
	if refused := portsError(service); refused != "" || mixRefused(told) {
		return &problem{
			Reason: v1alpha1.ReasonMixedProtocolRefused,
			Message: fmt.Sprintf("the load balancer of Service %s does not take UDP and TCP together: %s: set exposure.protocolSharing to Separate, or the annotation by which your provider mixes",
				service.Name, cmp.Or(refused, told)),
		}
	}
	if len(service.Status.LoadBalancer.Ingress) > 0 {
		return nil
	}
	return &problem{
		Reason: v1alpha1.ReasonLoadBalancerPending,
		Message: fmt.Sprintf("Service %s has no address from a load balancer yet: %s; without any provider set exposure.mode to NodePort",
			service.Name, cmp.Or(told, "its events say why")),
	}
}

// portsError returns what the provider has against the ports of a Service.
func portsError(service *corev1.Service) string {
	if c := meta.FindStatusCondition(service.Status.Conditions, corev1.LoadBalancerPortsError); c != nil && c.Status == "True" {
		return cmp.Or(c.Message, c.Reason)
	}
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		for _, port := range ingress.Ports {
			if port.Error != nil {
				return fmt.Sprintf("%s %d: %s", port.Protocol, port.Port, *port.Error)
			}
		}
	}
	return ""
}

// mixRefused reports whether a provider says that it does not mix protocols. No
// field says so: these are the words of the cloud providers.
func mixRefused(message string) bool {
	message = strings.ToLower(message)
	return strings.Contains(message, "mixed protocol") || strings.Contains(message, "mixedprotocol") || strings.Contains(message, "mix protocols")
}

// notOnHost says what keeps pods from the ports of their machines.
func (s *scope) notOnHost(set resources.Set) *problem {
	pods := s.podsOf(set)
	for _, ordinal := range slices.Sorted(maps.Keys(pods)) {
		scheduled := podCondition(pods[ordinal], corev1.PodScheduled)
		if scheduled.Status == corev1.ConditionFalse && strings.Contains(scheduled.Message, "free ports") {
			return &problem{
				Reason: v1alpha1.ReasonHostPortConflict,
				Message: fmt.Sprintf("pod %s finds no machine whose port %d is free: %s: lower the replicas of %s to the number of its machines, add machines, or choose another hostPort",
					pods[ordinal].Name, set.Exposure.HostPort, scheduled.Message, set.Key()),
			}
		}
	}
	if told := s.refusals[set.Name()]; strings.Contains(told, "PodSecurity") {
		return &problem{
			Reason: v1alpha1.ReasonPodsRefused,
			Message: fmt.Sprintf("%s: exposure.mode %s takes a namespace that allows it: label namespace %s pod-security.kubernetes.io/enforce=privileged, or choose another mode",
				told, set.Exposure.Mode, s.cluster.Namespace),
		}
	}
	return nil
}
