package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// dialFlags are the flags of every command that connects.
type dialFlags struct {
	roots       []string
	fingerprint string
	insecure    bool
	protocol    string
	timeout     time.Duration
	noReconnect bool

	isFollowing bool       // another relay is dialled when this one is lost
	family      family     // of the protocol that the first relay spoke
	self        origin.Hop // what announcements are known by, over all relays; see hop
}

// hop is what this process is known by to relays.
func (f *dialFlags) hop() origin.Hop {
	if f.self == 0 {
		f.self = origin.NewHop()
	}
	return f.self
}

func (f *dialFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.roots, "tls-root", nil, "trust the certificates of this PEM `FILE` instead of the system's; repeatable")
	fs.StringVar(&f.fingerprint, "tls-fingerprint", "", "trust the certificate with this SHA-256, in `HEX`, and no other")
	fs.BoolVar(&f.insecure, "tls-disable-verify", false, "trust any certificate")
	fs.StringVar(&f.protocol, "protocol", "", "speak `NAME` and nothing else: "+strings.Join(protocols.Names(), ", ")+
		"; or h3, any of them over WebTransport alone (default the newest that both sides speak)")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Second, "give up what is waited for after this time")
}

// registerFollow registers the flag of commands that follow.
func (f *dialFlags) registerFollow(fs *pflag.FlagSet) {
	fs.BoolVar(&f.noReconnect, "no-reconnect", false, "end when the session is lost, instead of dialling again")
}

// A relay that is gone is noticed within lossTimeout and keepAlive. Who follows
// loses little if that was too early, and much if it is late.
const (
	lossTimeout     = 10 * time.Second
	keepAlive       = 3 * time.Second
	followTimeout   = 1500 * time.Millisecond
	followKeepAlive = 500 * time.Millisecond

	maxFingerprint = 4 << 10 // bytes of the answer that holds it
)

// dial connects to a relay.
func (f *dialFlags) dial(ctx context.Context, raw string) (transport.Conn, endpoint, error) {
	if f.timeout <= 0 {
		return nil, endpoint{}, misused("give a time such as --timeout 10s", "--timeout %v: must be positive", f.timeout)
	}
	e, err := parseEndpoint(raw, f.protocol)
	if err != nil {
		return nil, e, err
	}
	e.family = f.family
	pins, err := f.pins()
	if err != nil {
		return nil, e, err
	}
	conf := &tls.Config{InsecureSkipVerify: f.insecure}
	if len(f.roots) > 0 {
		if conf.RootCAs, err = loadRoots(f.roots); err != nil {
			return nil, e, err
		}
	}
	isPlain := len(pins) == 0 && len(f.roots) == 0 && !f.insecure
	if e.local && isPlain {
		if pins, err = fetchFingerprints(ctx, e, f.timeout); err != nil {
			return nil, e, err
		}
	}
	var seen string // the fingerprint that did not match
	if len(pins) > 0 {
		pin(conf, pins, &seen)
	}
	conn, err := f.dialKind(ctx, e, conf)
	if errors.Is(err, transport.ErrALPN) && e.kind == transport.WebTransport && !e.only {
		// moq-relay 0.6.8 speaks a WebTransport that is too old, but QUIC as well.
		if raw, rawErr := f.dialKind(ctx, e.over(transport.QUIC), conf); rawErr == nil {
			conn, err = raw, nil
			e = e.over(transport.QUIC)
			e.fellBack = true
		}
	}
	if err != nil {
		return nil, e, dialFailure(ctx, e, err, seen)
	}
	settled, ok := e.offer().Settle(conn)
	if !ok {
		_ = conn.CloseWithError(closeNormal, "") // returns nil always
		return nil, e, dialFailure(ctx, e, transport.ErrALPN, "")
	}
	e.spoken = settled.Protocol()
	if f.isFollowing {
		f.family = familyOf(e.spoken)
	}
	return settled, e, nil
}

// dialKind dials by what carries the session.
func (f *dialFlags) dialKind(ctx context.Context, e endpoint, conf *tls.Config) (transport.Conn, error) {
	idle, alive := lossTimeout, keepAlive
	if f.isFollowing {
		idle, alive = followTimeout, followKeepAlive
	}
	return transport.Dial(ctx, e.target(), transport.DialConfig{
		TLS:                   conf,
		Protocols:             e.offer().QUIC(),
		WebTransport:          e.kind == transport.WebTransport,
		WebTransportProtocols: e.offer().Subprotocols(),
		WebSocket:             e.kind == transport.WebSocket,
		WebSocketProtocols:    e.offer().Subprotocols(),
		IdleTimeout:           idle,
		KeepAlive:             alive,
		HandshakeTimeout:      f.timeout,
	})
}

// pins reads --tls-fingerprint.
func (f *dialFlags) pins() ([]string, error) {
	if f.fingerprint == "" {
		return nil, nil
	}
	pin, ok := normalFingerprint(f.fingerprint)
	if !ok {
		return nil, misused("it is what the relay serves at "+config.PathFingerprint, "--tls-fingerprint %q: want 64 hexadecimal digits", f.fingerprint)
	}
	return []string{pin}, nil
}

// normalFingerprint takes colons and capitals out of a fingerprint.
func normalFingerprint(s string) (string, bool) {
	s = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	b, err := hex.DecodeString(s)
	return s, err == nil && len(b) == sha256.Size
}

func loadRoots(files []string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, failed(fmt.Errorf("--tls-root: %w", err), "give the PEM file of the authority that signed the relay's certificate")
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, failed(fmt.Errorf("--tls-root: %s holds no certificate", file), "give the PEM file of the authority that signed the relay's certificate")
		}
	}
	return pool, nil
}

// pin makes conf trust the certificates with these fingerprints and no other.
func pin(conf *tls.Config, pins []string, seen *string) {
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		sum := sha256.Sum256(state.PeerCertificates[0].Raw)
		got := hex.EncodeToString(sum[:])
		if !slices.Contains(pins, got) {
			*seen = got
			return fmt.Errorf("%w: its fingerprint is %s", transport.ErrCertificate, got)
		}
		return nil
	}
}

// fetchFingerprints asks a relay on this machine for its certificate's fingerprint.
func fetchFingerprints(ctx context.Context, e endpoint, timeout time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.address+config.PathFingerprint, http.NoBody)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	response, err := client.Do(request)
	if err != nil {
		return nil, connectFailure(ctx, e, fmt.Errorf("nothing answers on TCP port %s: %w", portOf(e), plainCause(err)),
			"start a relay there, for example: moq-relay --bind 127.0.0.1:%s --dev", portOf(e))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxFingerprint))
	if err != nil {
		return nil, connectFailure(ctx, e, err, "is it a moq-relay that listens there?")
	}
	var pins []string
	for field := range strings.FieldsSeq(string(body)) {
		if pin, ok := normalFingerprint(field); ok {
			pins = append(pins, pin)
		}
	}
	if response.StatusCode != http.StatusOK || len(pins) == 0 {
		return nil, connectFailure(ctx, e, fmt.Errorf("%s is not served there", config.PathFingerprint),
			"is it a moq-relay that listens there? for another one use https://%s with --tls-root FILE", e.url.Host)
	}
	return pins, nil
}

func portOf(e endpoint) string {
	_, port, _ := strings.Cut(e.address[strings.LastIndex(e.address, ":"):], ":")
	return port
}

// plainCause takes the request out of an error of package http, which repeats the URL.
func plainCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func connectFailure(ctx context.Context, e endpoint, err error, hint string, args ...any) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return errInterrupted
	}
	return failed(fmt.Errorf("connect %s: %w", e.url, err), hint, args...)
}

// errInterrupted is the end of a command that was interrupted before it did
// what it was asked.
var errInterrupted = &failure{err: errors.New("interrupted"), code: exitFailed}

// distrust says why a certificate is not trusted, without what carried that here.
func distrust(err error) error {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("its certificate is not trusted: %w", err)
}

// dialFailure says what a failed dial means for the user.
func dialFailure(ctx context.Context, e endpoint, err error, seen string) error {
	switch {
	case seen != "":
		return connectFailure(ctx, e, fmt.Errorf("the certificate's fingerprint is %s, another one is trusted", seen),
			"compare it with what the relay serves at %s, then give it as --tls-fingerprint", config.PathFingerprint)
	case errors.Is(err, transport.ErrCertificate) && isLoopback(e.url.Hostname()) && !e.local:
		return connectFailure(ctx, e, distrust(err),
			"use http://%s, which fetches its fingerprint, or name its authority with --tls-root FILE", e.address)
	case errors.Is(err, transport.ErrCertificate):
		return connectFailure(ctx, e, distrust(err),
			"name its authority with --tls-root FILE, or itself with --tls-fingerprint HEX")
	case errors.Is(err, transport.ErrALPN) && e.only:
		return connectFailure(ctx, e, errors.New("it does not speak WebTransport as it is now"),
			"leave --protocol %s out: QUIC is tried as well then", protocolWeb)
	case errors.Is(err, transport.ErrALPN) && e.protocol != "":
		return connectFailure(ctx, e, fmt.Errorf("it does not speak %s", e.protocol),
			"leave --protocol out: the newest is spoken then that it knows")
	case errors.Is(err, transport.ErrALPN):
		return connectFailure(ctx, e, fmt.Errorf("it does not speak %s", e.wanted()),
			"is it a relay? this client speaks %s", strings.Join(protocols.Names(), ", "))
	case errors.Is(err, transport.ErrUnreachable) && e.protocol != "":
		return connectFailure(ctx, e, fmt.Errorf("no answer to %s over QUIC", e.protocol),
			"does a relay run there that speaks it? some keep silent to what they do not speak: try without --protocol")
	case errors.Is(err, transport.ErrUnreachable):
		return connectFailure(ctx, e, errors.New("no answer over QUIC"),
			"does a relay run there, and does UDP port %s get through?", portOf(e))
	}
	if status, ok := errors.AsType[*transport.StatusError](err); ok {
		return connectFailure(ctx, e, status, "is the path of the URL right?")
	}
	return connectFailure(ctx, e, err, "is it a relay that listens there?")
}
