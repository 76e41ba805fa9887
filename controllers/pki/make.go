package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

const (
	// AuthorityLife is how long an authority lives that the operator makes.
	AuthorityLife = 365 * 24 * time.Hour
	// clockSkew is how far into the past a certificate reaches, for machines
	// whose clock is behind.
	clockSkew = 5 * time.Minute
	// longestPinned is how long a certificate may live that browsers pin.
	longestPinned = 14 * 24 * time.Hour
	// leafName is the common name of leaves: short and fixed, since names stand
	// in the subject alternative names, and a common name is limited to 64 bytes.
	leafName = "moq-relay"
)

// MakeCA makes a new authority. Its key and its number come from rand.
func MakeCA(now time.Time, rand io.Reader) (*Pair, error) {
	serial, err := serialNumber(rand)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	// The number is in the name, so that two authorities of a cluster can be told
	// apart by people and by libraries that look issuers up by name.
	name := "moqrelay CA " + hex.EncodeToString(serial.Bytes()[:4])
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(AuthorityLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	pair, err := sign(template, nil, rand)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	return pair, nil
}

// MakeLeaf makes a certificate for names, host names or addresses, that lives as
// long as its authority allows and at most for validity.
func MakeLeaf(ca *Pair, names []string, validity time.Duration, now time.Time, rand io.Reader) (*Pair, error) {
	serial, err := serialNumber(rand)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: leafName},
		NotBefore:             now.Add(-max(0, min(clockSkew, longestPinned-validity))),
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if end := ca.Certificate.NotAfter; template.NotAfter.After(end) {
		template.NotAfter = end
	}
	for _, name := range normalize(names) {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	leaf, err := sign(template, ca, rand)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	// Clients that trust what is above an authority need it in the chain.
	if !isSelfSigned(ca.Certificate) {
		leaf.CertPEM = append(leaf.CertPEM, ca.CertPEM...)
	}
	return leaf, nil
}

func isSelfSigned(cert *x509.Certificate) bool { return cert.CheckSignatureFrom(cert) == nil }

// sign makes a key for template and has ca sign it, or the key itself.
func sign(template *x509.Certificate, ca *Pair, rand io.Reader) (*Pair, error) {
	key, err := newKey(rand)
	if err != nil {
		return nil, err
	}
	if ca == nil {
		ca = &Pair{Certificate: template, Key: key}
	}
	// No randomness: signatures of ECDSA are then those of RFC 6979.
	der, err := x509.CreateCertificate(nil, template, ca.Certificate, key.Public(), ca.Key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &Pair{Certificate: cert, Key: key, CertPEM: encode(pemCert, der), KeyPEM: encode(pemKey, keyDER)}, nil
}

// newKey draws a key from rand. The library's own generator heeds no reader
// since Go 1.26.
func newKey(rand io.Reader) (*ecdsa.PrivateKey, error) {
	scalar := make([]byte, 32)
	for {
		if _, err := io.ReadFull(rand, scalar); err != nil {
			return nil, fmt.Errorf("draw a key: %w", err)
		}
		// One number in 2^32 is not below the order of the curve: draw again.
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			return key, nil
		}
	}
}

// serialNumber draws a positive number of 16 bytes, of which the first is not 0.
func serialNumber(rand io.Reader) (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b), nil
}
