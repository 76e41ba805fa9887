package rig

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime is that of certificates: a cluster for tests does not get older.
const lifetime = 30 * 24 * time.Hour

// authority signs certificates and writes them to a folder. The first error
// sticks, and nothing is written after it.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	err  error
}

// writePKI writes keys, certificates and kubeconfigs of the whole cluster.
func (p *Plan) writePKI() error {
	dir := p.pki("")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, front := newAuthority(dir, "ca"), newAuthority(dir, "front-proxy-ca")
	ca.serving("apiserver", "kube-apiserver", "localhost", "127.0.0.1", "10.96.0.1", p.Nodes[0].Address,
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
	ca.client("apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters")
	front.client("front-proxy", "front-proxy-client")
	ca.kubeconfig("admin", p.server(), "rig-admin", "system:masters")
	for _, name := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		ca.kubeconfig(name, p.server(), "system:"+name)
	}
	for _, n := range p.Nodes {
		ca.kubeconfig("kubelet-"+n.Name, p.server(), "system:node:"+n.Name, "system:nodes")
		ca.serving("kubelet-serving-"+n.Name, "system:node:"+n.Name, n.Name, n.Address, "127.0.0.1")
	}
	return errors.Join(ca.err, front.err, writeAccountKey(dir))
}

// writeAccountKey writes the key that signs tokens of ServiceAccounts.
func writeAccountKey(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "sa.key"), encode("EC PRIVATE KEY", private), 0o600),
		os.WriteFile(filepath.Join(dir, "sa.pub"), encode("PUBLIC KEY", public), 0o600))
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func newAuthority(dir, name string) *authority {
	a := &authority{dir: dir}
	a.pem, _ = a.issue(name, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
	return a
}

func (a *authority) client(name, commonName string, groups ...string) (cert, key []byte) {
	return a.issue(name, &x509.Certificate{
		Subject:  pkix.Name{CommonName: commonName, Organization: groups},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) serving(name, commonName string, hosts ...string) {
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: commonName},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	a.issue(name, template)
}

func (a *authority) kubeconfig(name, server, user string, groups ...string) {
	cert, key := a.client(name, user, groups...)
	if a.err != nil {
		return
	}
	b64 := base64.StdEncoding.EncodeToString
	a.err = os.WriteFile(filepath.Join(a.dir, name+".kubeconfig"), fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: user, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: e2e, context: {cluster: e2e, user: user}}]
current-context: e2e
`, server, b64(a.pem), b64(cert), b64(key)), 0o600)
}

// issue signs a certificate, by itself if it is the authority's own, and writes
// it with its key.
func (a *authority) issue(name string, template *x509.Certificate) (certPEM, keyPEM []byte) {
	if a.err != nil {
		return nil, nil
	}
	certPEM, keyPEM, a.err = a.sign(template)
	if a.err == nil {
		a.err = errors.Join(
			os.WriteFile(filepath.Join(a.dir, name+".crt"), certPEM, 0o600),
			os.WriteFile(filepath.Join(a.dir, name+".key"), keyPEM, 0o600))
	}
	return certPEM, keyPEM
}

func (a *authority) sign(template *x509.Certificate) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = template.NotBefore.Add(lifetime)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			return nil, nil, err
		}
		a.key = key
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	return encode("CERTIFICATE", der), encode("EC PRIVATE KEY", keyDER), err
}
