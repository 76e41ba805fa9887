package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The relays of the rows: ours, and others by name and version.
const (
	ours     = "ours"
	relay068 = "moq-relay-0.6.8"
	relay619 = "moq-relay-0.6.19"
)

// pki is a small authority and one leaf that serves and dials.
type pki struct{ ca, cert, key string }

func newPKI(t *testing.T) pki {
	t.Helper()
	dir := t.TempDir()
	p := pki{filepath.Join(dir, "ca.crt"), filepath.Join(dir, "leaf.crt"), filepath.Join(dir, "leaf.key")}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "interop CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "interop"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caKey, leafKey := newKey(t), newKey(t)
	writePEM(t, p.ca, "CERTIFICATE", sign(t, ca, ca, caKey, caKey))
	writePEM(t, p.cert, "CERTIFICATE", sign(t, leaf, ca, leafKey, caKey))
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, p.key, "PRIVATE KEY", der)
	return p
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// relay is a relay that runs; addr is its host:port on loopback.
type relay struct {
	*process
	kind string
	addr string
	pki  pki
}

// node says how a relay stands in a cluster; the zero value is none.
type node struct {
	root *relay // nil with isRoot false: alone
	self bool   // is a root
	open bool   // ours only: takes relays without certificate for peers
}

// startRelay runs a relay and waits until it serves.
func startRelay(t *testing.T, kind string, certs pki, n node) *relay {
	t.Helper()
	r := &relay{kind: kind, addr: freeAddr(t), pki: certs}
	r.run(t, n)
	return r
}

func (r *relay) run(t *testing.T, n node) {
	t.Helper()
	args := []string{"--bind", r.addr, "--tls-cert", r.pki.cert, "--tls-key", r.pki.key, "--tls-root", r.pki.ca, "-v"}
	switch {
	case n.self:
		args = append(args, "--cluster-root", r.addr, "--cluster-node", r.addr)
	case n.root != nil:
		args = append(args, "--cluster-root", n.root.addr, "--cluster-node", r.addr)
	}
	if r.kind != ours {
		r.process = start(t, r.kind, peer(t, r.kind), args...)
		r.stderr.want(t, "listening", 10*time.Second)
		return
	}
	if n.open {
		args = append(args, "--cluster-open")
	}
	r.process = start(t, "our relay", our(t, "moq-relay"), append(args, "--log-format", "json")...)
	wantReady(t, r)
}

// wantReady waits until our relay says that it takes sessions.
func wantReady(t *testing.T, r *relay) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-r.done:
			t.Fatalf("our relay ended: %v", r.err)
		case <-ctx.Done():
			t.Fatal("our relay is not ready after 10 s")
		}
	}
}

// wantQuiet fails if our relay has logged an error.
func (r *relay) wantQuiet(t *testing.T) {
	t.Helper()
	if r.kind != ours {
		return
	}
	all, _, _ := r.stderr.from(0)
	for _, line := range all {
		if strings.Contains(line.text, `"level":"ERROR"`) {
			t.Errorf("our relay logged an error in a clean run: %s", line.text)
		}
	}
}

// url returns the address of the relay for a transport, a scheme of the
// MoqTransfork family: https is WebTransport, moqf is QUIC itself.
func (r *relay) url(scheme string) string { return fmt.Sprintf("%s://%s", scheme, r.addr) }

// freeAddr returns a loopback address that is free for UDP and TCP.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 20 {
		udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		addr := udp.LocalAddr().String()
		tcp, err := net.Listen("tcp4", addr)
		udp.Close()
		if err == nil {
			tcp.Close()
			return addr
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return ""
}
