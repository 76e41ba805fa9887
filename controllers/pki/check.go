package pki

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// Problem is what is wrong with certificates of the user's: a reason of the API,
// and a sentence with the remedy.
type Problem struct {
	Reason  string
	Message string
}

// Error returns the sentence.
func (p *Problem) Error() string { return p.Message }

// CheckPublic reads a certificate for users from the data of its Secret and says
// what is wrong with it, if anything is. The pair is there whenever it could be
// read.
func CheckPublic(data map[string][]byte, hostnames []string, now time.Time) (*Pair, *Problem) {
	pair, err := PairOf(data)
	if err != nil {
		return nil, &Problem{v1alpha1.ReasonSecretInvalid, err.Error()}
	}
	cert := pair.Certificate
	end := cert.NotAfter.UTC().Format(time.DateTime)
	for _, name := range hostnames {
		if cert.VerifyHostname(name) != nil {
			return pair, &Problem{v1alpha1.ReasonSANMismatch, fmt.Sprintf("the certificate is not good for %s: have it issued for every name in exposure.hostnames, or drop the name there", name)}
		}
	}
	switch {
	case now.Before(cert.NotBefore):
		return pair, &Problem{v1alpha1.ReasonSecretInvalid, fmt.Sprintf("the certificate is not valid before %s: store one that is", cert.NotBefore.UTC().Format(time.DateTime))}
	case !now.Before(cert.NotAfter):
		return pair, &Problem{v1alpha1.ReasonNearExpiry, fmt.Sprintf("the certificate ended at %s: store a newer one", end)}
	case !now.Before(EndingAt(cert)):
		return pair, &Problem{v1alpha1.ReasonNearExpiry, fmt.Sprintf("the certificate ends at %s: store a newer one", end)}
	default:
		return pair, nil
	}
}

// EndingAt returns from when a certificate is about to end that nobody has
// replaced: for the last tenth of its life, and at most as long as an authority
// of the operator's own has a successor.
func EndingAt(cert *x509.Certificate) time.Time {
	return cert.NotAfter.Add(-min(cert.NotAfter.Sub(cert.NotBefore)/10, rotateBefore))
}
