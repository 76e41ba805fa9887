package relaycluster

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

const day = 24 * time.Hour

// made returns an authority that was made some time ago.
func made(t *testing.T, ago time.Duration) *pki.Pair {
	t.Helper()
	ca, err := pki.MakeCA(now.Add(-ago), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// withLeaves returns a pass over a cluster whose certificates were made some time
// ago.
func withLeaves(t *testing.T, ago time.Duration) *scope {
	t.Helper()
	c := &v1alpha1.RelayCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "media", Name: "live", UID: "1"}}
	c.Spec.Root = &v1alpha1.Root{}
	c.Spec.Regions = []v1alpha1.Region{{Name: "eu"}}
	v1alpha1.Default(c)
	ca := made(t, ago)
	var objects []client.Object
	for _, set := range resources.Sets(c) {
		leaf, err := pki.MakeLeaf(ca, []string{"localhost"}, 240*time.Hour, now.Add(-ago), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, &corev1.Secret{Data: leaf.Data(), ObjectMeta: metav1.ObjectMeta{
			Namespace: "media", Name: set.CertificateName(), Labels: map[string]string{resources.LabelCluster: "live"},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c, v1alpha1.GroupVersion.WithKind("RelayCluster"))},
		}})
	}
	reader := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(objects...).Build()
	s, err := (&Reconciler{Client: reader}).newScope(t.Context(), c, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A certificate that the operator did not renew, or could not, is told of before
// it ends.
func TestLeafThatIsNotRenewed(t *testing.T) {
	paused := func(s *scope) { s.cluster.Spec.Paused = true }
	for _, test := range []struct {
		name, reason string
		age          time.Duration
		prepare      func(*scope)
		want, says   string
	}{
		{"young", "there is nothing to tell", day, paused, v1alpha1.ReasonCertificatesValid, ""},
		{"due", "the next pass may renew it", 7 * day, paused, v1alpha1.ReasonCertificatesValid, ""},
		{"a tenth is left, paused", "nobody renews it", 9*day + time.Hour, paused, v1alpha1.ReasonNearExpiry, "the certificate of root ends at 2026-08-21 11:00:00 and is not renewed: spec.paused is true"},
		{
			"a tenth is left, refused", "the user is told why", 9*day + time.Hour, func(s *scope) { s.failure = errors.New("etcd is full") },
			v1alpha1.ReasonNearExpiry, "is not renewed: etcd is full",
		},
		{
			"a tenth is left, and it is early to renew", "the user wants it so", 9*day + time.Hour, func(s *scope) {
				s.cluster.Spec.TLS.Internal.SelfSigned = &v1alpha1.SelfSigned{Validity: "240h", RenewBefore: "5m"}
			}, v1alpha1.ReasonCertificatesValid, "",
		},
		{"ended", "there is none then", 10 * day, paused, v1alpha1.ReasonIssuing, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := withLeaves(t, test.age)
			test.prepare(s)
			got := s.certificatesReady()
			if got.reason != test.want || !strings.Contains(got.message, test.says) {
				t.Errorf("got %s: %s, want %s, because %s", got.reason, got.message, test.want, test.reason)
			}
		})
	}
	s := withLeaves(t, 8*day)
	s.cluster.Spec.Paused = true
	s.certificatesReady()
	if s.again < day-time.Hour || s.again > day+time.Hour {
		t.Errorf("looks again after %v, want a day: nothing else tells that time has passed", s.again)
	}
}

// The user's authority is told of before it ends, and signs meanwhile.
func TestUsersAuthorityEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		age  time.Duration
		want bool
	}{
		{"young", 100 * day, false},
		{"a tenth is left", 330 * day, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := withLeaves(t, day)
			s.cluster.Spec.TLS.Internal.CASecretRef = &v1alpha1.SecretRef{Name: "mine"}
			state := pki.State{}
			if err := userSecrets("mine", made(t, test.age).Data()).readUserAuthority(t.Context(), s, &state); err != nil {
				t.Fatal(err)
			}
			if state.Authority.Current == nil || s.tls != nil {
				t.Fatalf("it is not used: %v", s.tls)
			}
			got := s.certificatesReady()
			if ending := got.reason == v1alpha1.ReasonNearExpiry; ending != test.want {
				t.Errorf("got %s: %s", got.reason, got.message)
			}
			if want := `spec.tls.internal.caSecretRef: Secret "mine": the authority in it ends on 2026-09-24`; test.want && !strings.HasPrefix(got.message, want) {
				t.Errorf("message %q, want %q", got.message, want)
			}
		})
	}
}

// userSecrets returns a reconciler that finds one Secret of the user's.
func userSecrets(name string, data map[string][]byte) *Reconciler {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "media", Name: name, UID: "2"}, Data: data}
	return &Reconciler{Live: fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(secret).Build()}
}

// A copy of what another cluster trusts has to be renewed before it ends.
func TestTrustedAuthorityEnds(t *testing.T) {
	young, old, gone, own := made(t, day), made(t, 330*day), made(t, 366*day), made(t, day)
	bundle := func(pairs ...*pki.Pair) map[string][]byte {
		var all []byte
		for _, pair := range pairs {
			all = append(all, pair.CertPEM...)
		}
		return map[string][]byte{"ca.crt": all}
	}
	for _, test := range []struct {
		name, reason string
		data         map[string][]byte
		want         string
	}{
		{"young", "", bundle(young), ""},
		{"a tenth is left", "the other cluster replaces it soon", bundle(old), "the authority in it ends on 2026-09-24: store what the nodes of the other cluster trust now"},
		{"ended", "links are refused", bundle(gone), "the authority in it ended on 2026-08-19"},
		{"with its successor", "the copy is renewed", bundle(old, young), ""},
		{"with one of ours", "it comes back with what the other cluster trusts, and replaces nothing", bundle(old, own), "the authority in it ends on 2026-09-24"},
		{"none but ours", "both have the same", bundle(own), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := withLeaves(t, day)
			s.own = pki.Authority{Current: own}.Own()
			s.cluster.Spec.TLS.Internal.TrustSecretRefs = []v1alpha1.SecretRef{{Name: "west-ca"}}
			if err := userSecrets("west-ca", test.data).trustOthers(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			got := s.certificatesReady()
			if ending := got.reason == v1alpha1.ReasonNearExpiry; ending != (test.want != "") || !strings.Contains(got.message, test.want) {
				t.Errorf("got %s: %s, want %q, because %s", got.reason, got.message, test.want, test.reason)
			}
			if prefix := `spec.tls.internal.trustSecretRefs[0]: Secret "west-ca": `; test.want != "" && !strings.HasPrefix(got.message, prefix) {
				t.Errorf("message %q names neither field nor Secret", got.message)
			}
		})
	}
}
