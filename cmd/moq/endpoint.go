package main

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// protocolWeb is what --protocol takes beside the names of protocols: any of
// them, but over WebTransport alone.
const protocolWeb = "h3"

// endpoint is where a URL leads.
type endpoint struct {
	url      *url.URL
	address  string // host:port
	kind     transport.Kind
	protocol string // the only one that is wanted; "" offers all
	// local says that the certificate is to be fetched over plain HTTP and pinned.
	local bool
	// only says that nothing but kind is to be tried.
	only bool

	family family // of the protocols that are offered

	spoken   string // the protocol that was agreed on, once that is
	fellBack bool   // over QUIC for want of WebTransport
}

// parseEndpoint reads the URL of a relay:
//
//	http://localhost:4443     QUIC to this machine, its certificate pinned
//	https://host:4443/path    WebTransport, or QUIC where that is not spoken
//	moqt://host:4443/path     QUIC, as moql:// and moqf:// are
//	wss://host:4443/path      WebSocket, for networks that let no UDP through
//	ws://localhost:4443       the same to this machine, in the clear
//
// What is spoken there is the newest protocol that both sides know, unless one is
// given.
func parseEndpoint(raw, protocol string) (endpoint, error) {
	const forms = "use http://localhost:PORT on this machine, https://HOST:PORT or moqt://HOST:PORT beyond it, wss://HOST:PORT where no UDP gets through"
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return endpoint{}, misused(forms, "%q is not the URL of a relay", raw)
	}
	e := endpoint{url: u}
	switch u.Scheme {
	case "http":
		e.local = true
		if err := mustBeLocal(u, "https"); err != nil {
			return endpoint{}, err
		}
	case "https":
		e.kind = transport.WebTransport
	case "ws":
		e.kind, e.only = transport.WebSocket, true
		if err := mustBeLocal(u, "wss"); err != nil {
			return endpoint{}, err
		}
	case "wss":
		e.kind, e.only = transport.WebSocket, true
	case "moqt", "moql", "moqf":
	default:
		return endpoint{}, misused(forms, "%s: %q is no scheme of a relay", raw, u.Scheme)
	}
	switch {
	case e.kind == transport.WebSocket && (protocol == protocolWeb || protocol == protocols.MoqTransfork):
		return endpoint{}, misused("give a version of moq-lite, or leave the flag out", "--protocol %s: not spoken over WebSocket", protocol)
	case protocol == protocolWeb:
		e.kind, e.only = transport.WebTransport, true
	case protocol == "" || slices.Contains(protocols.Names(), protocol):
		e.protocol = protocol
	default:
		return endpoint{}, misused(
			fmt.Sprintf("there are %s, and %s for any of them over WebTransport; without the flag it is the newest that both sides speak",
				strings.Join(protocols.Names(), ", "), protocolWeb),
			"--protocol %s: not spoken here", protocol)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	e.address = net.JoinHostPort(u.Hostname(), port)
	return e, nil
}

// mustBeLocal refuses a URL in the clear that leads beyond this machine, where
// another scheme is right.
func mustBeLocal(u *url.URL, safe string) error {
	switch {
	case !isLoopback(u.Hostname()):
		return misused(
			fmt.Sprintf("use %s://%s if its certificate is from a known authority, else add --tls-root FILE or --tls-fingerprint HEX to that", safe, u.Host),
			"%s: plain %s is for this machine only, it cannot tell who answers", u, u.Scheme)
	case u.Port() == "":
		return misused(fmt.Sprintf("use %s://%s:PORT with the port that the relay prints", u.Scheme, u.Host), "%s: the port is missing", u)
	default:
		return nil
	}
}

// over returns the endpoint with something else to carry the session.
func (e endpoint) over(kind transport.Kind) endpoint {
	e.kind = kind
	return e
}

// offer is what is offered to speak.
func (e endpoint) offer() protocols.Offer {
	switch {
	case e.protocol != "":
		return protocols.Only(e.protocol)
	case e.family == tracks:
		return protocols.Only(protocols.MoqTransfork)
	case e.family == broadcasts:
		return protocols.All().Without(protocols.MoqTransfork)
	default:
		return protocols.All()
	}
}

// family is a set of protocols in which a broadcast has the same name. Who follows
// from one relay to the next stays in one: while a cluster is upgraded some of its
// relays may know more than others.
type family uint8

// The families.
const (
	anyFamily  family = iota
	broadcasts        // of moq-lite
	tracks            // of MoqTransfork
)

func familyOf(protocol string) family {
	if protocol == protocols.MoqTransfork {
		return tracks
	}
	return broadcasts
}

// wanted names what is offered.
func (e endpoint) wanted() string {
	if e.protocol == "" {
		return "any protocol that this client does"
	}
	return e.protocol
}

// target is what transport.Dial gets.
func (e endpoint) target() string {
	if e.kind == transport.QUIC {
		return e.address
	}
	u := *e.url
	u.Scheme, u.Host = "https", e.address
	if e.url.Scheme == "ws" {
		u.Scheme = "http"
	}
	return u.String()
}

// requestPath is the path of the URL with its query, "" if there is none.
func (e endpoint) requestPath() string {
	if path := e.url.RequestURI(); path != "/" {
		return path
	}
	return ""
}

// carrier names the protocol and what carries it.
func (e endpoint) carrier() string {
	return e.spoken + " over " + e.kind.String()
}

// way is the carrier for people.
func (e endpoint) way() string {
	if e.fellBack {
		return e.carrier() + ", for want of webtransport"
	}
	return e.carrier()
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
