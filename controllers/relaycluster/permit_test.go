package relaycluster

import (
	"errors"
	"testing"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// S30: nobody gets a name that the operator may not give.
func TestS30Hostnames(t *testing.T) {
	suffixes := []string{"example.com", ".live.example.org"}
	for _, test := range []struct {
		name, reason string
		suffixes     []string
		exposure     v1alpha1.Exposure
		want         bool
	}{
		{"no suffixes", "the operator was told nothing", nil, v1alpha1.Exposure{Hostnames: []string{"bank.test"}}, true},
		{"no names", "there is nothing to refuse", suffixes, v1alpha1.Exposure{}, true},
		{"below", "a dot ends the label before", suffixes, v1alpha1.Exposure{Hostnames: []string{"eu.example.com"}}, true},
		{"the domain itself", "it is the same owner's", suffixes, v1alpha1.Exposure{Hostnames: []string{"live.example.org"}}, true},
		{"a name that ends alike", "it is another owner's", suffixes, v1alpha1.Exposure{Hostnames: []string{"evilexample.com"}}, false},
		{"one of several", "each is looked at", suffixes, v1alpha1.Exposure{Hostnames: []string{"eu.example.com", "bank.test"}}, false},
		{"above", "it holds more than is allowed", suffixes, v1alpha1.Exposure{Hostnames: []string{"example.org"}}, false},
		{"names of pods", "they are names too", suffixes, v1alpha1.Exposure{PodHostname: "{pod}.eu.bank.test"}, false},
		{"names of pods below", "as other names", suffixes, v1alpha1.Exposure{PodHostname: "{pod}.eu.example.com"}, true},
		{"an empty suffix", "a trailing comma allows nothing", []string{""}, v1alpha1.Exposure{Hostnames: []string{"eu.example.com"}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &v1alpha1.RelayCluster{}
			c.Name = "live"
			c.Spec.Regions = []v1alpha1.Region{{Name: "eu", Exposure: test.exposure}}
			s := &scope{cluster: c, sets: resources.Sets(c)}
			err := (&Reconciler{AllowedHostnameSuffixes: test.suffixes}).permit(s)
			p, refused := errors.AsType[*problem](err)
			if refused == test.want || refused && p.Reason != v1alpha1.ReasonHostnameNotAllowed {
				t.Errorf("got %v, want it to be allowed: %v, because %s", err, test.want, test.reason)
			}
		})
	}
}

// S30: a name that is asked of external-dns past the operator is looked at like
// any other.
func TestS30HostnamesInAnnotations(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		key, value   string
		want         bool
	}{
		{"below", "it is allowed as a hostname", "external-dns.alpha.kubernetes.io/hostname", "eu.example.com", true},
		{"elsewhere", "it is not", "external-dns.alpha.kubernetes.io/hostname", "bank.test", false},
		{"by the new prefix", "external-dns reads it from v0.22 on", "external-dns.kubernetes.io/hostname", "bank.test", false},
		{"within", "it is a record of the same zone", "external-dns.alpha.kubernetes.io/internal-hostname", "bank.test", false},
		{"within, by the new prefix", "as the other", "external-dns.kubernetes.io/internal-hostname", "bank.test", false},
		{"one of several", "each is looked at", "external-dns.kubernetes.io/hostname", "eu.example.com, bank.test", false},
		{"written otherwise", "names know no case, and may end in a dot", "external-dns.kubernetes.io/hostname", " EU.Example.COM. ,*.eu.example.com,", true},
		{"something else", "it gives no name", "external-dns.kubernetes.io/ttl", "60", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			annotations := map[string]string{test.key: test.value}
			for where, region := range map[string]v1alpha1.Region{
				"exposure": {Name: "eu", Exposure: v1alpha1.Exposure{Annotations: annotations}},
				"pod":      {Name: "eu", Pod: &v1alpha1.PodSettings{Annotations: annotations}},
			} {
				c := &v1alpha1.RelayCluster{}
				c.Spec.Regions = []v1alpha1.Region{region}
				err := (&Reconciler{AllowedHostnameSuffixes: []string{"example.com"}}).permit(&scope{cluster: c, sets: resources.Sets(c)})
				p, refused := errors.AsType[*problem](err)
				if refused == test.want || refused && p.Reason != v1alpha1.ReasonHostnameNotAllowed {
					t.Errorf("%s: got %v, want it to be allowed: %v, because %s", where, err, test.want, test.reason)
				}
			}
		})
	}
}

// S30: an issuer that signs for every namespace is not asked unless the operator
// was told to, and one of another group is not taken for cert-manager's own.
func TestS30IssuerKinds(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		allowed      []string
		kind, group  string
		want         bool
	}{
		{"the namespace's", "it is what the flag says", []string{"Issuer"}, "Issuer", "cert-manager.io", true},
		{"the cluster's", "it is off", []string{"Issuer"}, "ClusterIssuer", "cert-manager.io", false},
		{"the cluster's, turned on", "it is one of several", []string{"Issuer", "ClusterIssuer"}, "ClusterIssuer", "cert-manager.io", true},
		{"the namespace's, turned off", "only what is named is taken", []string{"ClusterIssuer"}, "Issuer", "cert-manager.io", false},
		{"nothing is allowed", "none is none", nil, "Issuer", "cert-manager.io", false},
		{"an empty kind", "a trailing comma allows nothing", []string{""}, "Issuer", "cert-manager.io", false},
		{"a kind of that name elsewhere", "it may be for the whole cluster", []string{"Issuer"}, "Issuer", "example.com", false},
		{"one of another group", "it is named with it", []string{"Issuer", "PCA.aws.cert-manager.io"}, "PCA", "aws.cert-manager.io", true},
		{"another kind of that group", "each kind is named", []string{"PCA.aws.cert-manager.io"}, "ClusterPCA", "aws.cert-manager.io", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &v1alpha1.RelayCluster{}
			c.Spec.TLS.Public = &v1alpha1.PublicTLS{IssuerRef: &v1alpha1.IssuerRef{Name: "pki", Kind: test.kind, Group: test.group}}
			err := (&Reconciler{AllowedIssuerKinds: test.allowed}).permit(&scope{cluster: c})
			p, refused := errors.AsType[*problem](err)
			if refused == test.want || refused && p.Reason != v1alpha1.ReasonIssuerNotAllowed {
				t.Errorf("got %v, want it to be allowed: %v, because %s", err, test.want, test.reason)
			}
			c.Spec.TLS.Public = &v1alpha1.PublicTLS{SecretRef: &v1alpha1.SecretRef{Name: "mine"}}
			if err := (&Reconciler{AllowedIssuerKinds: test.allowed}).permit(&scope{cluster: c}); err != nil {
				t.Errorf("a Secret of the user's is refused: %v", err)
			}
		})
	}
}
