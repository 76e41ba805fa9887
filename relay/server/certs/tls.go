package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
)

// ServerTLS returns a configuration for listeners. It follows the store's
// changes by itself.
//
// With Roots, a client may present a certificate, which must then be one of
// theirs. There are no session tickets: sessions are long, and a ticket would
// carry a client's identity past a change of the roots.
func (s *Store) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			now := s.current.Load()
			cert, err := now.choose(hello.ServerName)
			if err != nil {
				return nil, err
			}
			c := s.base()
			c.Certificates = []tls.Certificate{*cert}
			if now.roots != nil {
				c.ClientCAs = now.roots
				c.ClientAuth = tls.VerifyClientCertIfGiven
			}
			return c, nil
		},
	}
}

func (s *Store) base() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	if s.keyLog != nil {
		c.KeyLogWriter = s.keyLog
	}
	return c
}

// choose returns the first certificate whose leaf is valid for the server name,
// else the last.
func (n *snapshot) choose(serverName string) (*tls.Certificate, error) {
	if len(n.certs) == 0 {
		return nil, errors.New("no certificate to serve: give --tls-cert and --tls-key")
	}
	if name := normalName(serverName); name != "" {
		for _, c := range n.certs {
			if c.Leaf.VerifyHostname(name) == nil {
				return c, nil
			}
		}
	}
	return n.certs[len(n.certs)-1], nil
}

// ClientOptions say how [Store.ClientTLS] treats the peer.
type ClientOptions struct {
	// Present has us show our first pair to a server that asks for a certificate of
	// an authority that signed it.
	Present bool
	// Pinned, if not empty, accepts exactly the certificates with these fingerprints,
	// whoever signed them and whatever their names.
	Pinned []Fingerprint
	// DisableVerify accepts any certificate.
	DisableVerify bool
}

// ClientTLS returns a configuration for one dial. It holds the roots of this
// moment, so make a new one for the next. The peer's certificate must be valid
// for the host and lead to Roots, or to the system's if there are none.
func (s *Store) ClientTLS(o ClientOptions) *tls.Config {
	now := s.current.Load()
	c := s.base()
	c.RootCAs = now.roots
	if o.Present && len(now.certs) > 0 {
		c.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			first := s.current.Load().certs[0]
			if asked.SupportsCertificate(first) != nil {
				// One of another authority would be refused, none at all may do.
				return new(tls.Certificate), nil //nolint:nilerr // why it is not supported does not matter
			}
			return first, nil
		}
	}
	if o.DisableVerify || len(o.Pinned) > 0 {
		c.InsecureSkipVerify = true //nolint:gosec // asked for, or replaced by VerifyConnection
	}
	if !o.DisableVerify && len(o.Pinned) > 0 {
		c.VerifyConnection = func(state tls.ConnectionState) error { return verifyPinned(o.Pinned, state) }
	}
	return c
}

func verifyPinned(pinned []Fingerprint, state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	got := Fingerprint(sha256.Sum256(state.PeerCertificates[0].Raw))
	if !slices.Contains(pinned, got) {
		return fmt.Errorf("the server's certificate has the fingerprint %s, which is not the one expected", got)
	}
	return nil
}
