package relaycluster

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/pki"
)

// notRenewed says which certificate of the operator's own is about to end
// although it was to be renewed before, nil if none is.
func (s *scope) notRenewed() *problem {
	_, renewBefore := s.cluster.Spec.TLS.Internal.LeafLife()
	for _, set := range s.sets {
		leaf := s.leaf(set)
		if leaf == nil {
			continue
		}
		end, from := leaf.Certificate.NotAfter, pki.EndingAt(leaf.Certificate)
		if renew := end.Add(-renewBefore); renew.After(from) {
			from = renew
		}
		if wait := from.Sub(s.now); wait > 0 {
			s.lookAgain(wait)
			continue
		}
		s.lookAgain(end.Sub(s.now))
		return &problem{
			Reason:  v1alpha1.ReasonNearExpiry,
			Message: fmt.Sprintf("the certificate of %s ends at %s and is not renewed: %s", set.Key(), end.UTC().Format(time.DateTime), s.whyNotRenewed()),
		}
	}
	return nil
}

func (s *scope) whyNotRenewed() string {
	switch {
	case s.cluster.Spec.Paused:
		return "spec.paused is true, set it to false"
	case s.problem != nil:
		return s.problem.Message
	case s.failure != nil:
		return s.failure.Error()
	default:
		return "see the log of the operator"
	}
}

// endsSoon puts down that an authority in a Secret of the user's ends soon, if it
// does and is the first.
func (s *scope) endsSoon(authority *x509.Certificate, field, name, remedy string) {
	if s.now.Before(pki.EndingAt(authority)) {
		return
	}
	verb := "ends"
	if !s.now.Before(authority.NotAfter) {
		verb = "ended"
	}
	s.ending = cmp.Or(s.ending, secretProblem(v1alpha1.ReasonNearExpiry, field, name,
		fmt.Errorf("the authority in it %s on %s: %s", verb, authority.NotAfter.UTC().Format(time.DateOnly), remedy)))
}

// lastOf returns the authority that ends last of those that are not own, nil if
// there is none. The others have their successor beside them, and own ones come
// back with what another cluster trusts.
func lastOf(authorities, own []*x509.Certificate) *x509.Certificate {
	var last *x509.Certificate
	for _, cert := range authorities {
		if slices.ContainsFunc(own, cert.Equal) {
			continue
		}
		if last == nil || cert.NotAfter.After(last.NotAfter) {
			last = cert
		}
	}
	return last
}
