package relaycluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// reference is a Secret that a field of the spec names.
type reference struct{ field, name string }

// trustedSecrets returns the Secrets with authorities of other clusters.
func trustedSecrets(c *v1alpha1.RelayCluster) []reference {
	var refs []reference
	if external := c.Spec.ExternalRoot; external != nil && external.CASecretRef != nil {
		refs = append(refs, reference{"spec.externalRoot.caSecretRef", external.CASecretRef.Name})
	}
	for i, ref := range c.Spec.TLS.Internal.TrustSecretRefs {
		refs = append(refs, reference{fmt.Sprintf("spec.tls.internal.trustSecretRefs[%d]", i), ref.Name})
	}
	return refs
}

// trustOthers adds the authorities of other clusters to those that nodes trust.
// As long as one cannot be read, all that was trusted before stays: links that
// are up must not end because a Secret is replaced.
func (r *Reconciler) trustOthers(ctx context.Context, s *scope) error {
	var wrong *problem
	for _, ref := range trustedSecrets(s.cluster) {
		s.lookAgain(pollSecrets)
		certs, p, err := r.readTrust(ctx, s, ref)
		if err != nil {
			return err
		}
		if p != nil && wrong == nil {
			wrong = p
		}
		if last := lastOf(certs, s.own); last != nil {
			s.endsSoon(last, ref.field, ref.name, "store what the nodes of the other cluster trust now: ca.crt of its ConfigMap NAME-trust")
		}
		s.trust(certs...)
	}
	if wrong == nil {
		return nil
	}
	if stored, ok := apply.Get[*corev1.ConfigMap](s.children, resources.TrustName(s.cluster.Name)); ok {
		if certs, err := pki.ParseCertificates([]byte(stored.Data[resources.FileTrust])); err == nil {
			s.trust(certs...)
		}
	}
	s.lookAgain(pollProblem)
	if s.tls == nil {
		s.tls = wrong
	}
	return nil
}

// readTrust reads the authorities in a Secret, or says what is wrong with it.
func (r *Reconciler) readTrust(ctx context.Context, s *scope, ref reference) ([]*x509.Certificate, *problem, error) {
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: s.cluster.Namespace, Name: ref.name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, &problem{
			Reason:  v1alpha1.ReasonSecretMissing,
			Message: fmt.Sprintf("%s: there is no Secret %q in namespace %q: create it, or name another", ref.field, ref.name, s.cluster.Namespace),
		}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get Secret %q: %w", ref.name, err)
	}
	certs, err := authoritiesIn(secret.Data)
	if err != nil {
		return nil, secretProblem(v1alpha1.ReasonSecretInvalid, ref.field, ref.name, err), nil
	}
	return certs, nil, nil
}

// authoritiesIn returns the authorities in a Secret: all of its ca.crt, or that
// of a pair, with its successor and predecessor if it is one of the operator's
// own, so that a rotation in one cluster does not cut the other off.
func authoritiesIn(data map[string][]byte) ([]*x509.Certificate, error) {
	key, bundle := pki.KeyTrust, data[pki.KeyTrust]
	if len(bundle) == 0 {
		key, bundle = pki.KeyCert, data[pki.KeyCert]
		if authority, err := pki.AuthorityOf(data); err == nil {
			bundle = authority.Bundle()
		}
	}
	if len(bundle) == 0 {
		return nil, errors.New("it has neither ca.crt nor tls.crt: store the authority of the other cluster in ca.crt")
	}
	certs, err := pki.ParseCertificates(bundle)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	for _, cert := range certs {
		if !cert.IsCA {
			return nil, fmt.Errorf("%s holds a certificate that is no authority: store the one that signs the certificates of the other cluster", key)
		}
	}
	return certs, nil
}

// trust adds authorities to those that nodes trust, each once.
func (s *scope) trust(certs ...*x509.Certificate) {
	trusted, err := pki.ParseCertificates(s.input.Trust)
	if err != nil {
		return // none of our own yet: then there is nothing to add to
	}
	s.input.Trust = pki.Bundle(append(trusted, certs...)...)
}
