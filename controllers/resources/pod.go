package resources

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/relay/config"
)

const (
	// envPodName tells a relay its own name.
	envPodName = "POD_NAME"
	// relayUser is who a relay runs as: the nonroot user of distroless images.
	relayUser = 65532
	// fileMode lets that user's group read the certificates, and nobody else.
	fileMode = 0o440
	// annotationSafeToEvict says whether the cluster autoscaler may remove the
	// machine: relays keep nothing and drain within the time that it waits.
	annotationSafeToEvict = "cluster-autoscaler.kubernetes.io/safe-to-evict"
)

// Resources of a relay for which nobody asked for any.
var (
	defaultRequests = corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("250m"),
		corev1.ResourceMemory: resource.MustParse("256Mi"),
	}
	defaultMemoryLimit = resource.MustParse("1Gi")
)

// podTemplate returns the pods of a set. They pass the restricted Pod Security
// Standard and cannot speak to the API server.
func podTemplate(in Input, s Set) *corev1ac.PodTemplateSpecApplyConfiguration {
	labels := s.labels()
	maps.Copy(labels, s.Pod.Labels)
	evict := s.Cluster.Spec.Disruption.SafeToEvict
	safe := evict != v1alpha1.EvictOnUpgrade && evict != v1alpha1.EvictNever
	annotations := map[string]string{annotationSafeToEvict: strconv.FormatBool(safe)}
	maps.Copy(annotations, s.Pod.Annotations)

	spec := corev1ac.PodSpec().
		WithAutomountServiceAccountToken(false).
		WithEnableServiceLinks(false).
		WithTerminationGracePeriodSeconds(s.Cluster.Spec.Drain.TerminationGracePeriodSeconds).
		WithSecurityContext(corev1ac.PodSecurityContext().
			WithRunAsNonRoot(true).
			WithRunAsUser(relayUser).
			WithRunAsGroup(relayUser).
			WithFSGroup(relayUser).
			WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))).
		WithContainers(relayContainer(in, s)).
		WithVolumes(certificateVolume(s)).
		WithTopologySpreadConstraints(spread(s)...)
	for _, ref := range s.Cluster.Spec.ImagePullSecrets {
		spec.WithImagePullSecrets(corev1ac.LocalObjectReference().WithName(ref.Name))
	}
	schedule(spec, s)
	if s.onHost() {
		spec.WithHostNetwork(true).WithDNSPolicy(corev1.DNSClusterFirstWithHostNet)
	}
	return corev1ac.PodTemplateSpec().WithLabels(labels).WithAnnotations(annotations).WithSpec(spec)
}

// schedule says on which machines the pods of the set may run.
func schedule(spec *corev1ac.PodSpecApplyConfiguration, s Set) {
	if len(s.Pod.NodeSelector) > 0 {
		spec.WithNodeSelector(s.Pod.NodeSelector)
	}
	for _, t := range s.Pod.Tolerations {
		spec.WithTolerations(as[corev1ac.TolerationApplyConfiguration](t))
	}
	if s.Pod.Affinity != nil {
		spec.WithAffinity(as[corev1ac.AffinityApplyConfiguration](s.Pod.Affinity))
	}
	if s.Pod.PriorityClassName != "" {
		spec.WithPriorityClassName(s.Pod.PriorityClassName)
	}
}

// relayContainer returns the relay itself. Its probes ask the private port: a
// flood of users at the public one must not make a node unready, because that
// would cut the UDP flows of all users it has.
func relayContainer(in Input, s Set) *corev1ac.ContainerApplyConfiguration {
	c := corev1ac.Container().
		WithName(Container).
		WithImage(cmp.Or(s.Cluster.Spec.Image, in.Image)).
		WithImagePullPolicy(s.Cluster.Spec.ImagePullPolicy).
		WithArgs(Args(s, PodLayout(s))...).
		WithEnv(corev1ac.EnvVar().WithName(envPodName).WithValueFrom(
			corev1ac.EnvVarSource().WithFieldRef(corev1ac.ObjectFieldSelector().WithAPIVersion("v1").WithFieldPath("metadata.name")))).
		WithPorts(containerPorts(s)...).
		WithLivenessProbe(probe(s, config.PathLive, 10)).
		WithReadinessProbe(probe(s, config.PathReady, 2)).
		WithResources(corev1ac.ResourceRequirements().WithRequests(s.Pod.Resources.Requests)).
		WithSecurityContext(corev1ac.SecurityContext().
			WithAllowPrivilegeEscalation(false).
			WithReadOnlyRootFilesystem(true).
			WithCapabilities(corev1ac.Capabilities().WithDrop("ALL"))).
		WithVolumeMounts(corev1ac.VolumeMount().WithName(volumeTLS).WithMountPath(podDir).WithReadOnly(true))
	if len(s.Pod.Resources.Limits) > 0 {
		c.Resources.WithLimits(s.Pod.Resources.Limits)
	}
	for _, e := range s.Pod.ExtraEnv {
		c.WithEnv(as[corev1ac.EnvVarApplyConfiguration](e))
	}
	return c
}

// containerPorts returns the ports of a relay, with those of its machine that
// lead to them.
func containerPorts(s Set) []*corev1ac.ContainerPortApplyConfiguration {
	port := func(name string, number int32, protocol corev1.Protocol) *corev1ac.ContainerPortApplyConfiguration {
		p := corev1ac.ContainerPort().WithName(name).WithContainerPort(number).WithProtocol(protocol)
		if s.onHost() {
			p.WithHostPort(number)
		}
		return p
	}
	ports := []*corev1ac.ContainerPortApplyConfiguration{
		port(config.PortQUIC, s.relayPort(), corev1.ProtocolUDP),
		port(config.PortHTTP, s.relayPort(), corev1.ProtocolTCP),
		port(config.PortPrivate, s.privatePort(), corev1.ProtocolTCP),
	}
	if s.Exposure.Mode == v1alpha1.ExposureHostPort {
		ports[0].WithHostPort(s.Exposure.HostPort)
		ports[1].WithHostPort(s.Exposure.HostPort)
	}
	return ports
}

func probe(s Set, path string, period int32) *corev1ac.ProbeApplyConfiguration {
	get := corev1ac.HTTPGetAction().WithPath(path).WithPort(intstr.FromString(config.PortPrivate))
	if s.onHost() {
		get.WithHost(loopback) // kubelet is in the same network
	}
	return corev1ac.Probe().
		WithHTTPGet(get).
		WithPeriodSeconds(period).
		WithTimeoutSeconds(3).
		WithFailureThreshold(3)
}

// certificateVolume puts certificates, keys and authorities into one folder,
// whose files change in one swap. It is mounted whole: a file mounted by itself
// would never change.
func certificateVolume(s Set) *corev1ac.VolumeApplyConfiguration {
	file := func(key, path string) *corev1ac.KeyToPathApplyConfiguration {
		return corev1ac.KeyToPath().WithKey(key).WithPath(path)
	}
	volume := corev1ac.ProjectedVolumeSource().
		WithDefaultMode(fileMode).
		WithSources(
			corev1ac.VolumeProjection().WithSecret(corev1ac.SecretProjection().WithName(s.CertificateName()).
				WithItems(file(corev1.TLSCertKey, FileCert), file(corev1.TLSPrivateKeyKey, FileKey))),
			corev1ac.VolumeProjection().WithConfigMap(corev1ac.ConfigMapProjection().WithName(TrustName(s.Cluster.Name)).
				WithItems(file(FileTrust, FileTrust))))
	if public := PublicSecretName(s.Cluster); public != "" {
		volume.WithSources(corev1ac.VolumeProjection().WithSecret(corev1ac.SecretProjection().WithName(public).
			WithItems(file(corev1.TLSCertKey, FilePublicCert), file(corev1.TLSPrivateKeyKey, FilePublicKey))))
	}
	return corev1ac.Volume().WithName(volumeTLS).WithProjected(volume)
}

// spread returns how the pods of the set are to be apart: softly over zones
// and machines, if the user says nothing else.
func spread(s Set) []*corev1ac.TopologySpreadConstraintApplyConfiguration {
	var constraints []*corev1ac.TopologySpreadConstraintApplyConfiguration
	for _, c := range s.Pod.TopologySpreadConstraints {
		ac := as[corev1ac.TopologySpreadConstraintApplyConfiguration](c)
		if c.LabelSelector == nil {
			ac.WithLabelSelector(s.labelSelector())
		}
		constraints = append(constraints, ac)
	}
	if s.Pod.TopologySpreadConstraints != nil {
		return constraints
	}
	for _, key := range []string{corev1.LabelTopologyZone, corev1.LabelHostname} {
		constraints = append(constraints, corev1ac.TopologySpreadConstraint().
			WithMaxSkew(1).
			WithTopologyKey(key).
			WithWhenUnsatisfiable(corev1.ScheduleAnyway).
			WithLabelSelector(metav1ac.LabelSelector().WithMatchLabels(s.selector())))
	}
	return constraints
}

// as turns a value of the core API into its apply configuration, which has the
// same fields.
func as[T any](value any) *T {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("BUG: marshal %T: %v", value, err))
	}
	ac := new(T)
	if err := json.Unmarshal(raw, ac); err != nil {
		panic(fmt.Sprintf("BUG: unmarshal %T: %v", value, err))
	}
	return ac
}
