package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const defaultPort = 443

// target is what a dial is for.
type target struct {
	host string // name or IP literal, without brackets
	port uint16
	url  *url.URL // nil if the address is host:port alone
}

// parseTarget reads "host:port", "[::1]:port" or a URL, whose port is 443 if it
// has none.
func parseTarget(addr string) (target, error) {
	var t target
	hostPort := addr
	if strings.Contains(addr, "://") {
		u, err := url.Parse(addr)
		if err != nil {
			return target{}, fmt.Errorf("address %q is no URL: %w", addr, err)
		}
		t.url = u
		hostPort = u.Host
		if u.Port() == "" {
			hostPort = net.JoinHostPort(u.Hostname(), strconv.Itoa(defaultPort))
		}
	}
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil || host == "" {
		return target{}, fmt.Errorf("address %q has no host and port; write host:port, [ipv6]:port or a URL", addr)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return target{}, fmt.Errorf("address %q: port %q is not between 1 and 65535", addr, port)
	}
	t.host, t.port = host, uint16(n)
	return t, nil
}

// serverName is the host as a certificate has it.
func (t target) serverName() string {
	if ip, err := netip.ParseAddr(t.host); err == nil {
		return ip.WithZone("").String()
	}
	return strings.ToLower(strings.TrimSuffix(t.host, "."))
}

// resolve returns the addresses to try, best first.
func (t target) resolve(
	ctx context.Context, lookup func(context.Context, string) ([]netip.Addr, error),
) ([]netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(t.host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), t.port)}, nil
	}
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	ips, err := lookup(ctx, t.host)
	if err == nil && len(ips) == 0 {
		err = errors.New("no addresses")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: host %q: %w", ErrUnreachable, t.host, err)
	}
	addrs := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), t.port))
	}
	return addrs, nil
}
