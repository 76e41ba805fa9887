package v1alpha1

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (e *Exposure) validate(path *field.Path) field.ErrorList {
	errs := e.validateMode(path)
	for _, rule := range []struct {
		broken  bool
		message string
	}{
		{e.LoadBalancerClass != nil && !e.Mode.IsLoadBalancer(), "loadBalancerClass: does nothing in this mode: set mode to LoadBalancer or LoadBalancerPerPod, or drop it"},
		{e.SourceRanges != nil && !e.Mode.IsLoadBalancer(), "sourceRanges: does nothing in this mode: set mode to LoadBalancer or LoadBalancerPerPod, or drop it"},
		{e.ProtocolSharing != "" && !e.Mode.IsLoadBalancer(), "protocolSharing: does nothing in this mode: set mode to LoadBalancer or LoadBalancerPerPod, or drop it"},
		{e.HostPort == 0 && e.Mode.IsHost(), "hostPort: missing in this mode: set the port of the machines on which the relays are reached, such as 4443"},
		{e.HostPort != 0 && !e.Mode.IsHost(), "hostPort: does nothing in this mode: set mode to HostPort or HostNetwork, or drop it"},
		{e.HostPort != 0 && e.Mode == ExposureHostNetwork && e.HostPort < 1024, "hostPort: below 1024, which a relay may not listen on in the network of its machine: set 1024 or more, or set mode to HostPort"},
		{e.NodePort != 0 && e.Mode != ExposureNodePort && e.Mode != ExposureLoadBalancer, "nodePort: does nothing in this mode: set mode to NodePort or LoadBalancer, or drop it"},
		{e.PodHostname != "" && !e.Mode.IsPerPod(), "podHostname: in this mode a pod has no address of its own: set mode to LoadBalancerPerPod, HostPort or HostNetwork, or drop it"},
		{e.NodeName == NodesByPodHostname && e.PodHostname == "", "nodeName: PodHostname without podHostname: set podHostname, such as {pod}.eu.example.com, or drop nodeName"},
		{e.PodHostname != "" && !podHostPattern.MatchString(e.PodHostname), "podHostname: want {pod} and a domain, such as {pod}.eu.example.com"},
	} {
		if rule.broken {
			errs = append(errs, field.Invalid(path, e.Mode, rule.message))
		}
	}
	return append(errs, e.validateLists(path)...)
}

// validateMode checks what is one of a few values.
func (e *Exposure) validateMode(path *field.Path) field.ErrorList {
	errs := oneOf(path.Child("mode"), e.Mode, ExposureClusterIP, ExposureHostNetwork, ExposureHostPort, ExposureLoadBalancer, ExposureLoadBalancerPerPod, ExposureNodePort)
	errs = append(errs, oneOf(path.Child("externalTrafficPolicy"), e.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	errs = append(errs, oneOf(path.Child("sessionAffinity"), e.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)...)
	if e.ProtocolSharing != "" {
		errs = append(errs, oneOf(path.Child("protocolSharing"), e.ProtocolSharing, ProtocolsMixed, ProtocolsSeparate)...)
	}
	if e.NodeName != "" {
		errs = append(errs, oneOf(path.Child("nodeName"), e.NodeName, NodesInCluster, NodesByPodHostname)...)
	}
	if e.IPFamilyPolicy != nil {
		errs = append(errs, oneOf(path.Child("ipFamilyPolicy"), *e.IPFamilyPolicy, corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)...)
	}
	if e.NodePort != 0 {
		errs = append(errs, inRange(path.Child("nodePort"), int64(e.NodePort), 1, 65535)...)
	}
	if e.HostPort != 0 {
		errs = append(errs, inRange(path.Child("hostPort"), int64(e.HostPort), 1, 65535)...)
	}
	return errs
}

// validateLists checks what has a length.
func (e *Exposure) validateLists(path *field.Path) field.ErrorList {
	errs := maxLength(path.Child("podHostname"), e.PodHostname, 200)
	if class := e.LoadBalancerClass; class != nil && *class == "" {
		errs = append(errs, field.Invalid(path.Child("loadBalancerClass"), "", "spec.loadBalancerClass should be at least 1 chars long"))
	} else if class != nil {
		errs = append(errs, maxLength(path.Child("loadBalancerClass"), *class, 316)...)
	}
	errs = append(errs, atMost(path.Child("annotations"), len(e.Annotations), 64)...)
	errs = append(errs, validateSet(path.Child("hostnames"), e.Hostnames, 16, 253, hostPattern.MatchString,
		"hostnames: want lower-case host names without scheme or port, such as eu.example.com")...)
	isCIDR := func(s string) bool { _, err := netip.ParsePrefix(s); return err == nil }
	return append(errs, validateSet(path.Child("sourceRanges"), e.SourceRanges, 64, 43, isCIDR,
		"sourceRanges: want networks such as 192.0.2.0/24 or 2001:db8::/32")...)
}
