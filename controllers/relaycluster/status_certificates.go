package relaycluster

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// certificateStatus returns the certificates as they are stored.
func (s *scope) certificateStatus() []v1alpha1.CertificateStatus {
	var list []v1alpha1.CertificateStatus
	_, renewBefore := s.cluster.Spec.TLS.Internal.LeafLife()
	var authority pki.Authority
	if secret, ok := apply.Get[*corev1.Secret](s.children, resources.AuthorityName(s.cluster.Name)); ok {
		if a, err := pki.AuthorityOf(secret.Data); err == nil {
			authority = a
			c := certificateStatus(v1alpha1.PlaneAuthority, "", a.Current)
			c.ServedBy = s.countReady(s.sets, func(is said) bool { return slices.Contains(is.Trust, c.Fingerprint) })
			list = append(list, c)
		}
	}
	for _, set := range s.sets {
		leaf := s.leaf(set)
		if leaf == nil || len(list) == maxCertificates {
			continue
		}
		c := certificateStatus(v1alpha1.PlaneInternal, set.Key(), leaf)
		c.ServedBy = s.countReady([]resources.Set{set}, func(is said) bool { return is.Serves(0) == c.Fingerprint })
		c.RenewAt = new(metav1.NewTime(pki.RenewAt(authority, leaf, renewBefore)))
		list = append(list, c)
	}
	if s.public != nil {
		c := *s.public
		c.ServedBy = s.countReady(s.sets, func(is said) bool { return is.Serves(len(is.Certificates)-1) == c.Fingerprint })
		list = append(list, c)
	}
	return list
}

// leaf returns the stored certificate of a set, nil if there is none.
func (s *scope) leaf(set resources.Set) *pki.Pair {
	secret, ok := apply.Get[*corev1.Secret](s.children, set.CertificateName())
	if !ok {
		return nil
	}
	leaf, err := pki.PairOf(secret.Data)
	if err != nil {
		return nil
	}
	return leaf
}

func certificateStatus(plane v1alpha1.Plane, region string, pair *pki.Pair) v1alpha1.CertificateStatus {
	return v1alpha1.CertificateStatus{
		Plane:       plane,
		Region:      region,
		Fingerprint: pair.Fingerprint(),
		NotAfter:    metav1.NewTime(pair.Certificate.NotAfter),
	}
}

// countReady returns how many of the ready relays of sets say yes, as in 3/3.
func (s *scope) countReady(sets []resources.Set, says func(said) bool) string {
	ready, known, n := 0, 0, 0
	for _, set := range sets {
		for _, pod := range s.readyPods(set) {
			ready++
			if is := s.said[pod.UID]; is.known() {
				known++
				if says(is) {
					n++
				}
			}
		}
	}
	if known == 0 && ready > 0 {
		return fmt.Sprintf("?/%d", ready)
	}
	return fmt.Sprintf("%d/%d", n, ready)
}
