package resources

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// CertificateKind is the kind of what cert-manager is asked for.
var CertificateKind = schema.GroupVersionKind{Group: v1alpha1.GroupCertManager, Version: "v1", Kind: "Certificate"}

// CertificateApplyConfiguration is what is applied of a Certificate. It is a map,
// so that cert-manager's Go types need not be imported for one object; what the
// API server answers is read back into it whole.
type CertificateApplyConfiguration struct{ object map[string]any }

// IsApplyConfiguration marks it as one.
func (c *CertificateApplyConfiguration) IsApplyConfiguration() {}

// GetAPIVersion returns that of the Certificate.
func (c *CertificateApplyConfiguration) GetAPIVersion() *string { return text(c.object, "apiVersion") }

// GetKind returns Certificate.
func (c *CertificateApplyConfiguration) GetKind() *string { return text(c.object, "kind") }

// GetName returns the name of the Certificate.
func (c *CertificateApplyConfiguration) GetName() *string { return c.metadata("name") }

// GetNamespace returns the namespace of the Certificate.
func (c *CertificateApplyConfiguration) GetNamespace() *string { return c.metadata("namespace") }

// MarshalJSON returns the object.
func (c *CertificateApplyConfiguration) MarshalJSON() ([]byte, error) { return json.Marshal(c.object) }

// UnmarshalJSON replaces the object.
func (c *CertificateApplyConfiguration) UnmarshalJSON(data []byte) error {
	c.object = nil
	return json.Unmarshal(data, &c.object)
}

func (c *CertificateApplyConfiguration) metadata(field string) *string {
	metadata, _ := c.object["metadata"].(map[string]any)
	return text(metadata, field)
}

// text returns a field of an object, nil if there is none.
func text(object map[string]any, field string) *string {
	if value, ok := object[field].(string); ok {
		return &value
	}
	return nil
}

// Certificate returns what cert-manager is asked for, nil if the spec names no
// issuer. The key is of the kind that the operator makes itself, and a new one
// each time: relays load it together with its certificate.
func Certificate(c *v1alpha1.RelayCluster) *CertificateApplyConfiguration {
	if c.Spec.TLS.Public == nil || c.Spec.TLS.Public.IssuerRef == nil {
		return nil
	}
	issuer := c.Spec.TLS.Public.IssuerRef
	spec := map[string]any{
		"secretName": PublicSecretName(c),
		"privateKey": map[string]any{"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
		"usages":     []string{"digital signature", "server auth"},
		"issuerRef":  map[string]any{"name": issuer.Name, "kind": issuer.Kind, "group": issuer.Group},
	}
	for _, name := range publicNames(c) {
		kind := "dnsNames"
		if _, err := netip.ParseAddr(name); err == nil {
			kind = "ipAddresses"
		}
		names, _ := spec[kind].([]string)
		spec[kind] = append(names, name)
	}
	return &CertificateApplyConfiguration{map[string]any{
		"apiVersion": CertificateKind.GroupVersion().String(),
		"kind":       CertificateKind.Kind,
		"metadata": map[string]any{
			"name":            PublicName(c.Name),
			"namespace":       c.Namespace,
			"labels":          clusterLabels(c.Name),
			"ownerReferences": []any{owner(c)},
		},
		"spec": spec,
	}}
}

// Hostnames returns the names by which users reach the sets of a cluster, those
// of single pods apart.
func Hostnames(c *v1alpha1.RelayCluster) []string {
	var names []string
	for _, s := range Sets(c) {
		names = append(names, s.Exposure.Hostnames...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// publicNames returns what the public certificate is to be good for. Names of
// pods by which nodes dial each other are left to the internal one, and names
// below a wildcard to that: Let's Encrypt refuses to have both in one.
func publicNames(c *v1alpha1.RelayCluster) []string {
	var wildcards []string
	for _, s := range Sets(c) {
		if !s.nodesByPodHostname() {
			wildcards = append(wildcards, s.wildcard()...)
		}
	}
	names := slices.DeleteFunc(Hostnames(c), func(name string) bool {
		_, domain, _ := strings.Cut(name, ".")
		return slices.Contains(wildcards, "*."+domain)
	})
	names = append(names, wildcards...)
	slices.Sort(names)
	return slices.Compact(names)
}
