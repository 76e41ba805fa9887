package resources

import (
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// Input is all that the objects of a cluster are made from.
type Input struct {
	// Cluster has been defaulted and validated.
	Cluster *v1alpha1.RelayCluster
	// Image of relays whose spec names none.
	Image string
	// OperatorNamespace is where the operator runs; its pods may reach the
	// private port of relays. Empty for nobody.
	OperatorNamespace string

	// Authority is the data of the Secret with the cluster's own authority; nil
	// if the authority is the user's.
	Authority map[string][]byte
	// Trust holds the authorities that nodes trust, in PEM.
	Trust []byte
	// Certificates are the data of each set's Secret, by the key of the set. A
	// set without one gets no Secret from here.
	Certificates map[string]map[string][]byte
	// AuthorityWish and CertificateWishes are the values of the annotations by
	// which users asked for them, the latter by the key of the set.
	AuthorityWish     string
	CertificateWishes map[string]string

	// Pods is how many pods a set has or is to have, by the key of the set;
	// absent, it is what the set begins with.
	Pods map[string]int32
	// Partitions say from which ordinal on the pods of a set may be replaced, by
	// the key of the set; absent, none are.
	Partitions map[string]int32
	// Leftover names the pods that a StatefulSet has left behind which was deleted,
	// by the key of the set. They hold names that the next one wants.
	Leftover map[string][]string
	// Parked holds the keys of sets that were parked and have no pods yet.
	Parked map[string]bool
	// Mixed holds the keys of sets that have pods of two revisions: their
	// autoscalers take none away.
	Mixed map[string]bool
}

// partition returns from which ordinal on the pods of a set may be replaced.
func (in Input) partition(s Set) int32 {
	if partition, ok := in.Partitions[s.Key()]; ok {
		return partition
	}
	return HeldPartition
}

// pods returns how many pods a set has or is to have.
func (in Input) pods(s Set) int {
	if pods, ok := in.Pods[s.Key()]; ok {
		return int(pods)
	}
	return int(s.Replicas)
}

// Objects returns everything that a cluster consists of, in the order in which
// it is to be applied: what pods need stands before the pods.
func Objects(in Input) []runtime.ApplyConfiguration {
	objects := ClusterObjects(in)
	if certificate := Certificate(in.Cluster); certificate != nil {
		objects = append(objects, certificate)
	}
	for _, s := range Sets(in.Cluster) {
		objects = append(objects, SetObjects(in, s)...)
	}
	return objects
}

// ClusterObjects returns what all sets of a cluster share, but for the
// Certificate: its kind is not known everywhere.
func ClusterObjects(in Input) []runtime.ApplyConfiguration {
	objects := trustObjects(in)
	if in.Cluster.Spec.NetworkPolicy.IsEnabled() {
		objects = append(objects, NetworkPolicy(in))
	}
	return objects
}

// CertificateObjects returns what has certificates of the sets in it and nothing
// else.
func CertificateObjects(in Input, sets []Set) []runtime.ApplyConfiguration {
	objects := trustObjects(in)
	for _, s := range sets {
		objects = append(objects, leafObjects(in, s)...)
	}
	return objects
}

// trustObjects returns what signs, and what nodes trust.
func trustObjects(in Input) []runtime.ApplyConfiguration {
	var objects []runtime.ApplyConfiguration
	if in.Authority != nil {
		secret := AuthoritySecret(in.Cluster, in.Authority)
		if in.AuthorityWish != "" {
			secret.WithAnnotations(map[string]string{v1alpha1.AnnotationRotateCA: in.AuthorityWish})
		}
		objects = append(objects, secret)
	}
	if in.Trust != nil {
		objects = append(objects, TrustConfigMap(in.Cluster, in.Trust))
	}
	return objects
}

// leafObjects returns the Secret with the certificate of a set, if it has one.
func leafObjects(in Input, s Set) []runtime.ApplyConfiguration {
	data, ok := in.Certificates[s.Key()]
	if !ok {
		return nil
	}
	secret := CertificateSecret(s, data)
	if wish := in.CertificateWishes[s.Key()]; wish != "" {
		secret.WithAnnotations(map[string]string{v1alpha1.AnnotationRotateCertificates: wish})
	}
	return []runtime.ApplyConfiguration{secret}
}

// SetObjects returns what the root or one region consists of.
func SetObjects(in Input, s Set) []runtime.ApplyConfiguration {
	objects := append(leafObjects(in, s), NodesService(s))
	for _, service := range UserServices(s, in.pods(s)) {
		objects = append(objects, service)
	}
	objects = append(objects, DisruptionBudget(s), StatefulSet(in, s))
	if s.Autoscaling != nil {
		objects = append(objects, Autoscaler(in, s))
	}
	return objects
}
