package relaycluster_test

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/scrape"
)

// pair returns what a Secret of the cluster holds.
func (w world) pair(name string) *pki.Pair {
	w.t.Helper()
	secret := &corev1.Secret{}
	w.get(name, secret)
	p, err := pki.PairOf(secret.Data)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// trusted returns the authorities that nodes trust.
func (w world) trusted() *x509.CertPool {
	w.t.Helper()
	trust := &corev1.ConfigMap{}
	w.get("live-trust", trust)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(trust.Data["ca.crt"])) {
		w.t.Fatal("there is none")
	}
	return pool
}

func (w world) verify(p *pki.Pair, name string) {
	w.t.Helper()
	_, err := p.Certificate.Verify(x509.VerifyOptions{
		Roots: w.trusted(), DNSName: name,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		w.t.Errorf("the certificate is not good for %s: %v", name, err)
	}
}

func TestCertificates(t *testing.T) {
	w := newWorld(t)
	w.apply(sample)
	c := w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionTrue, v1alpha1.ReasonCertificatesValid)
	for _, region := range []string{"root", "eu", "us"} {
		p := w.pair("live-" + region + "-tls")
		w.verify(p, fmt.Sprintf("live-%s-7.live-%s-nodes.%s.svc", region, region, w.namespace))
		found := false
		for _, status := range c.Status.Certificates {
			if status.Plane == v1alpha1.PlaneInternal && status.Region == region {
				found = status.Fingerprint == p.Fingerprint() && status.NotAfter.Equal(new(metav1.NewTime(p.Certificate.NotAfter)))
			}
		}
		if !found {
			t.Errorf("the status does not show the certificate of %s: %+v", region, c.Status.Certificates)
		}
	}
}

func TestDueCertificateIsRenewed(t *testing.T) {
	w := newWorld(t)
	w.apply(sample)
	w.untilChildrenAsWanted()
	before := w.children()
	revision := w.statefulSet("eu").Generation

	w.renews("eu")
	for _, name := range []string{"Secret/live-us-tls", "Secret/live-ca", "ConfigMap/live-trust"} {
		if before[name].GetResourceVersion() != w.children()[name].GetResourceVersion() {
			t.Errorf("%s was written", name)
		}
	}
	if got := w.statefulSet("eu").Generation; got != revision {
		t.Error("the StatefulSet was changed: its pods would restart")
	}
}

// renews holds that the certificate of a region is replaced when it is due.
func (w world) renews(region string) {
	w.t.Helper()
	// The same certificate as it would be ten days on.
	name := "live-" + region + "-tls"
	due, err := pki.MakeLeaf(w.pair("live-ca"), w.pair(name).Names(), time.Hour, time.Now(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	update(w, name, &corev1.Secret{}, func(s *corev1.Secret) { s.Data = due.Data() })
	eventually(w, name, "the certificate is new", &corev1.Secret{}, func(*corev1.Secret) error {
		if p := w.pair(name); p.Fingerprint() == due.Fingerprint() {
			return errors.New("it is the one that is due")
		}
		return nil
	})
	w.verify(w.pair(name), fmt.Sprintf("live-%s-0.live-%s-nodes.%s.svc", region, region, w.namespace))
}

// A cluster whose spec is refused serves as before, and for longer than the
// certificates that it has.
func TestRefusedSpecRenewsCertificates(t *testing.T) {
	for name, tt := range map[string]struct{ spec, reason string }{
		"NotAllowed": {issued("ClusterIssuer", "eu.example.com"), v1alpha1.ReasonIssuerNotAllowed},
		"OneObject":  {"networkPolicy: {privateFrom: [{ipBlock: {cidr: 10.0.0.1}}]}\n" + sample, v1alpha1.ReasonApplyFailed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.apply(sample)
			w.untilChildrenAsWanted()
			revision := w.statefulSet("eu").Generation
			w.apply("image: registry.test/moq-relay:v2\n" + tt.spec)
			w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, tt.reason)
			w.renews("eu")
			if got := w.statefulSet("eu").Generation; got != revision {
				t.Error("the StatefulSet was changed")
			}
			w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, tt.reason)
		})
	}
}

// annotate asks for something by an annotation of the RelayCluster.
func (w world) annotate(key, value string) {
	w.t.Helper()
	update(w, "live", &v1alpha1.RelayCluster{}, func(c *v1alpha1.RelayCluster) {
		c.Annotations = map[string]string{key: value}
	})
}

// Complaint 9: the next authority signs nothing before every node says that it
// trusts it. One that cannot be asked holds it, by name, and nothing restarts.
func TestComplaint9AuthorityWaitsForEveryNode(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()
	old, revision := w.pair("live-ca"), w.statefulSet("eu").Generation
	plane.Relays.Silence(w.key("live-us-1"), true)
	w.annotate(v1alpha1.AnnotationRotateCA, "1")
	w.until("the status says for whom it waits", func(c *v1alpha1.RelayCluster) error {
		if got := condition(c, v1alpha1.ConditionCertificatesReady); !strings.Contains(got.Message, "live-us-1 cannot be asked whether it trusts it") {
			return errors.New(got.Message)
		}
		return nil
	})
	if w.pair("live-ca").Fingerprint() != old.Fingerprint() {
		t.Error("the next authority signs already")
	}
	leaf := w.pair("live-eu-tls")
	w.verify(leaf, "live-eu-0.live-eu-nodes."+w.namespace+".svc")

	plane.Relays.Silence(w.key("live-us-1"), false)
	w.until("the rotation is over", func(c *v1alpha1.RelayCluster) error {
		ca := &corev1.Secret{}
		w.get("live-ca", ca)
		if len(ca.Data["next.crt"]) > 0 || len(ca.Data["previous.crt"]) > 0 || w.pair("live-ca").Fingerprint() == old.Fingerprint() {
			return errors.New(condition(c, v1alpha1.ConditionCertificatesReady).Message)
		}
		if ca.Annotations[v1alpha1.AnnotationRotateCA] != "1" {
			return fmt.Errorf("the Secret remembers %v", ca.Annotations)
		}
		return nil
	})
	if err := w.pair("live-eu-tls").Certificate.CheckSignatureFrom(w.pair("live-ca").Certificate); err != nil {
		t.Errorf("the new authority has not signed the certificate: %v", err)
	}
	if w.statefulSet("eu").Generation != revision {
		t.Error("the StatefulSet was changed: its pods would restart")
	}
	w.ready()
}

// Complaint 8: a new certificate restarts nothing. Complaint 10: the status says
// who serves what, not what is stored.
func TestComplaint8And10CertificatesAreServedWithoutRestart(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply(sample)
	w.ready()
	before, generation := w.pair("live-eu-tls"), w.statefulSet("eu").Generation
	stale := []scrape.Certificate{{Fingerprint: before.Fingerprint(), NotAfter: before.Certificate.NotAfter}}
	plane.Relays.Change(w.key("live-eu-1"), func(n *scrape.Node) { n.Certificates = stale })
	w.annotate(v1alpha1.AnnotationRotateCertificates, "again")
	servedBy := func(want string) {
		t.Helper()
		w.until("that of eu is served by "+want, func(c *v1alpha1.RelayCluster) error {
			now := w.pair("live-eu-tls").Fingerprint()
			for _, cert := range c.Status.Certificates {
				if cert.Region == "eu" && cert.Fingerprint == now && now != before.Fingerprint() && cert.ServedBy == want {
					return nil
				}
			}
			return fmt.Errorf("%+v", c.Status.Certificates)
		})
	}
	servedBy("1/2")
	plane.Relays.Change(w.key("live-eu-1"), nil)
	servedBy("2/2")
	if w.statefulSet("eu").Generation != generation {
		t.Error("the StatefulSet was changed: its pods would restart")
	}
}

// userSecret stores a Secret as a user would.
func (w world) userSecret(name string, data map[string][]byte) {
	w.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Data: data}
	if err := plane.Client.Create(w.t.Context(), secret); err != nil {
		w.t.Fatal(err)
	}
}

func TestAuthorityOfTheUser(t *testing.T) {
	w := newWorld(t)
	spec := func(port int, secret string) string {
		return fmt.Sprintf("port: %d\ntls: {internal: {mode: Secret, caSecretRef: {name: %s}}}\n%s", port, secret, sample)
	}
	w.apply(spec(443, "mine"))
	c := w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonSecretMissing)
	want := fmt.Sprintf("spec.tls.internal.caSecretRef: there is no Secret %q in namespace %q: create it, or name another", "mine", w.namespace)
	if got := condition(c, v1alpha1.ConditionCertificatesReady).Message; got != want {
		t.Errorf("message %q, want %q", got, want)
	}

	ca, err := pki.MakeCA(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.userSecret("mine", ca.Data())
	w.apply(spec(8443, "mine")) // it would be looked for within half a minute
	w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionTrue, v1alpha1.ReasonCertificatesValid)
	w.untilChildrenAsWanted()
	if err := w.pair("live-eu-tls").Certificate.CheckSignatureFrom(ca.Certificate); err != nil {
		t.Errorf("the authority has not signed the certificate: %v", err)
	}

	leaf, err := pki.MakeLeaf(ca, []string{"a"}, time.Hour, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.userSecret("leaf", leaf.Data())
	fingerprint := w.pair("live-eu-tls").Fingerprint()
	w.apply(spec(8443, "leaf"))
	w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonSecretInvalid)
	if w.pair("live-eu-tls").Fingerprint() != fingerprint {
		t.Error("an authority that cannot sign took the certificates away")
	}
	w.trusted()
}

func TestPublicCertificate(t *testing.T) {
	w := newWorld(t)
	ca, err := pki.MakeCA(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := pki.MakeLeaf(ca, []string{"eu.example.com"}, 90*24*time.Hour, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.userSecret("public", public.Data())
	spec := func(host string) string {
		return fmt.Sprintf("root: {}\ntls: {public: {secretRef: {name: public}}}\nregions: [{name: eu, replicas: 1, exposure: {mode: NodePort, hostnames: [%s]}}]", host)
	}
	w.apply(spec("eu.example.com"))
	c := w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionTrue, v1alpha1.ReasonCertificatesValid)
	last := c.Status.Certificates[len(c.Status.Certificates)-1]
	if last.Plane != v1alpha1.PlanePublic || last.Fingerprint != public.Fingerprint() || last.RenewAt != nil {
		t.Errorf("the status shows %+v", last)
	}
	w.apply(spec("us.example.com"))
	c = w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonSANMismatch)
	if got := condition(c, v1alpha1.ConditionCertificatesReady).Message; !strings.Contains(got, "us.example.com") || !strings.Contains(got, `Secret "public"`) {
		t.Errorf("message %q names neither host nor Secret", got)
	}
}

// A Secret of the same name that is not ours is not overwritten with the
// operator's rights.
func TestS29ForeignSecretIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.userSecret("live-ca", map[string][]byte{"password": []byte("hunter2")})
	w.apply(sample)
	w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonApplyFailed)
	secret := &corev1.Secret{}
	w.get("live-ca", secret)
	if string(secret.Data["password"]) != "hunter2" || len(secret.Data) != 1 || len(secret.OwnerReferences) != 0 {
		t.Error("it was written")
	}
}
