package certs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issued is a certificate with its key, in the forms tests need.
type issued struct {
	cert    *x509.Certificate
	key     crypto.Signer
	certPEM []byte
	keyPEM  []byte
}

// issue makes a certificate for names, signed by ca or, if that is nil, by itself.
func issue(t testing.TB, ca *issued, names ...string) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: strings.Join(append(names, serial.String()), " ")},
		NotBefore:    time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), // bubbles begin in 2000
		NotAfter:     time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		DNSNames:     names,
		IsCA:         ca == nil, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, crypto.Signer(key)
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{
		cert, key,
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

// dir is a folder with files.
type dir struct {
	t    testing.TB
	path string
}

func newDir(t testing.TB) dir { t.Helper(); return dir{t, t.TempDir()} }

func (d dir) write(name string, parts ...[]byte) string {
	d.t.Helper()
	file := filepath.Join(d.path, name)
	if err := os.WriteFile(file, bytes.Join(parts, nil), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return file
}

// pair writes a certificate and its key.
func (d dir) pair(name string, c *issued) Pair {
	d.t.Helper()
	return Pair{d.write(name+".pem", c.certPEM), d.write(name+".key", c.keyPEM)}
}

func mustOpen(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// handshake connects client and server and returns what each saw of the other.
func handshake(t testing.TB, client, server *tls.Config) (c, s tls.ConnectionState, err error) {
	t.Helper()
	up, down := make(chan []byte, 64), make(chan []byte, 64)
	tc, ts := tls.Client(&end{in: down, out: up}, client), tls.Server(&end{in: up, out: down}, server)
	done := make(chan error, 1)
	go func() {
		defer close(down)
		done <- ts.Handshake()
	}()
	err = tc.Handshake()
	close(up)
	err = errors.Join(err, <-done)
	return tc.ConnectionState(), ts.ConnectionState(), err
}

// end is one end of a connection that holds what was written until it is read,
// so that both sides can fail at once.
type end struct {
	net.Conn // the methods that TLS does not call
	in       <-chan []byte
	out      chan<- []byte
	rest     []byte
}

func (e *end) Write(b []byte) (int, error) {
	e.out <- bytes.Clone(b)
	return len(b), nil
}

func (e *end) Read(b []byte) (int, error) {
	if len(e.rest) == 0 {
		e.rest = <-e.in
	}
	if len(e.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func TestChoiceByServerName(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	a, wild, b := issue(t, nil, "a.example"), issue(t, nil, "*.b.example"), issue(t, nil, "a.example", "b.example")
	s := mustOpen(t, Config{Pairs: []Pair{d.pair("a", a), d.pair("wild", wild), d.pair("b", b)}})
	cases := map[string]struct {
		name string
		want *issued
	}{
		"first that is valid":    {"a.example", a},
		"in any case":            {"A.Example", a},
		"wildcard":               {"x.b.example", wild},
		"later one":              {"b.example", b},
		"unknown gets the last":  {"c.example", b},
		"no name gets the last":  {"", b},
		"wildcard is one label":  {"x.y.b.example", b},
		"a name, not its suffix": {"xa.example", b},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			client := &tls.Config{ServerName: c.name, InsecureSkipVerify: true}
			got, _, err := handshake(t, client, s.ServerTLS())
			if err != nil {
				t.Fatal(err)
			}
			if !got.PeerCertificates[0].Equal(c.want.cert) {
				t.Errorf("served %v, want %v", got.PeerCertificates[0].DNSNames, c.want.cert.DNSNames)
			}
			if got.Version != tls.VersionTLS13 {
				t.Errorf("version %x", got.Version)
			}
		})
	}
	if _, _, err := handshake(t, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, s.ServerTLS()); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	a := issue(t, nil, "a.example")
	s := mustOpen(t, Config{Pairs: []Pair{d.pair("a", a)}, SelfSign: []string{"Dev.Example", "127.0.0.1", "::1"}})
	list := s.Certificates()
	want := []Certificate{
		{File: filepath.Join(d.path, "a.pem"), Names: []string{"a.example"}, NotAfter: a.cert.NotAfter, Fingerprint: sha256.Sum256(a.cert.Raw)},
		{Names: []string{"dev.example", "127.0.0.1", "::1"}, NotAfter: list[1].NotAfter, Fingerprint: list[1].Fingerprint},
	}
	if d := cmp.Diff(want, list); d != "" {
		t.Errorf("certificates (-want +got):\n%s", d)
	}
	if got := s.Fingerprints(); len(got) != 2 || got[0] != list[0].Fingerprint || got[1] != list[1].Fingerprint {
		t.Errorf("fingerprints %v", got)
	}
	parsed, err := ParseFingerprint(strings.ToUpper(list[0].Fingerprint.String()))
	if err != nil || parsed != list[0].Fingerprint {
		t.Errorf("fingerprint reads back as %v, %v", parsed, err)
	}
	if _, err := ParseFingerprint("abc"); err == nil || !strings.Contains(err.Error(), "64") {
		t.Errorf("short fingerprint: %v", err)
	}
}

func TestRoots(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	old, next := issue(t, nil, "old"), issue(t, nil, "next")
	both := d.write("both.pem", old.certPEM, next.certPEM)
	s := mustOpen(t, Config{SelfSign: []string{"localhost"}, Roots: []string{both}})
	if diff := cmp.Diff([]Fingerprint{sha256.Sum256(old.cert.Raw), sha256.Sum256(next.cert.Raw)}, s.Roots()); diff != "" {
		t.Errorf("authorities (-want +got):\n%s", diff)
	}
	if got := mustOpen(t, Config{SelfSign: []string{"localhost"}}).Roots(); len(got) != 0 {
		t.Errorf("without files: %v, want none", got)
	}
}

func TestSelfSigned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, Config{SelfSign: []string{"localhost", "127.0.0.1"}})
		leaf := s.current.Load().certs[0].Leaf
		if valid := leaf.NotAfter.Sub(leaf.NotBefore); valid > 14*24*time.Hour {
			t.Errorf("valid for %v: browsers pin at most 14 days", valid)
		}
		if left := time.Until(leaf.NotAfter); left != 10*24*time.Hour {
			t.Errorf("valid for another %v, want 10 days", left)
		}
		if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
			t.Errorf("key %T", leaf.PublicKey)
		}
		client := s.ClientTLS(ClientOptions{Pinned: s.Fingerprints()})
		client.ServerName = "anything"
		if _, _, err := handshake(t, client, s.ServerTLS()); err != nil {
			t.Errorf("pinned: %v", err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- s.Run(ctx) }()
		changed := s.Changed()
		start := time.Now()
		<-changed
		if took := time.Since(start); took < 6*24*time.Hour || took > 8*24*time.Hour {
			t.Errorf("replaced after %v, want 7 days", took)
		}
		if _, _, err := handshake(t, client, s.ServerTLS()); err == nil {
			t.Error("the old pin still holds")
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// take returns what was logged since the last call.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

func TestReload(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	ca, other := issue(t, nil, "ca"), issue(t, nil, "other ca")
	old, next := issue(t, ca, "a.example"), issue(t, ca, "a.example")
	synctest.Test(t, func(t *testing.T) {
		var log lines
		s := mustOpen(t, Config{
			Pairs: []Pair{d.pair("a", old)}, Roots: []string{d.write("ca.pem", ca.certPEM)},
			Interval: time.Second, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- s.Run(ctx) }()
		server := s.ServerTLS()
		served := func() *x509.Certificate {
			t.Helper()
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			c, _, err := handshake(t, &tls.Config{InsecureSkipVerify: true}, server)
			if err != nil {
				t.Fatal(err)
			}
			return c.PeerCertificates[0]
		}
		steps := []struct {
			reason string
			change func()
			want   *issued
			logged string
		}{
			{"nothing changed", func() {}, old, ""},
			{"half written", func() { d.write("a.pem", next.certPEM) }, old, "--tls-key"},
			{"still half written: said once", func() {}, old, ""},
			{"then whole", func() { d.write("a.key", next.keyPEM) }, next, "certificate reloaded"},
			{"broken", func() { d.write("a.pem", []byte("not PEM")) }, next, "--tls-cert"},
			{"removed", func() { _ = os.Remove(filepath.Join(d.path, "a.pem")) }, next, "no such file"},
			{"as before", func() { d.write("a.pem", next.certPEM) }, next, ""},
			{"broken roots", func() { d.write("ca.pem", []byte("not PEM")) }, next, "--tls-root"},
			{"other roots", func() { d.write("ca.pem", other.certPEM) }, next, "roots reloaded"},
			{"back again", func() { d.pair("a", old) }, old, "certificate reloaded"},
		}
		for _, step := range steps {
			log.take()
			step.change()
			if got := served(); !got.Equal(step.want.cert) {
				t.Errorf("%s: served %v, want %v", step.reason, got.SerialNumber, step.want.cert.SerialNumber)
			}
			if got := log.take(); step.logged == "" && got != "" || !strings.Contains(got, step.logged) {
				t.Errorf("%s: logged %q, want %q", step.reason, got, step.logged)
			}
		}
		if _, _, err := handshake(t, named(s.ClientTLS(ClientOptions{}), "a.example"), server); err == nil {
			t.Error("a certificate of the old root is trusted")
		}
		cancel()
		<-ran
	})
}

func named(c *tls.Config, name string) *tls.Config {
	c.ServerName = name
	return c
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	ca, stranger := issue(t, nil, "ca"), issue(t, nil, "stranger's ca")
	first, second := issue(t, ca, "node1.example"), issue(t, ca, "node2.example")
	foreign := issue(t, stranger, "foreign.example")
	both := d.write("both.pem", stranger.certPEM, []byte("# a comment\n"), ca.certPEM)
	onlyCA := d.write("ca.pem", ca.certPEM)
	open := func(name string, c *issued, roots ...string) *Store {
		return mustOpen(t, Config{Pairs: []Pair{d.pair(name, c)}, Roots: roots})
	}
	server := open("second", second, onlyCA)
	cases := map[string]struct {
		reason  string
		client  *Store
		options ClientOptions
		server  *Store
		want    *issued
		fails   bool
	}{
		"presented": {
			"both lead to the same root",
			open("first", first, onlyCA),
			ClientOptions{Present: true},
			server, first, false,
		},
		"second root of a file": {
			"all certificates of a file count",
			open("first", first, both),
			ClientOptions{Present: true},
			server, first, false,
		},
		"not presented": {
			"a client without one is let in, unproved",
			open("first", first, onlyCA),
			ClientOptions{},
			server, nil, false,
		},
		"another authority's is kept back": {
			"it would only be refused",
			open("foreign", foreign, onlyCA),
			ClientOptions{Present: true},
			server, nil, false,
		},
		"not asked for": {
			"without roots a server asks for none",
			open("first", first, onlyCA),
			ClientOptions{Present: true},
			open("rootless", second), nil, false,
		},
		"untrusted server": {
			"it leads to another root",
			open("first", first, onlyCA),
			ClientOptions{},
			open("foreign", foreign), nil, true,
		},
		"unverified server": {
			"as asked for",
			open("first", first, onlyCA),
			ClientOptions{DisableVerify: true},
			open("foreign", foreign), nil, false,
		},
		"pinned server": {
			"whatever its root",
			open("first", first, onlyCA),
			ClientOptions{Pinned: []Fingerprint{sha256.Sum256(foreign.cert.Raw)}},
			open("foreign", foreign), nil, false,
		},
		"server with another pin": {
			"although it leads to our root",
			open("first", first, onlyCA),
			ClientOptions{Pinned: []Fingerprint{sha256.Sum256(foreign.cert.Raw)}},
			server, nil, true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(c.reason)
			client := named(c.client.ClientTLS(c.options), c.server.Certificates()[0].Names[0])
			_, got, err := handshake(t, client, c.server.ServerTLS())
			if (err != nil) != c.fails {
				t.Fatalf("handshake: %v, want failure %v", err, c.fails)
			}
			switch {
			case c.want == nil && len(got.PeerCertificates) > 0:
				t.Errorf("the server saw %v, want none", got.PeerCertificates[0].DNSNames)
			case c.want != nil && (len(got.VerifiedChains) == 0 || !got.PeerCertificates[0].Equal(c.want.cert)):
				t.Errorf("the server saw %v, want %v", got.PeerCertificates, c.want.cert.DNSNames)
			}
		})
	}
}

func TestErrorsOfFiles(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	a, b := issue(t, nil, "a.example"), issue(t, nil, "b.example")
	good, other := d.pair("a", a), d.pair("b", b)
	empty := d.write("empty")
	damaged := d.write("damaged.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	missing := filepath.Join(d.path, "missing")
	cases := map[string]struct {
		config Config
		want   []string
	}{
		"no certificate file":   {Config{Pairs: []Pair{{missing, good.Key}}}, []string{"--tls-cert", "missing", "no such file; give"}},
		"no key file":           {Config{Pairs: []Pair{{good.Cert, missing}}}, []string{"--tls-key", "missing", "no such file; give"}},
		"a folder":              {Config{Pairs: []Pair{{d.path, good.Key}}}, []string{"--tls-cert", "is a directory"}},
		"empty certificate":     {Config{Pairs: []Pair{{empty, good.Key}}}, []string{"--tls-cert", "empty", "no PEM certificate"}},
		"damaged certificate":   {Config{Pairs: []Pair{{damaged, good.Key}}}, []string{"--tls-cert", "damaged.pem"}},
		"empty key":             {Config{Pairs: []Pair{{good.Cert, empty}}}, []string{"--tls-key", "empty", "no PEM private key"}},
		"files exchanged":       {Config{Pairs: []Pair{{good.Key, good.Cert}}}, []string{"--tls-cert", "a.key", "no PEM certificate"}},
		"another's key":         {Config{Pairs: []Pair{{good.Cert, other.Key}}}, []string{"--tls-key", "b.key", "a.pem", "pairs go by position"}},
		"no root file":          {Config{Roots: []string{missing}}, []string{"--tls-root", "no such file; give"}},
		"root without any":      {Config{Roots: []string{good.Key}}, []string{"--tls-root", "a.key", "no PEM certificate"}},
		"one damaged root":      {Config{Roots: []string{d.write("two.pem", a.certPEM, []byte("\n"), mustRead(t, damaged))}}, []string{"--tls-root", "certificate 2"}},
		"impossible name":       {Config{SelfSign: []string{"ü.example"}}, []string{"--tls-self-sign"}},
		"everything at one go":  {Config{Pairs: []Pair{{missing, ""}}, Roots: []string{empty}}, []string{"--tls-cert", "--tls-root"}},
		"second pair is broken": {Config{Pairs: []Pair{good, {missing, other.Key}}}, []string{"--tls-cert", "missing"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Open(c.config)
			if err == nil {
				t.Fatal("opened")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "no such file") && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %q is not fs.ErrNotExist", err)
			}
		})
	}
}

func mustRead(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	a := issue(t, nil, "a.example")
	long := Pair{d.write("long.pem", bytes.Repeat(a.certPEM, 8)), d.write("long.key", a.keyPEM)}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(a.cert.NotAfter.Add(time.Second)))
		var log bytes.Buffer
		mustOpen(t, Config{Pairs: []Pair{long}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		for _, want := range []string{"has expired", "chain is long", "long.pem"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("logged %q, want %q", &log, want)
			}
		}
	})
}

func TestNoCertificate(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, Config{})
	if _, _, err := handshake(t, &tls.Config{InsecureSkipVerify: true}, s.ServerTLS()); err == nil {
		t.Error("served without a certificate")
	}
	if c := s.ClientTLS(ClientOptions{Present: true}); c.RootCAs != nil || c.GetClientCertificate != nil {
		t.Error("a store without files is not the system's roots and no certificate")
	}
}

func TestKeyLog(t *testing.T) {
	d := newDir(t)
	file := filepath.Join(d.path, "keys")
	t.Setenv("SSLKEYLOGFILE", file)
	s := mustOpen(t, Config{SelfSign: []string{"localhost"}})
	for range 2 {
		client := s.ClientTLS(ClientOptions{Pinned: s.Fingerprints()})
		if _, _, err := handshake(t, named(client, "localhost"), s.ServerTLS()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := bytes.Count(mustRead(t, file), []byte("CLIENT_TRAFFIC_SECRET_0 ")); got != 4 {
		t.Errorf("%d secrets, want those of two connections in both roles", got)
	}
	t.Setenv("SSLKEYLOGFILE", filepath.Join(d.path, "missing", "keys"))
	if _, err := Open(Config{}); err == nil || !strings.Contains(err.Error(), "SSLKEYLOGFILE") {
		t.Errorf("open: %v, want an error that names SSLKEYLOGFILE", err)
	}
}

// TestS25Planes: the name that a client asks for, in any case, chooses between the
// internal and the public plane; an unknown name and none get the public one. No
// ticket carries a client past a change of the authorities, on either plane.
func TestS25Planes(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	ca := issue(t, nil, "ca")
	internal, public := issue(t, ca, "*.eu.moq.svc", "localhost"), issue(t, nil, "relay.example")
	s := mustOpen(t, Config{Pairs: []Pair{d.pair("internal", internal), d.pair("public", public)}, Roots: []string{d.write("ca.pem", ca.certPEM)}})
	cases := map[string]struct {
		name string
		want *issued
	}{
		"internal":               {"eu-0.eu.moq.svc", internal},
		"internal in odd case":   {"EU-0.Eu.moq.SVC", internal},
		"probe of its own":       {"LOCALHOST", internal},
		"public":                 {"relay.example", public},
		"public in odd case":     {"Relay.EXAMPLE", public},
		"unknown is public":      {"other.example", public},
		"none is public":         {"", public},
		"below is not internal":  {"x.eu-0.eu.moq.svc", public},
		"suffix is not internal": {"evil-eu.moq.svc", public},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, _, err := handshake(t, &tls.Config{ServerName: c.name, InsecureSkipVerify: true}, s.ServerTLS())
			if err != nil {
				t.Fatal(err)
			}
			if !got.PeerCertificates[0].Equal(c.want.cert) {
				t.Errorf("served %v, want %v", got.PeerCertificates[0].DNSNames, c.want.cert.DNSNames)
			}
			chosen, err := s.ServerTLS().GetConfigForClient(&tls.ClientHelloInfo{ServerName: c.name})
			if err != nil || !chosen.SessionTicketsDisabled {
				t.Errorf("tickets are given out (%v)", err)
			}
		})
	}
}

// TestS25Verify: a chain is held against the authorities as they are now, at the
// time when it was shown.
func TestS25Verify(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	old, next := issue(t, nil, "old"), issue(t, nil, "next")
	ofOld, ofNext := issue(t, old, "node"), issue(t, next, "node")
	file := d.write("ca.pem", old.certPEM)
	s := mustOpen(t, Config{SelfSign: []string{"localhost"}, Roots: []string{file}})
	now := time.Now()
	want := func(what string, oldOK, nextOK bool) {
		t.Helper()
		if err := s.Verify([]*x509.Certificate{ofOld.cert}, now); (err == nil) != oldOK {
			t.Errorf("%s: leaf of the old authority: %v", what, err)
		}
		if err := s.Verify([]*x509.Certificate{ofNext.cert}, now); (err == nil) != nextOK {
			t.Errorf("%s: leaf of the new authority: %v", what, err)
		}
	}
	want("at first", true, false)
	d.write("ca.pem", old.certPEM, next.certPEM)
	s.Reload()
	want("both", true, true)
	d.write("ca.pem", next.certPEM)
	s.Reload()
	want("the new one", false, true)
	if err := s.Verify(nil, now); err != nil {
		t.Errorf("a peer without a certificate: %v, want nothing to be said of it", err)
	}
	if err := s.Verify([]*x509.Certificate{ofNext.cert}, ofNext.cert.NotAfter.Add(-time.Second)); err != nil {
		t.Errorf("shown just before it expired: %v", err)
	}
}
