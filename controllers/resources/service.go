package resources

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/relay/config"
)

const (
	// annotationHostname is where external-dns reads the names of a Service.
	annotationHostname = "external-dns.alpha.kubernetes.io/hostname"
	// affinitySeconds is how long a client is led to the same relay.
	affinitySeconds = 3 * 60 * 60
)

// NodesService returns the headless Service that gives every pod of the set its
// name. Pods that are starting or draining keep theirs: their peers dial them.
func NodesService(s Set) *corev1ac.ServiceApplyConfiguration {
	return corev1ac.Service(s.NodesName(), s.Cluster.Namespace).
		WithLabels(s.labels()).
		WithOwnerReferences(owner(s.Cluster)).
		WithSpec(corev1ac.ServiceSpec().
			WithClusterIP(corev1.ClusterIPNone).
			WithPublishNotReadyAddresses(true).
			WithSelector(s.selector()).
			WithPorts(servicePorts(PortRelay)...))
}

// ClientService returns the Service that users reach the set by: media over
// UDP, and TCP of the same number, because load balancers check health by it
// and browsers fetch the fingerprint from it.
func ClientService(s Set) *corev1ac.ServiceApplyConfiguration {
	e := s.Exposure
	spec := corev1ac.ServiceSpec().
		WithType(corev1.ServiceType(e.Mode)).
		WithSelector(s.selector()).
		WithSessionAffinity(e.SessionAffinity).
		WithPorts(servicePorts(s.Cluster.Spec.Port)...)
	if e.SessionAffinity == corev1.ServiceAffinityClientIP {
		spec.WithSessionAffinityConfig(corev1ac.SessionAffinityConfig().
			WithClientIP(corev1ac.ClientIPConfig().WithTimeoutSeconds(affinitySeconds)))
	}
	if e.Mode != v1alpha1.ExposureClusterIP {
		spec.WithExternalTrafficPolicy(e.ExternalTrafficPolicy)
	}
	if e.LoadBalancerClass != nil {
		spec.WithLoadBalancerClass(*e.LoadBalancerClass)
	}
	if len(e.SourceRanges) > 0 {
		spec.WithLoadBalancerSourceRanges(slices.Clone(e.SourceRanges)...)
	}
	service := corev1ac.Service(s.Name(), s.Cluster.Namespace).
		WithLabels(s.labels()).
		WithOwnerReferences(owner(s.Cluster)).
		WithSpec(spec)
	if annotations := serviceAnnotations(e); len(annotations) > 0 {
		service.WithAnnotations(annotations)
	}
	return service
}

func serviceAnnotations(e v1alpha1.Exposure) map[string]string {
	annotations := map[string]string{}
	if e.Mode != v1alpha1.ExposureClusterIP && len(e.Hostnames) > 0 {
		annotations[annotationHostname] = strings.Join(e.Hostnames, ",")
	}
	maps.Copy(annotations, e.Annotations)
	return annotations
}

func servicePorts(port int32) []*corev1ac.ServicePortApplyConfiguration {
	return []*corev1ac.ServicePortApplyConfiguration{
		corev1ac.ServicePort().WithName(config.PortQUIC).WithProtocol(corev1.ProtocolUDP).WithPort(port).WithTargetPort(intstr.FromString(config.PortQUIC)),
		corev1ac.ServicePort().WithName(config.PortHTTP).WithProtocol(corev1.ProtocolTCP).WithPort(port).WithTargetPort(intstr.FromString(config.PortHTTP)),
	}
}
