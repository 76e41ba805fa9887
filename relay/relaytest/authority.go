package relaytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Authority issues the certificates of relays.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// trustFile is what every relay of the network trusts.
const trustFile = "ca.crt"

// NewAuthority makes an authority that issues all leaves from now on. Trust makes
// relays trust it.
func (n *Network) NewAuthority() *Authority {
	n.t.Helper()
	key := n.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "relaytest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		n.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		n.t.Fatal(err)
	}
	a := &Authority{cert, key}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.issuer = a
	return a
}

// Trust makes the relays trust these authorities and no other, as soon as they
// look at their files again.
func (n *Network) Trust(authorities ...*Authority) {
	n.t.Helper()
	var bundle []byte
	for _, a := range authorities {
		bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	if err := os.WriteFile(filepath.Join(n.dir, trustFile), bundle, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// Renew gives a relay another leaf of the newest authority, which it takes as soon
// as it looks at its files again.
func (n *Network) Renew(node *Node) {
	n.t.Helper()
	n.leaf(node.Name)
}

// Issuer is the newest authority.
func (n *Network) Issuer() *Authority {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.issuer
}

// leaf makes a certificate for host and returns the names of its files.
func (n *Network) leaf(host string) (cert, key string) {
	n.t.Helper()
	issuer, leafKey := n.Issuer(), n.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "relay"}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, &leafKey.PublicKey, issuer.key)
	if err != nil {
		n.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.write(host+".crt", "CERTIFICATE", der), n.write(host+".key", "PRIVATE KEY", keyDER)
}

func (n *Network) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		n.t.Fatal(err)
	}
	return key
}

func (n *Network) write(name, kind string, der []byte) string {
	path := filepath.Join(n.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		n.t.Fatal(err)
	}
	return path
}
