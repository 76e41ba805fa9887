package resources

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// NetworkPolicy returns who may reach the relays of a cluster. Media and health
// are for everybody: who is a peer is settled by certificate. The private port,
// where sessions, profiles and the drain switch are, is for the operator and for
// whom the spec names; kubelet's probes are never held back.
func NetworkPolicy(in Input) *networkingv1ac.NetworkPolicyApplyConfiguration {
	c := in.Cluster
	port := func(protocol corev1.Protocol, number int32) *networkingv1ac.NetworkPolicyPortApplyConfiguration {
		return networkingv1ac.NetworkPolicyPort().WithProtocol(protocol).WithPort(intstr.FromInt32(number))
	}
	spec := networkingv1ac.NetworkPolicySpec().
		WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{LabelCluster: c.Name})).
		WithPolicyTypes(networkingv1.PolicyTypeIngress).
		WithIngress(networkingv1ac.NetworkPolicyIngressRule().
			WithPorts(port(corev1.ProtocolUDP, PortRelay), port(corev1.ProtocolTCP, PortRelay)))
	// A rule without peers would let everybody in.
	if peers := privatePeers(c, in.OperatorNamespace); len(peers) > 0 {
		spec.WithIngress(networkingv1ac.NetworkPolicyIngressRule().
			WithFrom(peers...).
			WithPorts(port(corev1.ProtocolTCP, PortPrivate)))
	}
	return networkingv1ac.NetworkPolicy(PolicyName(c.Name), c.Namespace).
		WithLabels(clusterLabels(c.Name)).
		WithOwnerReferences(owner(c)).
		WithSpec(spec)
}

func privatePeers(c *v1alpha1.RelayCluster, operatorNamespace string) []*networkingv1ac.NetworkPolicyPeerApplyConfiguration {
	var peers []*networkingv1ac.NetworkPolicyPeerApplyConfiguration
	if operatorNamespace != "" {
		peers = append(peers, networkingv1ac.NetworkPolicyPeer().
			WithNamespaceSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{corev1.LabelMetadataName: operatorNamespace})).
			WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{labelName: appOperator})))
	}
	for _, peer := range c.Spec.NetworkPolicy.PrivateFrom {
		peers = append(peers, as[networkingv1ac.NetworkPolicyPeerApplyConfiguration](peer))
	}
	return peers
}
