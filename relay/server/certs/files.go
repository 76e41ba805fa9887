package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// maxFile bounds what is read of a file: a chain or a bundle, not a disk.
const maxFile = 4 << 20

// pairSource reads one pair. Its fields belong to whoever holds the store's mu.
type pairSource struct {
	pair      Pair
	cert      *tls.Certificate // the last good one
	goodCert  []byte           // the files it was read from
	goodKey   []byte
	seenError error // what was wrong at the last look
}

// load reads the pair and says whether it holds a new one. The error of one
// broken content is returned once.
func (p *pairSource) load() (changed bool, err error) {
	cert, err := readFile("--tls-cert", p.pair.Cert, "a PEM certificate chain, leaf first")
	if err != nil {
		return false, once(&p.seenError, err)
	}
	key, err := readFile("--tls-key", p.pair.Key, "a PEM private key")
	if err != nil {
		return false, once(&p.seenError, err)
	}
	if p.cert != nil && bytes.Equal(cert, p.goodCert) && bytes.Equal(key, p.goodKey) {
		p.seenError = nil
		return false, nil
	}
	parsed, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, once(&p.seenError, p.explain(cert, key, err))
	}
	p.cert, p.goodCert, p.goodKey, p.seenError = &parsed, cert, key, nil
	return true, nil
}

// once returns err unless it is what was seen last.
func once(seen *error, err error) error {
	if *seen != nil && (*seen).Error() == err.Error() {
		return nil
	}
	*seen = err
	return err
}

// explain says which of the two files is to blame.
func (p *pairSource) explain(cert, key []byte, err error) error {
	leaf, _ := pem.Decode(cert)
	for leaf != nil && leaf.Type != "CERTIFICATE" {
		leaf, cert = pem.Decode(cert)
	}
	if leaf == nil {
		return fmt.Errorf("--tls-cert %q: no PEM certificate in it; give a certificate chain, leaf first", p.pair.Cert)
	}
	if _, parseErr := x509.ParseCertificate(leaf.Bytes); parseErr != nil {
		return fmt.Errorf("--tls-cert %q: %w; give a certificate chain, leaf first", p.pair.Cert, parseErr)
	}
	if !bytes.Contains(key, []byte("PRIVATE KEY-----")) {
		return fmt.Errorf("--tls-key %q: no PEM private key in it; give the key of --tls-cert %q", p.pair.Key, p.pair.Cert)
	}
	return fmt.Errorf("--tls-key %q: %w; give the key of --tls-cert %q, pairs go by position",
		p.pair.Key, err, p.pair.Cert)
}

// rootSource reads all files of roots. Its fields belong to whoever holds the store's mu.
type rootSource struct {
	files     []string
	pool      *x509.CertPool // the last good one; nil without files
	trust     []Fingerprint
	good      []byte // the files it was read from
	seenError error  // what was wrong at the last look
}

// load reads the files and says whether they hold new roots. The error of one
// broken content is returned once.
func (r *rootSource) load() (changed bool, err error) {
	if len(r.files) == 0 {
		return false, nil
	}
	pool := x509.NewCertPool()
	var all []byte
	var trust []Fingerprint
	for _, file := range r.files {
		b, err := readFile("--tls-root", file, "PEM certificates of trust anchors")
		if err != nil {
			return false, once(&r.seenError, err)
		}
		added, err := addRoots(pool, b)
		if err != nil {
			return false, once(&r.seenError, fmt.Errorf("--tls-root %q: %w", file, err))
		}
		all = append(all, b...)
		trust = append(trust, added...)
	}
	if r.pool != nil && bytes.Equal(all, r.good) {
		r.seenError = nil
		return false, nil
	}
	r.pool, r.trust, r.good, r.seenError = pool, trust, all, nil
	return true, nil
}

// addRoots adds every certificate of a PEM file and returns their fingerprints.
// One that does not parse is an error: silently trusting less than was asked for
// shows up as a link that fails somewhere else.
func addRoots(pool *x509.CertPool, b []byte) ([]Fingerprint, error) {
	var added []Fingerprint
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w; remove or replace it", len(added)+1, err)
		}
		pool.AddCert(c)
		added = append(added, sha256.Sum256(c.Raw))
	}
	if len(added) == 0 {
		return nil, errors.New("no PEM certificate in it; give certificates of trust anchors")
	}
	return added, nil
}

func readFile(flag, file, want string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s %q: %w; give %s", flag, file, cause(err), want)
	case info.IsDir():
		return nil, fmt.Errorf("%s %q: is a directory; give %s", flag, file, want)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s %q: larger than %d MiB; give %s", flag, file, maxFile>>20, want)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w; give %s", flag, file, cause(err), want)
	}
	return b, nil
}

// cause strips the operation and the path, which the message names itself.
func cause(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return noSuchFile{}
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// noSuchFile is fs.ErrNotExist in the words people know.
type noSuchFile struct{}

func (noSuchFile) Error() string { return "no such file" }
func (noSuchFile) Unwrap() error { return fs.ErrNotExist }

// normalName returns a server name as certificates are matched with it. Clients
// send it in any case.
func normalName(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
