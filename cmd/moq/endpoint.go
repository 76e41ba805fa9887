package main

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// ALPNs that --protocol takes.
const (
	protocolRaw = "moqf-02" // MoqTransfork on QUIC
	protocolWeb = "h3"      // the same in a WebTransport session
)

// endpoint is where a URL leads.
type endpoint struct {
	url      *url.URL
	address  string // host:port
	protocol string
	// local says that the certificate is to be fetched over plain HTTP and pinned.
	local bool
}

// parseEndpoint reads the URL of a relay:
//
//	http://localhost:4443     QUIC to this machine, its certificate pinned
//	https://host:4443/path    WebTransport, or QUIC where that is not spoken
//	moqf://host:4443          QUIC
//
// A protocol that is given beats that of the scheme.
func parseEndpoint(raw, protocol string) (endpoint, error) {
	const forms = "use http://localhost:PORT on this machine, https://HOST:PORT or moqf://HOST:PORT beyond it"
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return endpoint{}, misused(forms, "%q is not the URL of a relay", raw)
	}
	e := endpoint{url: u, protocol: protocol}
	preferred := protocolRaw
	switch u.Scheme {
	case "http":
		e.local = true
		if !isLoopback(u.Hostname()) {
			return endpoint{}, misused(
				fmt.Sprintf("use https://%s if its certificate is from a known authority, else add --tls-root FILE or --tls-fingerprint HEX to that", u.Host),
				"%s: plain http is for this machine only, it cannot tell who answers", raw)
		}
		if u.Port() == "" {
			return endpoint{}, misused(fmt.Sprintf("use http://%s:PORT with the port that the relay prints", u.Host), "%s: the port is missing", raw)
		}
	case "https":
		preferred = protocolWeb
	case "moqf":
	default:
		return endpoint{}, misused(forms, "%s: %q is no scheme of a relay", raw, u.Scheme)
	}
	switch e.protocol {
	case "":
		e.protocol = preferred
	case protocolRaw, protocolWeb:
	default:
		return endpoint{}, misused(
			fmt.Sprintf("%s is QUIC, %s is WebTransport; without the flag the URL decides", protocolRaw, protocolWeb),
			"--protocol %s: not spoken here", e.protocol)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	e.address = net.JoinHostPort(u.Hostname(), port)
	return e, nil
}

// with returns the endpoint with another protocol.
func (e endpoint) with(protocol string) endpoint {
	e.protocol = protocol
	return e
}

// target is what transport.Dial gets.
func (e endpoint) target() string {
	if e.protocol != protocolWeb {
		return e.address
	}
	u := *e.url
	u.Scheme, u.Host = "https", e.address
	return u.String()
}

// carrier names what carries the protocol.
func (e endpoint) carrier() string {
	if e.protocol == protocolWeb {
		return protocolRaw + " over webtransport"
	}
	return protocolRaw + " over quic"
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
