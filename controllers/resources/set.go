package resources

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// Role is what a set of relays is for.
type Role string

// The roles.
const (
	RoleRoot   Role = "root"
	RoleRegion Role = "region"
)

// Set is a StatefulSet of relays to be: the root or a region.
type Set struct {
	Cluster *v1alpha1.RelayCluster
	Role    Role
	Region  string // empty for the root
	// Replicas is what the set begins with; those of an autoscaled one are its
	// autoscaler's from then on.
	Replicas    int32
	Autoscaling *v1alpha1.Autoscaling
	Exposure    v1alpha1.Exposure
	// MaxUnavailable is how many relays may be evicted at a time; nil is one.
	MaxUnavailable *int32
	// Pod holds the settings of the set over those of the cluster.
	Pod v1alpha1.PodSettings
}

// RootSet returns the root of a cluster that has one of its own.
func RootSet(c *v1alpha1.RelayCluster) Set {
	root := c.Spec.Root
	return Set{Cluster: c, Role: RoleRoot, Replicas: root.Replicas, Exposure: root.Exposure, Pod: mergePod(c.Spec.Pod, root.Pod)}
}

// Roots returns how nodes dial the roots of a cluster: its own, or those that it
// joins.
func Roots(c *v1alpha1.RelayCluster) []string {
	if c.Spec.Root == nil {
		return slices.Clone(c.Spec.ExternalRoot.Hosts)
	}
	root := RootSet(c)
	var hosts []string
	for i := range int(root.Replicas) {
		hosts = append(hosts, root.Host(i))
	}
	return hosts
}

// Sets returns the root, if it is the cluster's own, and the regions of a
// cluster, which has been defaulted, in the order of the spec.
func Sets(c *v1alpha1.RelayCluster) []Set {
	var sets []Set
	if c.Spec.Root != nil {
		sets = append(sets, RootSet(c))
	}
	for i := range c.Spec.Regions {
		r := &c.Spec.Regions[i]
		sets = append(sets, Set{
			Cluster: c, Role: RoleRegion, Region: r.Name,
			Replicas: r.FirstReplicas(), Autoscaling: r.Autoscaling,
			Exposure: r.Exposure, MaxUnavailable: r.MaxUnavailable,
			Pod: mergePod(c.Spec.Pod, r.Pod),
		})
	}
	return sets
}

// Key names the set within its cluster: root, or the region.
func (s Set) Key() string {
	if s.Role == RoleRoot {
		return string(RoleRoot)
	}
	return s.Region
}

// mergePod lays settings over others: maps key by key, anything else whole.
func mergePod(under, over *v1alpha1.PodSettings) v1alpha1.PodSettings {
	var merged v1alpha1.PodSettings
	for _, layer := range []*v1alpha1.PodSettings{under, over} {
		if layer == nil {
			continue
		}
		p := layer.DeepCopy()
		merged.NodeSelector = mergeMap(merged.NodeSelector, p.NodeSelector)
		merged.Labels = mergeMap(merged.Labels, p.Labels)
		merged.Annotations = mergeMap(merged.Annotations, p.Annotations)
		if p.Resources != nil {
			merged.Resources = p.Resources
		}
		if p.Affinity != nil {
			merged.Affinity = p.Affinity
		}
		if p.PriorityClassName != "" {
			merged.PriorityClassName = p.PriorityClassName
		}
		merged.Tolerations = mergeList(merged.Tolerations, p.Tolerations)
		merged.TopologySpreadConstraints = mergeList(merged.TopologySpreadConstraints, p.TopologySpreadConstraints)
		merged.ExtraEnv = mergeList(merged.ExtraEnv, p.ExtraEnv)
		merged.ExtraArgs = mergeList(merged.ExtraArgs, p.ExtraArgs)
	}
	merged.Resources = defaultResources(merged.Resources)
	return merged
}

func mergeMap(under, over map[string]string) map[string]string {
	if under == nil {
		return over
	}
	maps.Copy(under, over)
	return under
}

// mergeList returns over if it was given at all: an empty list clears.
func mergeList[T any](under, over []T) []T {
	if over == nil {
		return under
	}
	return over
}

// defaultResources completes what a user asks for, so that a request of CPU is
// always there for autoscaling to measure against; Kubernetes itself takes a
// limit for a request.
func defaultResources(r *v1alpha1.Resources) *v1alpha1.Resources {
	if r == nil {
		return &v1alpha1.Resources{
			Requests: defaultRequests.DeepCopy(),
			Limits:   corev1.ResourceList{corev1.ResourceMemory: defaultMemoryLimit},
		}
	}
	if r.Requests == nil {
		r.Requests = corev1.ResourceList{}
	}
	for name, quantity := range defaultRequests {
		_, requested := r.Requests[name]
		_, limited := r.Limits[name]
		if !requested && !limited {
			r.Requests[name] = quantity
		}
	}
	return r
}
