package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/moqrelay/moqrelay/relay/config"
)

// Sockets are what a relay listens on. TCP and Private may be nil.
type Sockets struct {
	UDP     net.PacketConn
	TCP     net.Listener
	Private net.Listener
}

// Listen opens the sockets of c: UDP and TCP on one port, and the private one.
func Listen(c config.Config) (Sockets, error) {
	s, err := listenPublic(c.Bind)
	if err != nil {
		return Sockets{}, fmt.Errorf("--bind %s: %w", c.Bind, err)
	}
	if c.PrivateBind == "" {
		return s, nil
	}
	var lc net.ListenConfig
	ctx := context.Background() //nolint:contextcheck // literal addresses: nothing to wait for
	s.Private, err = lc.Listen(ctx, "tcp", c.PrivateBind)
	if errors.Is(err, syscall.EAFNOSUPPORT) {
		s.Private, err = lc.Listen(ctx, "tcp", withoutIPv6(c.PrivateBind))
	}
	if err != nil {
		return Sockets{}, errors.Join(fmt.Errorf("--private-bind %s: %w", c.PrivateBind, err), s.Close())
	}
	return s, nil
}

// anyPortTries is how many ports are tried where any will do: the one that UDP gets
// may be taken for TCP.
const anyPortTries = 20

// listenPublic opens UDP and TCP on one port.
func listenPublic(bind string) (Sockets, error) {
	addr, err := netip.ParseAddrPort(bind)
	tries := 1
	if err == nil && addr.Port() == 0 {
		tries = anyPortTries
	}
	var s Sockets
	for range tries {
		if s, err = listenOnce(bind); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return s, err
}

func listenOnce(bind string) (Sockets, error) {
	var lc net.ListenConfig
	ctx := context.Background() //nolint:contextcheck // literal addresses: nothing to wait for
	udp, err := lc.ListenPacket(ctx, "udp", bind)
	if errors.Is(err, syscall.EAFNOSUPPORT) {
		udp, err = lc.ListenPacket(ctx, "udp", withoutIPv6(bind))
	}
	if err != nil {
		return Sockets{}, err
	}
	tcp, err := lc.Listen(ctx, "tcp", udp.LocalAddr().String())
	if err != nil {
		return Sockets{}, errors.Join(err, udp.Close())
	}
	return Sockets{UDP: udp, TCP: tcp}, nil
}

// withoutIPv6 returns the IPv4 form of an address that means any: on a machine
// without IPv6 the default would not do.
func withoutIPv6(bind string) string {
	addr, err := netip.ParseAddrPort(bind)
	if err != nil || addr.Addr() != netip.IPv6Unspecified() {
		return bind
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port()).String()
}

// Close closes the sockets.
func (s Sockets) Close() error {
	var errs []error
	if s.UDP != nil {
		errs = append(errs, s.UDP.Close())
	}
	if s.TCP != nil {
		errs = append(errs, s.TCP.Close())
	}
	if s.Private != nil {
		errs = append(errs, s.Private.Close())
	}
	return errors.Join(errs...)
}
