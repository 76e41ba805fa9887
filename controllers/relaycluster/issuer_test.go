package relaycluster_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// issued is a spec that asks an issuer for a certificate.
func issued(kind string, hostnames ...string) string {
	return fmt.Sprintf(`
root: {}
tls: {public: {issuerRef: {name: letsencrypt, kind: %s}}}
regions: [{name: eu, replicas: 1, exposure: {mode: NodePort, hostnames: [%s]}}]
`, kind, strings.Join(hostnames, ", "))
}

// The life of a certificate from an issuer. It is one test, because the others
// share the API server, to which it brings cert-manager's definition and from
// which it takes it again.
func TestCertificateFromIssuer(t *testing.T) {
	w := newWorld(t)
	w.apply(issued("Issuer", "eu.example.com"))
	w.untilIssuing(v1alpha1.ReasonCertManagerMissing, "install cert-manager")
	// The operator waits for it with nothing else. That pods need the Secret is
	// what keeps them from starting, as with one of the user's.
	w.untilServes("live-public-tls")

	// Nothing but the definition tells the operator that it is there.
	definition := w.installCertManager()
	asked := w.untilAsked("eu.example.com")
	want := map[string]any{
		"secretName": "live-public-tls",
		"dnsNames":   []any{"eu.example.com"},
		"privateKey": map[string]any{"algorithm": "ECDSA", "size": int64(256), "rotationPolicy": "Always"},
		"usages":     []any{"digital signature", "server auth"},
		"issuerRef":  map[string]any{"name": "letsencrypt", "kind": "Issuer", "group": "cert-manager.io"},
	}
	if diff := cmp.Diff(want, asked.Object["spec"]); diff != "" {
		t.Errorf("what is asked for (-want +got):\n%s", diff)
	}
	if !metav1.IsControlledBy(asked, w.cluster()) || asked.GetLabels()[resources.LabelCluster] != "live" {
		t.Errorf("owners %v, labels %v", asked.GetOwnerReferences(), asked.GetLabels())
	}
	w.untilIssuing(v1alpha1.ReasonIssuing, "cert-manager has not looked at")

	w.issuerSays(metav1.ConditionFalse, "DoesNotExist", "Issuing certificate as Secret does not exist")
	w.untilIssuing(v1alpha1.ReasonIssuing, `Certificate "live-public": DoesNotExist: Issuing certificate as Secret does not exist`)

	leaf := w.issue("live-public", "eu.example.com")
	w.issuerSays(metav1.ConditionTrue, "Ready", "Certificate is up to date and has not expired")
	c := w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionTrue, v1alpha1.ReasonCertificatesValid)
	last := c.Status.Certificates[len(c.Status.Certificates)-1]
	if last.Plane != v1alpha1.PlanePublic || last.Fingerprint != leaf.Fingerprint() {
		t.Errorf("the status shows %+v", last)
	}

	// A name more: cert-manager is still satisfied with what it was asked before.
	w.apply(issued("Issuer", "eu.example.com", "europe.example.com"))
	w.untilAsked("eu.example.com", "europe.example.com")
	w.untilIssuing(v1alpha1.ReasonIssuing, "cert-manager has not looked at")
	// What is issued is checked, whatever the issuer says of it.
	w.issuerSays(metav1.ConditionTrue, "Ready", "Certificate is up to date and has not expired")
	w.untilIssuing(v1alpha1.ReasonSANMismatch, "europe.example.com")

	w.issuerIsNotAsked("ClusterIssuer", v1alpha1.ReasonIssuerNotAllowed)
	w.foreignSecretIsLeftAlone()

	w.apply(sample)
	clustertest.Eventually(t, "the Certificate is gone", func(ctx context.Context) error {
		err := plane.Client.Get(ctx, w.key("live-public"), certificate())
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
	w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionTrue, v1alpha1.ReasonCertificatesValid)

	// Without cert-manager nothing renews what it once issued.
	uninstall(t, definition)
	w.apply(issued("Issuer", "eu.example.com"))
	w.untilIssuing(v1alpha1.ReasonCertManagerMissing, "install cert-manager")
}

// issuerIsNotAsked holds that a Certificate is left as it is when the issuer is
// changed to one that the operator may not ask (S30).
func (w world) issuerIsNotAsked(kind, reason string) {
	w.t.Helper()
	before := certificate()
	w.get("live-public", before)
	w.apply(issued(kind, "eu.example.com"))
	c := w.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason)
	if got := condition(c, v1alpha1.ConditionReady).Message; !strings.Contains(got, kind) || !strings.Contains(got, "--allowed-issuer-kinds") {
		w.t.Errorf("message %q names neither kind nor remedy", got)
	}
	after := certificate()
	w.get("live-public", after)
	if before.GetResourceVersion() != after.GetResourceVersion() {
		w.t.Errorf("the Certificate was changed: %v", after.Object)
	}
}

// foreignSecretIsLeftAlone holds, in a namespace of its own, that cert-manager is
// not asked to write over a Secret of the user's (S29), and that the rest goes on.
func (w world) foreignSecretIsLeftAlone() {
	w.t.Helper()
	other := world{namespace: plane.Namespace(w.t), t: w.t}
	other.userSecret("live-public-tls", map[string][]byte{"password": []byte("hunter2")})
	other.apply(issued("Issuer", "eu.example.com"))
	c := other.untilCondition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonApplyFailed)
	if got, want := condition(c, v1alpha1.ConditionReady).Message, `Secret "live-public-tls" exists and is not the operator's`; !strings.Contains(got, want) {
		w.t.Errorf("message %q, want %q", got, want)
	}
	if err := plane.Client.Get(w.t.Context(), other.key("live-public"), certificate()); !apierrors.IsNotFound(err) {
		w.t.Errorf("there is a Certificate, or none can be read: %v", err)
	}
	other.get("live-eu", &appsv1.StatefulSet{})
}

// installCertManager makes Certificates known to the API server. Nobody is there
// to issue them: the test does.
func (w world) installCertManager() *unstructured.Unstructured {
	w.t.Helper()
	manifest, err := os.ReadFile("testdata/certificates.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	definition := parse(w.t, string(manifest))
	applyAsUser(w.t, definition)
	w.t.Cleanup(func() { _ = plane.Client.Delete(context.WithoutCancel(w.t.Context()), definition) }) // gone already, as a rule
	return definition
}

// uninstall deletes a definition and waits until its kind is not known.
func uninstall(t *testing.T, definition *unstructured.Unstructured) {
	t.Helper()
	if err := plane.Client.Delete(t.Context(), definition); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "Certificates are not known", func(context.Context) error {
		_, err := plane.Clientset.Discovery().ServerResourcesForGroupVersion("cert-manager.io/v1")
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("they are"), err)
	})
}

// certificate returns an empty one to read into.
func certificate() *unstructured.Unstructured {
	c := &unstructured.Unstructured{}
	c.SetGroupVersionKind(resources.CertificateKind)
	return c
}

// untilIssuing waits until the certificates are not ready for a reason, with a
// message that holds some words.
func (w world) untilIssuing(reason, words string) {
	w.t.Helper()
	w.until("the certificates wait: "+reason+", "+words, func(c *v1alpha1.RelayCluster) error {
		got := condition(c, v1alpha1.ConditionCertificatesReady)
		if got.Status != metav1.ConditionFalse || got.Reason != reason || got.ObservedGeneration != c.Generation || !strings.Contains(got.Message, words) {
			return fmt.Errorf("it is %s, %s: %s", got.Status, got.Reason, got.Message)
		}
		return nil
	})
}

// untilServes waits until the pods of eu mount the Secret beside their own.
func (w world) untilServes(secret string) {
	w.t.Helper()
	eventually(w, "live-eu", "its pods mount Secret "+secret, &appsv1.StatefulSet{}, func(set *appsv1.StatefulSet) error {
		for _, source := range set.Spec.Template.Spec.Volumes[0].Projected.Sources {
			if s := source.Secret; s != nil && s.Name == secret && s.Optional == nil {
				return nil
			}
		}
		return errors.New("they do not")
	})
}

// untilAsked waits until cert-manager is asked for the names, and returns how.
func (w world) untilAsked(names ...string) *unstructured.Unstructured {
	w.t.Helper()
	asked := certificate()
	eventually(w, "live-public", "cert-manager is asked for "+strings.Join(names, ", "), asked, func(c *unstructured.Unstructured) error {
		got, _, err := unstructured.NestedStringSlice(c.Object, "spec", "dnsNames")
		if diff := cmp.Diff(names, got); diff != "" || err != nil {
			return errors.Join(errors.New(diff), err)
		}
		return nil
	})
	return asked
}

// issue does what cert-manager does when an issuer has signed.
func (w world) issue(name string, hostnames ...string) *pki.Pair {
	w.t.Helper()
	ca, err := pki.MakeCA(time.Now(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	leaf, err := pki.MakeLeaf(ca, hostnames, 90*24*time.Hour, time.Now(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.namespace, Name: name + "-tls",
		Annotations: map[string]string{"cert-manager.io/certificate-name": name},
	}, Data: leaf.Data()}
	if err := plane.Client.Create(w.t.Context(), secret); err != nil {
		w.t.Fatal(err)
	}
	return leaf
}

// issuerSays has cert-manager say how far the Certificate is, as it is now.
func (w world) issuerSays(status metav1.ConditionStatus, reason, message string) {
	w.t.Helper()
	asked := certificate()
	w.get("live-public", asked)
	asked.Object["status"] = map[string]any{"conditions": []any{
		map[string]any{"type": "Issuing", "status": "True", "reason": "DoesNotExist"},
		map[string]any{
			"type": "Ready", "status": string(status), "reason": reason, "message": message,
			"observedGeneration": asked.GetGeneration(),
		},
	}}
	if err := plane.Client.Status().Update(w.t.Context(), asked); err != nil {
		w.t.Fatal(err)
	}
}
