package relaycluster

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

const (
	fieldSecretRef = "spec.tls.public.secretRef"
	fieldIssuerRef = "spec.tls.public.issuerRef"
)

// pollAwaited is how often is looked at what is not watched and may come at any
// moment: a Secret of the user's that is missing, a Certificate that is being
// issued. An informer of Certificates would wait for cert-manager where there is
// none.
const pollAwaited = 10 * time.Second

// pollAPI is how long an answer stands that an API is not there.
const pollAPI = 10 * time.Second

// annotationCertificate is where cert-manager says of which Certificate a Secret
// is.
const annotationCertificate = "cert-manager.io/certificate-name"

// issuance is how far a public certificate is that cert-manager is asked for.
type issuance struct {
	// notServed is whether the API server knows no Certificates.
	notServed bool
	// foreign is set if the Secret to be is somebody else's.
	foreign error
	// wrong is what is wrong with the certificate in the Secret, nil if nothing
	// is.
	wrong *problem
}

// checkPublic looks at the certificate that users get, if it is not one of the
// operator's own.
func (r *Reconciler) checkPublic(ctx context.Context, s *scope) error {
	r.findCertificate(ctx, s) // also where none is asked for: one of before is to be pruned
	switch public := s.cluster.Spec.TLS.Public; {
	case public == nil:
		return nil
	case public.SecretRef != nil:
		return r.checkUserSecret(ctx, s, public.SecretRef.Name)
	default:
		return r.checkIssuedSecret(ctx, s, resources.PublicSecretName(s.cluster))
	}
}

func (r *Reconciler) checkUserSecret(ctx context.Context, s *scope, name string) error {
	s.lookAgain(pollSecrets)
	secret, err := r.userSecret(ctx, s, fieldSecretRef, name)
	if err != nil {
		return err
	}
	if secret == nil {
		s.holdFor(name)
		return nil
	}
	if wrong := s.usePublic(secret); wrong != nil && s.tls == nil {
		s.tls = secretProblem(wrong.Reason, fieldSecretRef, name, wrong)
	}
	return nil
}

// checkIssuedSecret looks at what cert-manager has stored. Until it has made a
// Secret its own, one of that name is the user's: cert-manager would write over
// it, and with the operator's rights instead of the user's.
func (r *Reconciler) checkIssuedSecret(ctx context.Context, s *scope, name string) error {
	s.lookAgain(pollSecrets)
	secret, err := r.liveSecret(ctx, s, name)
	if err != nil {
		return err
	}
	certificate := resources.PublicName(s.cluster.Name)
	switch _, asked := s.certificate(); {
	case secret.UID == "":
		s.holdFor(name)
		s.issuance.wrong = &problem{Reason: v1alpha1.ReasonIssuing, Message: fmt.Sprintf("%s: Certificate %q has no Secret yet", fieldIssuerRef, certificate)}
		return nil
	case !asked && secret.Annotations[annotationCertificate] != certificate:
		s.issuance.foreign = &apply.ForeignError{Kind: "Secret", Name: name}
		return nil
	}
	if wrong := s.usePublic(secret); wrong != nil {
		s.issuance.wrong = secretProblem(wrong.Reason, fieldIssuerRef, name, fmt.Errorf("%w (see kubectl describe certificate %s)", wrong, certificate))
	}
	return nil
}

// holdFor keeps pods from being replaced by ones that could not start.
func (s *scope) holdFor(secret string) {
	s.held = cmp.Or(s.held, fmt.Sprintf("Secret %q, which new pods mount, is not there", secret))
}

// usePublic takes the certificate in a Secret for that of the users, and says
// what is wrong with it, if anything is.
func (s *scope) usePublic(secret *corev1.Secret) *pki.Problem {
	pair, wrong := pki.CheckPublic(secret.Data, resources.Hostnames(s.cluster), s.now)
	if pair != nil {
		c := certificateStatus(v1alpha1.PlanePublic, "", pair)
		s.public = &c
		s.publicStored = changedAt(secret)
	}
	return wrong
}

// isIssued reports whether cert-manager is to be asked for the certificate of
// the users.
func (s *scope) isIssued() bool {
	public := s.cluster.Spec.TLS.Public
	return public != nil && public.IssuerRef != nil
}

// certificate returns the Certificate of the cluster, if there is one.
func (s *scope) certificate() (*unstructured.Unstructured, bool) {
	return apply.Get[*unstructured.Unstructured](s.children, resources.PublicName(s.cluster.Name))
}

// findCertificate looks for the Certificate of the cluster, where the API server
// knows such. What keeps it from looking is told when one is applied; to clusters
// that ask for none it does not matter, one of before is pruned when it is found.
func (r *Reconciler) findCertificate(ctx context.Context, s *scope) {
	if r.certManager.isMissing(r.Client.RESTMapper(), s.now) {
		s.issuance.notServed = true
		return
	}
	if err := r.Applier.Find(ctx, s.children, resources.CertificateKind, resources.PublicName(s.cluster.Name)); err != nil {
		log.FromContext(ctx).V(1).Info("cannot look for a Certificate", "error", err.Error())
	}
}

// applyCertificate asks cert-manager for the certificate of the users.
func (r *Reconciler) applyCertificate(ctx context.Context, s *scope) error {
	if !s.isIssued() || s.issuance.notServed {
		return nil
	}
	if s.issuance.foreign != nil {
		return s.issuance.foreign
	}
	err := r.Applier.Apply(ctx, s.children, resources.Certificate(s.cluster))
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) { // it was served once
		s.issuance.notServed = true
		return nil
	}
	return err
}

// notIssued says why the certificate of the users is not as it is asked for, nil
// if it is, or if none is asked for. What cert-manager says comes before what is
// wrong with its Secret: it knows why.
func (s *scope) notIssued() *problem {
	if !s.isIssued() {
		return nil
	}
	if s.issuance.notServed {
		s.lookAgain(pollProblem)
		return &problem{
			Reason:  v1alpha1.ReasonCertManagerMissing,
			Message: fieldIssuerRef + ": the API server knows no Certificates of cert-manager.io/v1: install cert-manager, or name a Secret in secretRef instead",
		}
	}
	p := s.issuance.wrong
	if why := s.issuing(); why != "" {
		p = &problem{Reason: v1alpha1.ReasonIssuing, Message: why}
	}
	if p != nil {
		s.lookAgain(pollAwaited)
	}
	return p
}

// issuing returns what cert-manager says of a Certificate that is not ready, ""
// if it is.
func (s *scope) issuing() string {
	name := resources.PublicName(s.cluster.Name)
	certificate, ok := s.certificate()
	if !ok {
		return fmt.Sprintf("%s: Certificate %q is not there yet", fieldIssuerRef, name)
	}
	ready := readyOf(certificate)
	switch {
	case ready.Status == "", ready.ObservedGeneration > 0 && ready.ObservedGeneration < certificate.GetGeneration():
		return fmt.Sprintf("%s: cert-manager has not looked at Certificate %q yet", fieldIssuerRef, name)
	case ready.Status != metav1.ConditionTrue:
		return fmt.Sprintf("%s: Certificate %q: %s", fieldIssuerRef, name, sentence(ready.Reason, ready.Message))
	default:
		return ""
	}
}

// readyOf returns condition Ready of an object, an empty one if it has none.
func readyOf(o *unstructured.Unstructured) metav1.Condition {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") // none where they are malformed
	for _, item := range list {
		c, ok := item.(map[string]any)
		if !ok || c["type"] != "Ready" {
			continue
		}
		var found metav1.Condition
		status, _, _ := unstructured.NestedString(c, "status")
		found.Status = metav1.ConditionStatus(status)
		found.Reason, _, _ = unstructured.NestedString(c, "reason")
		found.Message, _, _ = unstructured.NestedString(c, "message")
		found.ObservedGeneration, _, _ = unstructured.NestedInt64(c, "observedGeneration")
		return found
	}
	return metav1.Condition{}
}

// certManager knows whether the API server serves Certificates. The mapper asks
// it anew for each kind that it does not know, so where there is no cert-manager
// it would at every pass of every cluster: a no stands for a while.
type certManager struct {
	mu      sync.Mutex
	refused time.Time // when the answer was no; guarded by mu
}

// isMissing reports whether the API server has said, now or a little before, that
// it knows no Certificates.
func (c *certManager) isMissing(mapper meta.RESTMapper, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.refused.Add(pollAPI)) {
		return true
	}
	kind := resources.CertificateKind
	if _, err := mapper.RESTMapping(kind.GroupKind(), kind.Version); meta.IsNoMatchError(err) {
		c.refused = now
		return true
	}
	return false
}
