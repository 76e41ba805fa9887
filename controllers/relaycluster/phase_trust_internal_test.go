package relaycluster

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/pki"
)

func TestAuthoritiesIn(t *testing.T) {
	authority := func() *pki.Pair {
		pair, err := pki.MakeCA(now, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	one, two := authority(), authority()
	leaf, err := pki.MakeLeaf(one, []string{"localhost"}, time.Hour, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, reason string
		data         map[string][]byte
		want         [][]byte
		err          string
	}{
		{"a bundle", "all of it is trusted", map[string][]byte{"ca.crt": append(one.CertPEM, two.CertPEM...)}, [][]byte{one.CertPEM, two.CertPEM}, ""},
		{"a certificate with its authority", "tls.crt is not an authority then", map[string][]byte{"tls.crt": leaf.CertPEM, "ca.crt": one.CertPEM}, [][]byte{one.CertPEM}, ""},
		{"an authority without its key", "no key is needed to trust", map[string][]byte{"tls.crt": one.CertPEM}, [][]byte{one.CertPEM}, ""},
		{"an authority that is replaced", "its nodes may show a certificate of either", pki.Authority{Current: one, Next: two}.Data(), [][]byte{one.CertPEM, two.CertPEM}, ""},
		{"a certificate", "it would be trusted by itself only", map[string][]byte{"tls.crt": leaf.CertPEM}, nil, "is no authority"},
		{"nothing", "a typo in a key is more likely than the wish to trust nobody", map[string][]byte{"ca.pem": one.CertPEM}, nil, "neither ca.crt nor tls.crt"},
		{"no PEM", "", map[string][]byte{"ca.crt": []byte("MII")}, nil, "ca.crt: holds no certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			certs, err := authoritiesIn(test.data)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got error %v, want %q", err, test.err)
			}
			var got, want []byte
			got = pki.Bundle(certs...)
			for _, cert := range test.want {
				want = append(want, cert...)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s:\n%s", test.reason, diff)
			}
		})
	}
}

// A cluster that shares trust with another tells its planner, with the object to
// copy from.
func TestWantedOfCopiedAuthority(t *testing.T) {
	const copied = "ca.crt of ConfigMap live-trust"
	for _, test := range []struct {
		name, want string
		spec       v1alpha1.RelayClusterSpec
	}{
		{"alone", "", v1alpha1.RelayClusterSpec{Root: &v1alpha1.Root{}}},
		{"another's root", copied, v1alpha1.RelayClusterSpec{ExternalRoot: &v1alpha1.ExternalRoot{}}},
		{"others trusted", copied, v1alpha1.RelayClusterSpec{Root: &v1alpha1.Root{}, TLS: v1alpha1.TLS{
			Internal: v1alpha1.InternalTLS{TrustSecretRefs: []v1alpha1.SecretRef{{Name: "west-ca"}}},
		}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &v1alpha1.RelayCluster{Spec: test.spec}
			c.Name = "live"
			if got := (&scope{cluster: c}).wantedCertificates(pki.State{}).Copied; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
