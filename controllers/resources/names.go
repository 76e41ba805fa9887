package resources

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// Labels of all objects of a cluster.
const (
	LabelCluster = "moqrelay.io/cluster"
	LabelRole    = "moqrelay.io/role"   // root or region
	LabelRegion  = "moqrelay.io/region" // absent on the root

	labelName      = "app.kubernetes.io/name"
	labelInstance  = "app.kubernetes.io/instance"
	labelComponent = "app.kubernetes.io/component"
	labelPartOf    = "app.kubernetes.io/part-of"
	labelManagedBy = "app.kubernetes.io/managed-by"

	appRelay    = "moq-relay"
	appOperator = "moq-operator"
	appProject  = "moqrelay"
)

// placeholderPod stands for the name of a pod in its hostname.
const placeholderPod = "{pod}"

// Names of the relay's container and of what is mounted into it.
const (
	Container = "relay"
	volumeTLS = "tls"
)

// AuthorityName returns the name of the Secret with the cluster's authority.
func AuthorityName(cluster string) string { return cluster + "-ca" }

// TrustName returns the name of the ConfigMap with the authorities to trust.
func TrustName(cluster string) string { return cluster + "-trust" }

// PublicName returns the name of the Certificate that cert-manager is asked
// for.
func PublicName(cluster string) string { return cluster + "-public" }

// PublicSecretName returns the name of the Secret with the certificate that users
// get: the user's own or the one that cert-manager fills; empty if there is none.
func PublicSecretName(c *v1alpha1.RelayCluster) string {
	switch public := c.Spec.TLS.Public; {
	case public == nil:
		return ""
	case public.SecretRef != nil:
		return public.SecretRef.Name
	default:
		return PublicName(c.Name) + "-tls"
	}
}

// PolicyName returns the name of the cluster's NetworkPolicy.
func PolicyName(cluster string) string { return cluster + "-relays" }

// Name returns the name of the set's StatefulSet, client Service, autoscaler
// and disruption budget.
func (s Set) Name() string { return s.Cluster.Name + "-" + s.Key() }

// NodesName returns the name of the set's headless Service.
func (s Set) NodesName() string { return s.Name() + "-nodes" }

// CertificateName returns the name of the Secret with the set's certificate.
func (s Set) CertificateName() string { return s.Name() + "-tls" }

// PodName returns the name of a pod of the set.
func (s Set) PodName(ordinal int) string { return fmt.Sprintf("%s-%d", s.Name(), ordinal) }

// PodServiceName returns the name of the Service that leads to one pod of the
// set. Names of regions do not end like it.
func (s Set) PodServiceName(ordinal int) string { return fmt.Sprintf("%s-pod-%d", s.Name(), ordinal) }

// TCPServiceName returns the name of the Service beside the named one that takes
// TCP where one load balancer cannot take both. Names of regions do not end like
// it.
func TCPServiceName(service string) string { return service + "-tcp" }

// Host returns how the other nodes dial a pod of the set. Inside Kubernetes, the
// short form resolves whatever the domain of the cluster is.
func (s Set) Host(ordinal int) string { return s.HostOf(s.PodName(ordinal)) }

// HostOf is Host for a pod by its name.
func (s Set) HostOf(pod string) string {
	if s.nodesByPodHostname() {
		return net.JoinHostPort(s.podHostname(pod), strconv.Itoa(int(s.UserPort())))
	}
	return fmt.Sprintf("%s.%s.%s.svc:%d", pod, s.NodesName(), s.Cluster.Namespace, s.relayPort())
}

// PodHostname returns the name by which users reach one pod of the set, empty if
// the spec gives it none.
func (s Set) PodHostname(ordinal int) string { return s.podHostname(s.PodName(ordinal)) }

func (s Set) podHostname(pod string) string {
	return strings.ReplaceAll(s.Exposure.PodHostname, placeholderPod, pod)
}

// wildcard returns the name that stands in certificates for every pod's own,
// nil if there is none.
func (s Set) wildcard() []string {
	if s.Exposure.PodHostname == "" {
		return nil
	}
	return []string{s.podHostname("*")}
}

// nodesByPodHostname reports whether other nodes dial the pods by the names that
// the user gave them.
func (s Set) nodesByPodHostname() bool {
	if s.Exposure.NodeName == "" {
		return s.Exposure.PodHostname != "" && s.Cluster.Spec.ExternalRoot != nil
	}
	return s.Exposure.NodeName == v1alpha1.NodesByPodHostname
}

// UserPort returns the port by which users reach the relays, but for that of a
// NodePort, which Kubernetes chooses.
func (s Set) UserPort() int32 {
	if s.Exposure.Mode.IsHost() {
		return s.Exposure.HostPort
	}
	return s.Cluster.Spec.Port
}

// CertificateNames returns the names that the set's certificate is good for:
// every pod that the set will ever have, its Services, this machine, and the
// public names if no public certificate answers for them.
func (s Set) CertificateNames() []string {
	namespace := s.Cluster.Namespace
	nodes := s.NodesName() + "." + namespace + ".svc"
	client := s.Name() + "." + namespace
	names := []string{"*." + nodes, nodes, client + ".svc", client, s.Name(), "localhost", "127.0.0.1", "::1"}
	if s.Cluster.Spec.TLS.Public == nil {
		names = append(names, s.Exposure.Hostnames...)
	}
	if s.Cluster.Spec.TLS.Public == nil || s.nodesByPodHostname() {
		names = append(names, s.wildcard()...)
	}
	return names
}

// clusterLabels returns the labels of everything that belongs to a cluster.
func clusterLabels(cluster string) map[string]string {
	return map[string]string{
		labelName:      appRelay,
		labelInstance:  cluster,
		labelPartOf:    appProject,
		labelManagedBy: appOperator,
		LabelCluster:   cluster,
	}
}

// labels returns the labels of everything that belongs to the set.
func (s Set) labels() map[string]string {
	labels := clusterLabels(s.Cluster.Name)
	labels[labelComponent] = string(s.Role)
	labels[LabelRole] = string(s.Role)
	if s.Role == RoleRegion {
		labels[LabelRegion] = s.Region
	}
	return labels
}

// selector returns the labels that choose the pods of the set. A StatefulSet
// keeps its selector for life, so this can never change.
func (s Set) selector() map[string]string {
	selector := map[string]string{LabelCluster: s.Cluster.Name, LabelRole: string(s.Role)}
	if s.Role == RoleRegion {
		selector[LabelRegion] = s.Region
	}
	return selector
}

func (s Set) labelSelector() *metav1ac.LabelSelectorApplyConfiguration {
	return metav1ac.LabelSelector().WithMatchLabels(s.selector())
}

// owner makes an object go with its cluster. It does not block the cluster's
// deletion: setting that takes, on clusters that check it (OpenShift), the right
// to change RelayClusters.
func owner(c *v1alpha1.RelayCluster) *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().
		WithAPIVersion(v1alpha1.GroupVersion.String()).
		WithKind(v1alpha1.Kind).
		WithName(c.Name).
		WithUID(c.UID).
		WithController(true)
}
