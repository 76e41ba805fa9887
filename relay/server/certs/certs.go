// Package certs keeps the certificates that a relay serves and the roots it
// trusts, and builds TLS configurations from them for both roles.
//
// Files are read again when they change. What always holds: a file that cannot
// be used leaves what was read from it before in place, and no handshake sees a
// certificate with the key of another.
package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultInterval is how often files are looked at.
const DefaultInterval = 5 * time.Second

// maxChain is what fits in the three datagrams that a server may send before the
// client has proved its address (RFC 9000, section 8.1), beside the rest of its
// first flight.
const maxChain = 3000

// Pair names a PEM file with a certificate chain, leaf first, and one with its
// private key.
type Pair struct {
	Cert, Key string
}

// Config says what a [Store] holds.
type Config struct {
	// Pairs are the certificates to serve, in the order of preference.
	Pairs []Pair
	// SelfSign, if not empty, adds a certificate for these host names and addresses
	// after all pairs. It is made at start, is valid for 10 days, and is replaced
	// before that: for development.
	SelfSign []string
	// Roots are PEM files of trust anchors, each with any number of certificates.
	// None: the system's, and no client certificate is asked for.
	Roots []string
	// Interval is how often files are looked at. Zero: DefaultInterval.
	Interval time.Duration
	// Log is told of files that changed, broke or are about to expire. Nil: nobody is.
	Log *slog.Logger
}

// Fingerprint is the SHA-256 of a certificate, as browsers pin it.
type Fingerprint [sha256.Size]byte

// String returns the fingerprint as 64 lower-case hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// ParseFingerprint reads 64 hexadecimal digits of either case, with or without
// colons between the bytes.
func ParseFingerprint(s string) (Fingerprint, error) {
	var f Fingerprint
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	if err != nil || len(b) != len(f) {
		return f, fmt.Errorf("fingerprint %q is not a SHA-256 of 64 hexadecimal digits", s)
	}
	return Fingerprint(b), nil
}

// Certificate describes one certificate that is served.
type Certificate struct {
	// File is the file of the chain, "" for the self-signed certificate.
	File string
	// Names are the host names and addresses it is valid for.
	Names []string
	// NotAfter is when it expires.
	NotAfter time.Time
	// Fingerprint is that of the leaf.
	Fingerprint Fingerprint
}

// Store holds certificates and roots. Its methods may be called concurrently.
type Store struct {
	// Static after construction.
	config Config
	log    *slog.Logger
	keyLog io.WriteCloser // SSLKEYLOGFILE, or nil

	current atomic.Pointer[snapshot]

	mu      sync.Mutex // held while reloading
	pairs   []*pairSource
	roots   *rootSource
	changed chan struct{} // closed at the next change
}

// snapshot is what one handshake sees. It is immutable.
type snapshot struct {
	certs []*tls.Certificate
	infos []Certificate
	roots *x509.CertPool // nil without Roots
	trust []Fingerprint  // of what is in roots
	sign  *tls.Certificate
}

// Open reads all files. It starts nothing: Run looks for changes.
func Open(c Config) (*Store, error) {
	if c.Interval <= 0 {
		c.Interval = DefaultInterval
	}
	s := &Store{config: c, log: c.Log, changed: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var errs []error
	for _, p := range c.Pairs {
		source := &pairSource{pair: p}
		_, err := source.load()
		errs = append(errs, err)
		s.pairs = append(s.pairs, source)
	}
	s.roots = &rootSource{files: c.Roots}
	_, err := s.roots.load()
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := s.publish(nil); err != nil {
		return nil, err
	}
	if s.keyLog, err = openKeyLog(os.Getenv("SSLKEYLOGFILE")); err != nil {
		return nil, err
	}
	for _, p := range s.pairs {
		s.warn(p)
	}
	return s, nil
}

// openKeyLog opens the file that TLS secrets are appended to, so that a capture
// can be read. The environment variable is what browsers and curl use.
func openKeyLog(file string) (io.WriteCloser, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("SSLKEYLOGFILE %q: %w; unset it or name a file that can be written", file, cause(err))
	}
	return f, nil
}

// Close closes the key log. Configurations made before must not be used after.
func (s *Store) Close() error {
	if s.keyLog == nil {
		return nil
	}
	return s.keyLog.Close()
}

// Run reads files again when they have changed, until ctx is done.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.config.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.Reload()
		}
	}
}

// Reload looks at all files now.
func (s *Store) Reload() {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := s.reloadRootsLocked()
	for _, p := range s.pairs {
		changed = s.reloadPairLocked(p) || changed
	}
	old := s.current.Load()
	if !changed && !isStale(old.sign) {
		return
	}
	if err := s.publish(old.sign); err != nil {
		s.log.Error("certificates not replaced", "error", err)
		return
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) reloadPairLocked(p *pairSource) bool {
	changed, err := p.load()
	if err != nil {
		s.log.Error("certificate not reloaded, the last good one stays", "error", err)
		return false
	}
	if changed {
		info := describe(p.pair.Cert, p.cert)
		s.log.Info("certificate reloaded", "file", info.File, "fingerprint", info.Fingerprint.String(), "expires", info.NotAfter)
		s.warn(p)
	}
	return changed
}

func (s *Store) reloadRootsLocked() bool {
	changed, err := s.roots.load()
	if err != nil {
		s.log.Error("roots not reloaded, the last good ones stay", "error", err)
		return false
	}
	if changed {
		s.log.Info("roots reloaded", "certificates", len(s.roots.trust))
	}
	return changed
}

// warn points at what will be noticed elsewhere.
func (s *Store) warn(p *pairSource) {
	if expires := p.cert.Leaf.NotAfter; time.Now().After(expires) {
		s.log.Warn("certificate has expired", "file", p.pair.Cert, "expired", expires)
	}
	size := 0
	for _, der := range p.cert.Certificate {
		size += len(der)
	}
	if size > maxChain {
		s.log.Warn("certificate chain is long: each handshake waits one round trip more; use ECDSA and leave the root out",
			"file", p.pair.Cert, "bytes", size)
	}
}

// publish makes what the sources hold visible to handshakes, with the given
// self-signed certificate if it will do for a while.
func (s *Store) publish(sign *tls.Certificate) error {
	next := &snapshot{roots: s.roots.pool, trust: s.roots.trust}
	for _, p := range s.pairs {
		next.certs = append(next.certs, p.cert)
		next.infos = append(next.infos, describe(p.pair.Cert, p.cert))
	}
	if len(s.config.SelfSign) > 0 {
		if sign == nil || isStale(sign) {
			var err error
			if sign, err = selfSign(s.config.SelfSign, time.Now()); err != nil {
				return err
			}
		}
		next.sign = sign
		next.certs = append(next.certs, sign)
		next.infos = append(next.infos, describe("", sign))
	}
	s.current.Store(next)
	return nil
}

// Changed is closed when certificates or roots have changed next.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Certificates describes what is served, in the order of preference.
func (s *Store) Certificates() []Certificate {
	return append([]Certificate(nil), s.current.Load().infos...)
}

// Roots are the fingerprints of the authorities that are trusted now, in the
// order of the files; none where the system's are.
func (s *Store) Roots() []Fingerprint {
	return append([]Fingerprint(nil), s.current.Load().trust...)
}

// For describes the certificate that a client gets which asks for host.
func (s *Store) For(host string) Certificate {
	now := s.current.Load()
	chosen, _ := now.choose(host) // Open refuses to hold none
	for i, c := range now.certs {
		if c == chosen {
			return now.infos[i]
		}
	}
	return Certificate{}
}

// Fingerprints are those of all leaves, in the order of preference.
func (s *Store) Fingerprints() []Fingerprint {
	var list []Fingerprint
	for _, c := range s.current.Load().infos {
		list = append(list, c.Fingerprint)
	}
	return list
}

func describe(file string, c *tls.Certificate) Certificate {
	names := append([]string(nil), c.Leaf.DNSNames...)
	for _, ip := range c.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return Certificate{File: file, Names: names, NotAfter: c.Leaf.NotAfter, Fingerprint: sha256.Sum256(c.Leaf.Raw)}
}
