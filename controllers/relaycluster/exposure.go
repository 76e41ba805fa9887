package relaycluster

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// maxEndpoints bounds the endpoints of a set, as in the schema.
const maxEndpoints = 32

// service returns the Service that users reach a set by, nil if there is none.
func (s *scope) service(set resources.Set) *corev1.Service {
	service, ok := apply.Get[*corev1.Service](s.children, set.Name())
	if !ok {
		return nil
	}
	return service
}

// endpoints returns where users reach a set now: under its hostnames if it has
// any and is reached from outside, else where its Service is.
func (s *scope) endpoints(set resources.Set) []v1alpha1.Endpoint {
	service := s.service(set)
	if service == nil || s.notExposed(set) != nil {
		return nil
	}
	udp, tcp := exposedPorts(service)
	hosts := slices.Clone(set.Exposure.Hostnames)
	if len(hosts) == 0 || set.Exposure.Mode == v1alpha1.ExposureClusterIP {
		hosts = s.addresses(set, service)
	}
	var endpoints []v1alpha1.Endpoint
	for _, host := range hosts {
		if len(endpoints) < maxEndpoints {
			endpoints = append(endpoints, v1alpha1.Endpoint{Host: host, UDP: udp, TCP: tcp})
		}
	}
	return endpoints
}

// addresses returns where the Service of a set is reached without a hostname of
// the user's.
func (s *scope) addresses(set resources.Set, service *corev1.Service) []string {
	switch set.Exposure.Mode {
	case v1alpha1.ExposureLoadBalancer:
		var hosts []string
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			if ingress.Hostname != "" {
				hosts = append(hosts, ingress.Hostname)
			} else {
				hosts = append(hosts, ingress.IP)
			}
		}
		return hosts
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

// exposedPorts returns the ports that users of the Service speak to.
func exposedPorts(service *corev1.Service) (udp, tcp int32) {
	for _, port := range service.Spec.Ports {
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

// notExposed says what is missing for users to reach a set, nil if nothing is.
func (s *scope) notExposed(set resources.Set) *problem {
	service := s.service(set)
	if service == nil {
		return nil
	}
	switch set.Exposure.Mode {
	case v1alpha1.ExposureLoadBalancer:
		if len(service.Status.LoadBalancer.Ingress) == 0 {
			return &problem{
				Reason: v1alpha1.ReasonLoadBalancerPending,
				Message: "Service " + service.Name + " has no address from a load balancer yet: its events say why; " +
					"a provider must take UDP and TCP on one port, and without any provider set exposure.mode to NodePort",
			}
		}
	case v1alpha1.ExposureNodePort:
		if udp, tcp := exposedPorts(service); udp == 0 || tcp == 0 {
			return &problem{Reason: v1alpha1.ReasonNodePortPending, Message: "Service " + service.Name + " has no node port yet"}
		}
	case v1alpha1.ExposureClusterIP:
	}
	return nil
}
