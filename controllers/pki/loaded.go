package pki

import "time"

// SurelyLoaded returns the fingerprints of the authorities that a node of a set
// trusts by now, and of the certificate that it serves, "" if that is not sure: what
// was made so long ago that every machine has brought it to its pods. The authority
// must be the operator's own, whose certificates say when they were stored.
func (s State) SurelyLoaded(set string, now time.Time) (trust []string, serves string) {
	if s.Authority.Current == nil {
		return nil, ""
	}
	for _, cert := range s.Authority.trusted() {
		if !now.Before(cert.NotBefore.Add(clockSkew + settle)) {
			trust = append(trust, Fingerprint(cert))
		}
	}
	if leaf := s.Leaves[set]; leaf != nil && !now.Before(IssuedAt(leaf).Add(settle)) {
		serves = leaf.Fingerprint()
	}
	return trust, serves
}
