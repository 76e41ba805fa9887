package resources

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/relay/config"
)

const (
	// dnsHostname is the annotation of external-dns for the names of a Service,
	// dnsInternal for those of its address within the Kubernetes cluster,
	// dnsEndpoints for which addresses of pods a headless Service publishes, and
	// dnsHostIP for those of their machines.
	dnsHostname  = "hostname"
	dnsInternal  = "internal-hostname"
	dnsEndpoints = "endpoints-type"
	dnsHostIP    = "HostIP"
	// affinitySeconds is how long a client is led to the same relay.
	affinitySeconds = 3 * 60 * 60
)

// NodesService returns the headless Service that gives every pod of the set its
// name. Pods that are starting or draining keep theirs: their peers dial them.
// Where users reach each pod at its machine, external-dns gives it that name by
// this Service too.
func NodesService(s Set) *corev1ac.ServiceApplyConfiguration {
	service := corev1ac.Service(s.NodesName(), s.Cluster.Namespace).
		WithLabels(s.labels()).
		WithOwnerReferences(owner(s.Cluster)).
		WithSpec(corev1ac.ServiceSpec().
			WithClusterIP(corev1.ClusterIPNone).
			WithPublishNotReadyAddresses(true).
			WithSelector(s.selector()).
			WithPorts(servicePorts(s.relayPort())...))
	if s.Exposure.Mode.IsHost() {
		annotate(service, s.hostAnnotations())
	}
	return service
}

// UserServices returns the Services that users reach the set by, which has so
// many pods: the one of all pods first.
func UserServices(s Set, pods int) []*corev1ac.ServiceApplyConfiguration {
	services := []*corev1ac.ServiceApplyConfiguration{ClientService(s)}
	switch s.Exposure.Mode {
	case v1alpha1.ExposureLoadBalancer:
		services = separate(s, services[0])
	case v1alpha1.ExposureLoadBalancerPerPod:
		for ordinal := range pods {
			services = append(services, separate(s, podService(s, ordinal))...)
		}
	case v1alpha1.ExposureClusterIP, v1alpha1.ExposureNodePort, v1alpha1.ExposureHostPort, v1alpha1.ExposureHostNetwork:
	}
	return services
}

// ClientService returns the Service that leads to any pod of the set: media over
// UDP, and TCP of the same number, because load balancers check health by it
// and browsers fetch the fingerprint from it. Where users reach each pod by
// itself, it is for clients inside Kubernetes.
func ClientService(s Set) *corev1ac.ServiceApplyConfiguration {
	e := s.Exposure
	spec := clientSpec(s, s.selector()).
		WithType(corev1.ServiceTypeClusterIP).
		WithSessionAffinity(e.SessionAffinity)
	if e.SessionAffinity == corev1.ServiceAffinityClientIP {
		spec.WithSessionAffinityConfig(corev1ac.SessionAffinityConfig().
			WithClientIP(corev1ac.ClientIPConfig().WithTimeoutSeconds(affinitySeconds)))
	}
	service := clientService(s, s.Name(), spec)
	if e.Mode.IsPerPod() {
		return service
	}
	spec.WithType(corev1.ServiceType(e.Mode))
	if e.Mode != v1alpha1.ExposureClusterIP {
		spec.WithExternalTrafficPolicy(e.ExternalTrafficPolicy)
		annotate(service, hostnameAnnotation(e.Hostnames...))
	}
	if e.Mode == v1alpha1.ExposureLoadBalancer {
		balance(spec, e)
	}
	if e.NodePort != 0 {
		for i := range spec.Ports {
			spec.Ports[i].WithNodePort(e.NodePort)
		}
	}
	annotate(service, e.Annotations)
	return service
}

// podService returns the Service that leads to one pod of the set.
func podService(s Set, ordinal int) *corev1ac.ServiceApplyConfiguration {
	selector := s.selector()
	selector[appsv1.StatefulSetPodNameLabel] = s.PodName(ordinal)
	spec := clientSpec(s, selector).
		WithType(corev1.ServiceTypeLoadBalancer).
		WithExternalTrafficPolicy(s.Exposure.ExternalTrafficPolicy)
	balance(spec, s.Exposure)
	service := clientService(s, s.PodServiceName(ordinal), spec)
	names := slices.Clone(s.Exposure.Hostnames)
	if name := s.PodHostname(ordinal); name != "" {
		names = append(names, name)
	}
	annotate(service, hostnameAnnotation(names...))
	annotate(service, s.Exposure.Annotations)
	return service
}

// clientSpec returns what all Services for users have in common.
func clientSpec(s Set, selector map[string]string) *corev1ac.ServiceSpecApplyConfiguration {
	spec := corev1ac.ServiceSpec().WithSelector(selector).WithPorts(servicePorts(s.Cluster.Spec.Port)...)
	if policy := s.Exposure.IPFamilyPolicy; policy != nil {
		spec.WithIPFamilyPolicy(*policy)
	}
	return spec
}

func clientService(s Set, name string, spec *corev1ac.ServiceSpecApplyConfiguration) *corev1ac.ServiceApplyConfiguration {
	return corev1ac.Service(name, s.Cluster.Namespace).
		WithLabels(s.labels()).
		WithOwnerReferences(owner(s.Cluster)).
		WithSpec(spec)
}

// balance says what the provider's load balancer is to be.
func balance(spec *corev1ac.ServiceSpecApplyConfiguration, e v1alpha1.Exposure) {
	if e.LoadBalancerClass != nil {
		spec.WithLoadBalancerClass(*e.LoadBalancerClass)
	}
	if len(e.SourceRanges) > 0 {
		spec.WithLoadBalancerSourceRanges(slices.Clone(e.SourceRanges)...)
	}
}

// separate parts a Service in two if one load balancer cannot take both
// protocols: the one for UDP keeps the name, and the hostnames, because media is
// what they are for.
func separate(s Set, service *corev1ac.ServiceApplyConfiguration) []*corev1ac.ServiceApplyConfiguration {
	if s.Exposure.ProtocolSharing != v1alpha1.ProtocolsSeparate {
		return []*corev1ac.ServiceApplyConfiguration{service}
	}
	udp, tcp := service.Spec.Ports[:1:1], service.Spec.Ports[1:]
	spec := *service.Spec
	spec.Ports = tcp
	second := clientService(s, TCPServiceName(*service.Name), &spec)
	annotate(second, s.Exposure.Annotations)
	service.Spec.Ports = udp
	return []*corev1ac.ServiceApplyConfiguration{service, second}
}

// hostAnnotations has external-dns name each pod after its machine. It puts the
// name of the pod in front of those that the headless Service bears.
func (s Set) hostAnnotations() map[string]string {
	names := slices.Clone(s.Exposure.Hostnames)
	if _, domain, ok := strings.Cut(s.Exposure.PodHostname, "."); ok {
		names = append(names, domain)
	}
	annotations := hostnameAnnotation(names...)
	if len(names) > 0 {
		setDNS(annotations, dnsEndpoints, dnsHostIP)
	}
	maps.Copy(annotations, s.Exposure.Annotations)
	return annotations
}

func hostnameAnnotation(names ...string) map[string]string {
	annotations := map[string]string{}
	if len(names) > 0 {
		setDNS(annotations, dnsHostname, strings.Join(names, ","))
	}
	return annotations
}

// dnsPrefixes returns the prefix that external-dns reads, and the one that it
// read before v0.22.
func dnsPrefixes() []string {
	return []string{"external-dns.kubernetes.io/", "external-dns.alpha.kubernetes.io/"}
}

// setDNS tells external-dns something.
func setDNS(annotations map[string]string, name, value string) {
	for _, prefix := range dnsPrefixes() {
		annotations[prefix+name] = value
	}
}

// NamingAnnotations returns the annotations of Services and pods by which
// external-dns gives names.
func NamingAnnotations() []string {
	var keys []string
	for _, prefix := range dnsPrefixes() {
		keys = append(keys, prefix+dnsHostname, prefix+dnsInternal)
	}
	return keys
}

// annotate adds annotations; none leaves the Service without the field.
func annotate(service *corev1ac.ServiceApplyConfiguration, annotations map[string]string) {
	if len(annotations) > 0 {
		service.WithAnnotations(annotations)
	}
}

func servicePorts(port int32) []*corev1ac.ServicePortApplyConfiguration {
	return []*corev1ac.ServicePortApplyConfiguration{
		corev1ac.ServicePort().WithName(config.PortQUIC).WithProtocol(corev1.ProtocolUDP).WithPort(port).WithTargetPort(intstr.FromString(config.PortQUIC)),
		corev1ac.ServicePort().WithName(config.PortHTTP).WithProtocol(corev1.ProtocolTCP).WithPort(port).WithTargetPort(intstr.FromString(config.PortHTTP)),
	}
}
