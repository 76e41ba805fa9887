package certs

import (
	"crypto/x509"
	"fmt"
	"time"
)

// Verify says why a chain, leaf first, that was verified at a time does not lead
// to one of Roots as they are now; nil if it does, or if there are none. That a
// leaf has expired meanwhile does not matter: it was good when the connection was
// made, and is replaced by others for new ones.
func (s *Store) Verify(chain []*x509.Certificate, at time.Time) error {
	roots := s.current.Load().roots
	if roots == nil || len(chain) == 0 {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // that was checked for the role it was shown in
	})
	if err != nil {
		return fmt.Errorf("certificate of %v: %w", chain[0].DNSNames, err)
	}
	return nil
}
