package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/moqrelay/moqrelay/relay/transport"
)

// privatePaths are all that the private port answers and the public one must
// not.
var privatePaths = []string{
	"/metrics", "/nodes", "/sessions", "/broadcasts",
	"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap", "/debug/pprof/goroutine", "/debug/pprof/symbol",
}

// TestS24Listeners scans what a relay answers, and where: over TCP plain and
// with TLS, over HTTP/3, and on the private port, which is not there unless
// asked for.
func TestS24Listeners(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p := startRelay(t, ca)
	verified := &tls.Config{RootCAs: ca.pool}
	h3 := &http3.Transport{TLSClientConfig: verified}
	defer func() { _ = h3.Close() }()
	public := map[string]struct {
		client *http.Client
		scheme string
	}{
		"plain":  {client, "http://"},
		"TLS":    {&http.Client{Transport: &http.Transport{TLSClientConfig: verified, DisableKeepAlives: true}}, "https://"},
		"HTTP/3": {&http.Client{Transport: h3}, "https://"},
	}
	for name, way := range public {
		for _, path := range append(privatePaths, "/drain", "/", "//metrics", "/livez/../metrics", "/%6detrics") {
			status, body, err := do(t, way.client, http.MethodGet, way.scheme+p.addr+path)
			if err != nil || status != http.StatusNotFound || strings.Contains(body, "moq_relay") {
				t.Errorf("%s %s: status %d, %v", name, path, status, err)
			}
		}
		if status, _, err := do(t, way.client, http.MethodPost, way.scheme+p.addr+"/drain"); status != http.StatusNotFound {
			t.Errorf("%s POST /drain: status %d, %v", name, status, err)
		}
	}
	for _, path := range append(privatePaths, "/livez", "/readyz") {
		if status, _, err := get(t, "http://"+p.private+path); status != http.StatusOK {
			t.Errorf("private %s: status %d, %v", path, status, err)
		}
	}
	if status, _, err := get(t, "http://"+p.private+"/drain"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET /drain: status %d, %v", status, err)
	}
	if status, _, _ := get(t, "http://"+p.private+"/certificate.sha256"); status != http.StatusNotFound {
		t.Errorf("private /certificate.sha256: status %d", status)
	}

	alone := newRelay(t, ca)
	alone.args = append([]string{"--private-bind="}, alone.args[:2]...)
	alone.args = append(alone.args, "--tls-cert", alone.pair.cert, "--tls-key", alone.pair.key)
	alone.start()
	alone.awaitReady()
	if status, _, err := get(t, "http://"+alone.private+"/metrics"); err == nil {
		t.Errorf("without --private-bind: status %d", status)
	}
	if status, _, _ := get(t, "http://"+alone.addr+"/metrics"); status != http.StatusNotFound {
		t.Errorf("without --private-bind the public port answers /metrics with %d", status)
	}
}

// TestS23Secrets: a token in the URL of a session and the private key are found
// in nothing that the relay says, even at its most talkative and when things
// go wrong.
func TestS23Secrets(t *testing.T) {
	t.Parallel()
	const token = "canary-Zx81kP0qRt-token"
	ca := newAuthority(t)
	written := t.TempDir()
	p := startRelay(t, ca, "-vv", "--handshake-timeout", "1s", "--qlog-dir", written)
	publish(t, ca, p, "demo")
	withToken := "https://" + p.addr + "/room/" + token + "?jwt=" + token
	v := joinURL(t, ca, withToken, overWebTransport)
	v.receive(promptly, "demo")
	v.Publish("from-token")
	// Sessions that fail, each in its own way, with the token in their URL.
	silent, _ := dialURL(t, ca, withToken, overWebTransport)
	broken, _ := dialURL(t, ca, withToken, overWebTransport)
	open(t, broken, []byte{0x09})
	reasons := []string{wantClosed(t, silent, promptly).Error(), wantClosed(t, broken, promptly).Error()}
	h3 := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool}}
	defer func() { _ = h3.Close() }()
	_, refused, err := do(t, &http.Client{Transport: h3}, http.MethodPost, withToken)
	if err != nil {
		t.Fatal(err)
	}
	// A key that cannot be used, beside one that can.
	key := readFile(t, p.pair.key)
	copyFile(t, ca.issue(t, "localhost").key, p.pair.key)
	within(t, 2*promptly, "the broken pair is noticed", func() bool { return p.logged("certificate not reloaded") })
	foreign := readFile(t, p.pair.key)

	said := map[string]string{"the reasons of closed sessions": strings.Join(reasons, "\n"), "the answer to a request": refused}
	for _, path := range privatePaths {
		said[path] = p.get(path)
	}
	said["/debug/pprof/goroutine?debug=2"] = p.get("/debug/pprof/goroutine?debug=2")
	v.Close()
	p.signal(sigterm)
	p.awaitExit(promptly)
	said["the log"] = p.output.String()
	said["qlog"] = contents(t, written)
	code, stdout, stderr := execute(t, "--bind", "127.0.0.1:0", "--tls-cert", p.pair.cert, "--tls-key", p.pair.key)
	said["the refusal to start"] = stdout + stderr
	if code != 1 {
		t.Errorf("a key of another certificate: exit code %d", code)
	}

	canaries := append(parts(key), parts(foreign)...)
	canaries = append(canaries, token, url.QueryEscape(token))
	for where, text := range said {
		if len(text) == 0 && where != "the refusal to start" {
			t.Errorf("%s says nothing", where)
		}
		for _, canary := range canaries {
			if strings.Contains(text, canary) {
				t.Errorf("%s tells %q", where, canary)
			}
		}
	}
	if !strings.Contains(said["the log"], "DEBUG") {
		t.Error("the log is not at its most talkative")
	}
	if !strings.Contains(said["qlog"], `"transport":"webtransport"`) || !strings.Contains(said["qlog"], "transport:packet_received") {
		t.Error("qlog has no session over WebTransport")
	}
}

// contents are those of all files in a directory, one after the other.
func contents(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		all.Write(readFile(t, filepath.Join(dir, file.Name())))
	}
	return all.String()
}

// parts returns a private key in pieces, in hex and base64. The first piece is
// the same in every key.
func parts(file []byte) []string {
	const size = 24
	block, _ := pem.Decode(file)
	var all []string
	for part := range slices.Chunk(block.Bytes[size:], size) {
		all = append(all, hex.EncodeToString(part), base64.StdEncoding.EncodeToString(part))
	}
	return all
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// copyFile replaces a file as a whole, as kubelets and certificate managers do.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.WriteFile(to+".new", readFile(t, from), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

// fingerprint is that of the certificate which the relay tells browsers to pin.
func fingerprint(t *testing.T, p *process) string {
	t.Helper()
	status, body, err := get(t, "http://"+p.addr+"/certificate.sha256")
	if status != http.StatusOK {
		t.Fatalf("/certificate.sha256: status %d, %v", status, err)
	}
	return body
}

// leafOf is the fingerprint of the certificate that a new connection is shown.
func leafOf(t *testing.T, ca *authority, p *process) string {
	t.Helper()
	var leaf string
	conn, _ := dial(t, ca, p, func(c *transport.DialConfig) {
		c.TLS.VerifyConnection = func(s tls.ConnectionState) error {
			sum := sha256.Sum256(s.PeerCertificates[0].Raw)
			leaf = hex.EncodeToString(sum[:])
			return nil
		}
	})
	_ = conn.CloseWithError(0, "")
	return leaf
}
