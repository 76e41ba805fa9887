package pki

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// Keys of Secrets, as in Secrets of type kubernetes.io/tls.
const (
	KeyCert  = "tls.crt"
	KeyKey   = "tls.key"
	KeyTrust = "ca.crt"
)

// Pair is a certificate with its private key.
type Pair struct {
	// Certificate is the leaf of CertPEM.
	Certificate *x509.Certificate
	// Key belongs to Certificate.
	Key crypto.Signer
	// CertPEM is the chain, leaf first, and KeyPEM the key, as they are stored.
	CertPEM, KeyPEM []byte
}

// Names returns what the certificate is good for, sorted.
func (p *Pair) Names() []string { return namesOf(p.Certificate) }

// ParsePair reads a chain and its key. It refuses a key of another certificate.
func ParsePair(certPEM, keyPEM []byte) (*Pair, error) {
	certs, err := ParseCertificates(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyCert, err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyKey, err)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(certs[0].PublicKey) {
		return nil, fmt.Errorf("%s is not the key of the first certificate in %s: store the two that were made together", KeyKey, KeyCert)
	}
	return &Pair{Certificate: certs[0], Key: key, CertPEM: certPEM, KeyPEM: keyPEM}, nil
}

// PairOf reads a pair from the data of a Secret.
func PairOf(data map[string][]byte) (*Pair, error) { return ParsePair(data[KeyCert], data[KeyKey]) }

// Data returns the data of the Secret that stores p.
func (p *Pair) Data() map[string][]byte {
	return map[string][]byte{KeyCert: p.CertPEM, KeyKey: p.KeyPEM}
}

// Fingerprint returns what browsers pin: the SHA-256 of the leaf, in hex.
func (p *Pair) Fingerprint() string { return Fingerprint(p.Certificate) }

// Fingerprint returns the SHA-256 of a certificate, in hex.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// ParseCertificates reads one or more certificates in PEM.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != pemCert {
			return nil, fmt.Errorf("holds a %s: want certificates only", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("holds no certificate: want PEM, -----BEGIN CERTIFICATE-----")
	}
	return certs, nil
}

// parseKey reads a private key in any of the forms that are about. What is
// wrong with it is not quoted: an error may be logged.
func parseKey(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return nil, errors.New("holds no private key: want PEM, -----BEGIN PRIVATE KEY-----, without a passphrase")
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return signer, nil
			}
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
	}
}

// Bundle returns certificates as one PEM file, each once, in a steady order.
func Bundle(certs ...*x509.Certificate) []byte {
	var out bytes.Buffer
	var seen []*x509.Certificate
	for _, cert := range certs {
		if cert == nil || slices.ContainsFunc(seen, cert.Equal) {
			continue
		}
		seen = append(seen, cert)
		out.Write(encode(pemCert, cert.Raw))
	}
	return out.Bytes()
}

// PEM block types that are written.
const (
	pemCert = "CERTIFICATE"
	pemKey  = "PRIVATE KEY"
)

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
