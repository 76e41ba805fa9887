package pki

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Keys of the Secret of an authority, beside KeyCert and KeyKey for the one that
// signs.
const (
	keyNextCert     = "next.crt"
	keyNextKey      = "next.key"
	keyPreviousCert = "previous.crt"
)

// Authority is what signs the certificates of a cluster, and what its nodes
// trust.
type Authority struct {
	// Current signs.
	Current *Pair
	// Next is trusted already and will sign; nil most of the time.
	Next *Pair
	// Previous is still trusted and signs no more; nil most of the time.
	Previous *x509.Certificate
	// External is set for an authority of the user's, which is never replaced,
	// and Extra is what the user wants trusted beside it.
	External bool
	Extra    []*x509.Certificate
	// Legacy are authorities of before that nodes may still serve certificates
	// of; see KeepLegacy.
	Legacy []*x509.Certificate
	// Wish is the wish of the user's that the latest of them was made for.
	Wish string
}

// AuthorityOf reads the operator's own authority from the data of its Secret.
// One that cannot be used any more is left out, as if it had never been made;
// that it is the current one is an error.
func AuthorityOf(data map[string][]byte) (Authority, error) {
	current, err := PairOf(data)
	if err != nil {
		return Authority{}, err
	}
	a := Authority{Current: current}
	if next, err := ParsePair(data[keyNextCert], data[keyNextKey]); err == nil {
		a.Next = next
	}
	if previous, err := ParseCertificates(data[keyPreviousCert]); err == nil {
		a.Previous = previous[0]
	}
	return a, nil
}

// ExternalAuthorityOf reads an authority of the user's from the data of its
// Secret and says what to do about one that cannot sign.
func ExternalAuthorityOf(data map[string][]byte, now time.Time) (Authority, error) {
	current, err := PairOf(data)
	if err != nil {
		return Authority{}, err
	}
	a := Authority{Current: current, External: true}
	if trust := data[KeyTrust]; len(trust) > 0 {
		if a.Extra, err = ParseCertificates(trust); err != nil {
			return Authority{}, fmt.Errorf("%s: %w", KeyTrust, err)
		}
	}
	cert := current.Certificate
	switch {
	case !cert.IsCA || (cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0):
		return Authority{}, fmt.Errorf("%s is no authority, it may not sign certificates: store a CA certificate and its key", KeyCert)
	case !now.Before(cert.NotAfter):
		return Authority{}, fmt.Errorf("%s has ended on %s: store a newer authority, and keep this one in %s for a while", KeyCert, cert.NotAfter.Format(time.DateOnly), KeyTrust)
	}
	return a, nil
}

// Data returns the data of the Secret that stores the operator's own authority.
func (a Authority) Data() map[string][]byte {
	data := a.Current.Data()
	if a.Next != nil {
		data[keyNextCert], data[keyNextKey] = a.Next.CertPEM, a.Next.KeyPEM
	}
	if a.Previous != nil {
		data[keyPreviousCert] = Bundle(a.Previous)
	}
	return data
}

// Own returns the authorities that are the cluster's.
func (a Authority) Own() []*x509.Certificate {
	var own []*x509.Certificate
	if a.Current != nil {
		own = append(own, a.Current.Certificate)
	}
	if a.Next != nil {
		own = append(own, a.Next.Certificate)
	}
	if a.Previous != nil {
		own = append(own, a.Previous)
	}
	return own
}

// Bundle returns the authorities that nodes trust, in PEM.
func (a Authority) Bundle() []byte { return Bundle(a.trusted()...) }

// trusted returns the authorities that nodes are told to trust.
func (a Authority) trusted() []*x509.Certificate {
	return slices.Concat(a.Own(), a.Extra, a.Legacy)
}
