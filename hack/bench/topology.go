package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// topology is the relays of one round. The publisher is at the first, the
// viewers are at the last.
type topology struct {
	relays []*process // without the root
	root   *process   // nil with one hop
	pool   *x509.CertPool
	speak  protocol // of publisher and viewers
}

// all returns every process, the root first.
func (t *topology) all() []*process {
	if t.root == nil {
		return t.relays
	}
	return append([]*process{t.root}, t.relays...)
}

func (t *topology) edge() *process { return t.relays[len(t.relays)-1] }

func (t *topology) stop() {
	for _, r := range t.all() {
		r.stop()
	}
}

// launch starts the relays of a round and waits until they answer.
func launch(ctx context.Context, o options, p program, dir string) (*topology, error) {
	certs, err := makeCertificates(dir)
	if err != nil {
		return nil, err
	}
	t := &topology{pool: certs.pool, speak: o.speak}
	run := func(node string, cluster ...string) *process {
		if err != nil {
			return nil
		}
		var r *process
		r, err = startNode(ctx, o, p, certs, node, cluster)
		return r
	}
	if o.hops == 1 {
		t.relays = []*process{run("relay")}
	} else {
		t.root = run("root", "")
		root := ""
		if err == nil {
			root = t.root.addr
		}
		t.relays = []*process{run("a", root), run("b", root)}
	}
	if err != nil {
		t.relays = deleteNil(t.relays)
		t.stop()
		return nil, err
	}
	return t, nil
}

func deleteNil(all []*process) []*process {
	var left []*process
	for _, r := range all {
		if r != nil {
			left = append(left, r)
		}
	}
	return left
}

// startNode starts one relay. The cluster, if any, is the address of its root,
// or "" for the root itself.
func startNode(ctx context.Context, o options, p program, certs certificates, node string, cluster []string) (*process, error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	args := p.args(addr, certs)
	for _, root := range cluster {
		if root == "" {
			root = addr
		}
		args = append(args, "--cluster-root", root, "--cluster-node", addr)
	}
	private := ""
	if p.ours {
		if private, err = freeAddr(ctx); err != nil {
			return nil, err
		}
		args = append(args, "--private-bind", private)
	}
	r, err := start(p, node, addr, private, o.pin, args...)
	if err != nil {
		return nil, err
	}
	if err := awaitReady(ctx, r, certs.pool, o.speak); err != nil {
		r.stop()
		return nil, fmt.Errorf("%s does not serve: %w\n%s", node, err, r.log)
	}
	return r, nil
}

// awaitReady waits until a session can be opened.
func awaitReady(ctx context.Context, r *process, pool *x509.CertPool, speak protocol) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		attempt, stop := context.WithTimeout(ctx, 2*time.Second)
		c, err := connect(attempt, r.addr, pool, speak)
		stop()
		if err == nil {
			c.close()
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.done:
			return errors.New("it has ended")
		case <-ctx.Done():
			return err
		}
	}
}

// freeAddr returns a loopback address that is free for UDP and TCP.
func freeAddr(ctx context.Context) (string, error) {
	var listen net.ListenConfig
	for {
		udp, err := listen.ListenPacket(ctx, "udp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr := udp.LocalAddr().String()
		tcp, err := listen.Listen(ctx, "tcp", addr)
		udp.Close()
		if err != nil {
			continue // taken; the next one differs
		}
		tcp.Close()
		return addr, nil
	}
}

// certificates are the files of an authority of our own and of the one
// certificate that all relays of a round share.
type certificates struct {
	ca, cert, key string
	pool          *x509.CertPool
}

func makeCertificates(dir string) (certificates, error) {
	c := certificates{
		ca: filepath.Join(dir, "ca.pem"), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"),
		pool: x509.NewCertPool(),
	}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	if err != nil {
		return c, err
	}
	if authority, err = x509.ParseCertificate(caDER); err != nil {
		return c, err
	}
	c.pool.AddCert(authority)
	der, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), caKey)
	if err != nil {
		return c, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return c, err
	}
	return c, errors.Join(
		writePEM(c.ca, "CERTIFICATE", caDER), writePEM(c.cert, "CERTIFICATE", der), writePEM(c.key, "PRIVATE KEY", keyDER))
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
