package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and the version of this package.
var GroupVersion = schema.GroupVersion{Group: "moqrelay.io", Version: "v1alpha1"}

// Kind is the one kind of the group.
const Kind = "RelayCluster"

// AddToScheme makes the kinds of this package known to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &RelayCluster{}, &RelayClusterList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
