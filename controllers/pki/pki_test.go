package pki_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	mathrand "math/rand/v2"

	"github.com/moqrelay/moqrelay/controllers/pki"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	names = []string{"*.live-eu-nodes.media.svc", "live-eu.media.svc", "localhost", "127.0.0.1", "::1", "eu.example.com"}
)

// chance is the same in every run.
func chance() *mathrand.ChaCha8 { return mathrand.NewChaCha8([32]byte{1}) }

func makeCA(t *testing.T, now time.Time) *pki.Pair {
	t.Helper()
	ca, err := pki.MakeCA(now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func makeLeaf(t *testing.T, ca *pki.Pair, now time.Time) *pki.Pair {
	t.Helper()
	leaf, err := pki.MakeLeaf(ca, names, 240*time.Hour, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestMakeLeaf(t *testing.T) {
	ca := makeCA(t, start)
	leaf := makeLeaf(t, ca, start)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pki.Authority{Current: ca}.Bundle())
	for _, name := range []string{"live-eu-0.live-eu-nodes.media.svc", "live-eu-17.live-eu-nodes.media.svc", "live-eu.media.svc", "localhost", "127.0.0.1", "::1", "eu.example.com"} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			_, err := leaf.Certificate.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{usage}})
			if err != nil {
				t.Errorf("usage %d: %v", usage, err)
			}
		}
	}
	for _, name := range []string{"live-us-0.live-us-nodes.media.svc", "a.b.live-eu-nodes.media.svc", "example.com"} {
		if err := leaf.Certificate.VerifyHostname(name); err == nil {
			t.Errorf("good for %s", name)
		}
	}
	key, ok := leaf.Key.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		t.Errorf("key is %T, browsers pin ECDSA P-256 only", leaf.Key)
	}
	if cn := leaf.Certificate.Subject.CommonName; cn != "moq-relay" {
		t.Errorf("common name %q", cn)
	}
	if leaf.Certificate.IsCA {
		t.Error("leaf is an authority")
	}
}

// Browsers pin no certificate that lives longer than 14 days, counted from its
// first second to its last.
func TestLeafLife(t *testing.T) {
	ca := makeCA(t, start)
	for _, test := range []struct {
		name      string
		validity  time.Duration
		now       time.Time
		wantStart time.Time
		wantEnd   time.Time
	}{
		{"the default reaches five minutes back", 240 * time.Hour, start, start.Add(-5 * time.Minute), start.Add(240 * time.Hour)},
		{"the longest does not", 336 * time.Hour, start, start, start.Add(336 * time.Hour)},
		{"in between it reaches back as far as it may", 336*time.Hour - time.Minute, start, start.Add(-time.Minute), start.Add(336*time.Hour - time.Minute)},
		{"none outlives its authority", 240 * time.Hour, start.Add(pki.AuthorityLife - time.Hour), start.Add(pki.AuthorityLife - time.Hour - 5*time.Minute), start.Add(pki.AuthorityLife)},
	} {
		t.Run(test.name, func(t *testing.T) {
			leaf, err := pki.MakeLeaf(ca, names, test.validity, test.now, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if got := leaf.Certificate.NotBefore; !got.Equal(test.wantStart) {
				t.Errorf("begins at %v, want %v", got, test.wantStart)
			}
			if got := leaf.Certificate.NotAfter; !got.Equal(test.wantEnd) {
				t.Errorf("ends at %v, want %v", got, test.wantEnd)
			}
			if life := leaf.Certificate.NotAfter.Sub(leaf.Certificate.NotBefore); life > 336*time.Hour {
				t.Errorf("lives %v", life)
			}
		})
	}
}

// The same randomness gives the same certificates, to the byte.
func TestMakeIsDeterministic(t *testing.T) {
	build := func() string {
		source := chance()
		ca, err := pki.MakeCA(start, source)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := pki.MakeLeaf(ca, names, 240*time.Hour, start, source)
		if err != nil {
			t.Fatal(err)
		}
		return string(ca.CertPEM) + string(ca.KeyPEM) + string(leaf.CertPEM) + string(leaf.KeyPEM)
	}
	if first, second := build(), build(); first != second {
		t.Error("two runs differ")
	}
}

func TestMakeNeedsRandomness(t *testing.T) {
	if _, err := pki.MakeCA(start, strings.NewReader("too short")); err == nil {
		t.Error("made an authority out of nothing")
	}
	if _, err := pki.MakeLeaf(makeCA(t, start), names, time.Hour, start, strings.NewReader("exactly 16 bytes")); err == nil {
		t.Error("made a leaf out of nothing")
	}
}

func TestParsePair(t *testing.T) {
	ca := makeCA(t, start)
	leaf, other := makeLeaf(t, ca, start), makeLeaf(t, ca, start)
	for _, test := range []struct {
		name      string
		cert, key []byte
		want      string // of the error
	}{
		{"what belongs together", leaf.CertPEM, leaf.KeyPEM, ""},
		{"a chain", slices.Concat(leaf.CertPEM, ca.CertPEM), leaf.KeyPEM, ""},
		{"the key of another", leaf.CertPEM, other.KeyPEM, "made together"},
		{"a chain with the leaf last", slices.Concat(ca.CertPEM, leaf.CertPEM), leaf.KeyPEM, "made together"},
		{"nothing", nil, nil, "tls.crt: holds no certificate"},
		{"no key", leaf.CertPEM, []byte("-----BEGIN"), "tls.key: holds no private key"},
		{"the two swapped", leaf.KeyPEM, leaf.CertPEM, "tls.crt: holds a PRIVATE KEY"},
		{"damaged", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("junk")}), leaf.KeyPEM, "tls.crt: x509"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair, err := pki.ParsePair(test.cert, test.key)
			switch {
			case test.want == "" && err != nil:
				t.Fatal(err)
			case test.want == "" && pair.Fingerprint() != leaf.Fingerprint():
				t.Error("read another certificate")
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestParseKeyForms(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	// openssl ecparam -genkey writes the name of the curve first.
	params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8}})
	sec1 := append(params, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ecDER})...)
	cert := selfSigned(t, &x509.Certificate{}, ec.Public(), ec)
	if _, err := pki.ParsePair(cert, sec1); err != nil {
		t.Errorf("SEC 1: %v", err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rs)})
	if _, err := pki.ParsePair(selfSigned(t, &x509.Certificate{}, rs.Public(), rs), pkcs1); err != nil {
		t.Errorf("PKCS #1: %v", err)
	}
}

// selfSigned returns a certificate of the user's.
func selfSigned(t *testing.T, template *x509.Certificate, public, private any) []byte {
	t.Helper()
	template.SerialNumber = big.NewInt(1)
	if template.Subject.CommonName == "" {
		template.Subject = pkix.Name{CommonName: "of the user"}
	}
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = start, start.Add(90*24*time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Any authority will do, of whatever kind its key is.
func TestExternalAuthority(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	ca := selfSigned(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, ed.Public(), ed)
	leaf := selfSigned(t, &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true}, ed.Public(), ed)
	older := makeCA(t, start.Add(-time.Hour))

	a, err := pki.ExternalAuthorityOf(map[string][]byte{"tls.crt": ca, "tls.key": key, "ca.crt": older.CertPEM}, start)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(a.Bundle()), string(ca)+string(older.CertPEM); got != want {
		t.Errorf("bundle is %q, want %q", got, want)
	}
	w := pki.Wanted{Names: map[string][]string{"root": names}, Validity: 240 * time.Hour, RenewBefore: 80 * time.Hour}
	s, _, err := pki.Ensure(pki.State{Authority: a}, w, start, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Leaves["root"].Certificate.CheckSignatureFrom(a.Current.Certificate); err != nil {
		t.Error(err)
	}

	for _, test := range []struct {
		name string
		data map[string][]byte
		now  time.Time
		want string
	}{
		{"a leaf is no authority", map[string][]byte{"tls.crt": leaf, "tls.key": key}, start, "store a CA certificate"},
		{"it has ended", map[string][]byte{"tls.crt": ca, "tls.key": key}, start.Add(91 * 24 * time.Hour), "store a newer authority"},
		{"further trust is damaged", map[string][]byte{"tls.crt": ca, "tls.key": key, "ca.crt": []byte("junk")}, start, "ca.crt: holds no certificate"},
		{"there is no key", map[string][]byte{"tls.crt": ca}, start, "tls.key: holds no private key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := pki.ExternalAuthorityOf(test.data, test.now); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A user's authority that stands below another goes into the chain.
func TestIntermediateAuthority(t *testing.T) {
	top, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	topCert := selfSigned(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true}, top.Public(), top)
	parent, err := pki.ParseCertificates(topCert)
	if err != nil {
		t.Fatal(err)
	}
	below := makeCA(t, start)
	template := *below.Certificate
	template.SerialNumber = big.NewInt(2)
	template.NotAfter = start.Add(30 * 24 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, &template, parent[0], below.Key.Public(), top)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.ParsePair(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), below.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.ParseCertificates(makeLeaf(t, ca, start).CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	if len(chain) != 2 || !chain[1].Equal(ca.Certificate) {
		t.Errorf("chain has %d certificates, want the leaf and its authority", len(chain))
	}
}

func TestCheckPublic(t *testing.T) {
	ca := makeCA(t, start)
	leaf := makeLeaf(t, ca, start)
	for _, test := range []struct {
		name      string
		data      map[string][]byte
		hostnames []string
		now       time.Time
		want      string // the reason
	}{
		{"good for its names", leaf.Data(), []string{"eu.example.com"}, start, ""},
		{"good by its wildcard", leaf.Data(), []string{"any.live-eu-nodes.media.svc"}, start, ""},
		{"not good for a name", leaf.Data(), []string{"eu.example.com", "us.example.com"}, start, "SANMismatch"},
		{"unreadable", map[string][]byte{"tls.crt": []byte("junk")}, nil, start, "SecretInvalid"},
		{"not yet valid", leaf.Data(), nil, start.Add(-time.Hour), "SecretInvalid"},
		{"more than a tenth left", leaf.Data(), nil, start.Add(215 * time.Hour), ""},
		{"less than a tenth left", leaf.Data(), nil, start.Add(217 * time.Hour), "NearExpiry"},
		{"ended", leaf.Data(), nil, start.Add(241 * time.Hour), "NearExpiry"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problem := pki.CheckPublic(test.data, test.hostnames, test.now)
			switch {
			case test.want == "" && problem != nil:
				t.Errorf("problem %s: %v", problem.Reason, problem)
			case test.want != "" && (problem == nil || problem.Reason != test.want):
				t.Errorf("problem %v, want %s", problem, test.want)
			}
		})
	}
}

// S31: what is wrong with a key is said without it.
func TestS31NoKeyInErrors(t *testing.T) {
	leaf := makeLeaf(t, makeCA(t, start), start)
	secret := "c2VjcmV0IGtleQ"
	for _, key := range []string{
		"-----BEGIN PRIVATE KEY-----\n" + secret + "==\n-----END PRIVATE KEY-----\n",
		secret,
	} {
		_, err := pki.ParsePair(leaf.CertPEM, []byte(key))
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v", err)
		}
	}
}
