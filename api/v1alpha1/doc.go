// Package v1alpha1 is what users and the operator say to each other: the kind
// RelayCluster of group moqrelay.io, its conditions and their reasons, and its
// defaults and rules.
//
// Defaults and rules stand here twice. The markers on the types become the
// schema of the CustomResourceDefinition, so that an API server defaults and
// refuses without a webhook. Default, Validate and Decode are the same in Go,
// for a RelayCluster that never meets an API server, as in `moq up`. Tests hold
// the two together, with the manifests under testdata.
//
// A field is here only if it does something.
//
// +kubebuilder:object:generate=true
// +groupName=moqrelay.io
package v1alpha1
