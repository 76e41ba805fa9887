// Package relaytest runs relays on a simulated network, in one process and in
// fake time, for tests that read as stories: publish, subscribe, lose a node,
// continue. It stands on top of package relay and is imported by tests only.
//
// What always holds: a test runs in a synctest bubble, so an hour of network is
// a moment of testing; every relay and client that a test started has ended
// before the test does.
package relaytest

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// Port is the port of every relay.
const Port = 4443

// Network is a simulated network with a name service and a certificate
// authority.
type Network struct {
	t    *testing.T
	cut  *cutter
	dir  string // certificates
	link simnet.NodeBiDiLinkSettings

	ports atomic.Int32 // of sockets of clients; the last one given out

	mu     sync.Mutex
	hosts  map[string]netip.Addr
	issuer *Authority // of leaves
}

// NewNetwork returns a network on which a packet takes latency from any socket
// to any other. Call it inside the bubble.
func NewNetwork(t *testing.T, latency time.Duration) *Network {
	t.Helper()
	cut := &cutter{dead: make(map[netip.Addr]bool), pairs: make(map[[2]netip.Addr]bool), opening: make(map[netip.AddrPort]bool)}
	n := &Network{
		t:     t,
		cut:   cut,
		dir:   t.TempDir(),
		hosts: make(map[string]netip.Addr),
	}
	n.ports.Store(10000)
	n.link = simnet.NodeBiDiLinkSettings{Latency: latency}
	n.Trust(n.NewAuthority())
	return n
}

// socket returns a new socket at the address of host.
func (n *Network) socket(host string, port int) *simnet.SimConn {
	n.t.Helper()
	sim := &simnet.Simnet{Router: n.cut} // one per socket, as they come and go
	at := netip.AddrPortFrom(n.addr(host), uint16(port))
	n.cut.setOpening(at, true) // until it is there as a whole
	defer n.cut.setOpening(at, false)
	n.cut.setDead(n.addr(host), false)
	conn := sim.NewEndpoint(&net.UDPAddr{IP: n.addr(host).AsSlice(), Port: port}, n.link)
	if err := sim.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = sim.Close() })
	return conn
}

// addr returns the address of host, a new one for a new host.
func (n *Network) addr(host string) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, ok := n.hosts[host]
	if !ok {
		a = netip.AddrFrom4([4]byte{192, 0, 2, byte(len(n.hosts) + 1)}) // TEST-NET-1
		n.hosts[host] = a
	}
	return a
}

// resolve is the name service.
func (n *Network) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	return []netip.Addr{n.addr(host)}, nil
}

// Partition loses every packet between the two hosts until Heal.
func (n *Network) Partition(a, b string) { n.cut.set(n.addr(a), n.addr(b), true) }

// Heal ends a Partition.
func (n *Network) Heal(a, b string) { n.cut.set(n.addr(a), n.addr(b), false) }

// cutter is a router that loses the packets of dead hosts and of partitions.
type cutter struct {
	simnet.PerfectRouter

	mu      sync.Mutex
	dead    map[netip.Addr]bool
	pairs   map[[2]netip.Addr]bool
	opening map[netip.AddrPort]bool
}

// SendPacket delivers p unless it is to be lost.
func (c *cutter) SendPacket(p simnet.Packet) error {
	socket := addrOf(p.To)
	from, to := addrOf(p.From).Addr(), socket.Addr()
	c.mu.Lock()
	lost := c.dead[from] || c.dead[to] || c.pairs[pair(from, to)] || c.opening[socket]
	c.mu.Unlock()
	if lost {
		return nil
	}
	return c.PerfectRouter.SendPacket(p)
}

func (c *cutter) set(a, b netip.Addr, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pairs[pair(a, b)] = lost
}

func (c *cutter) setDead(a netip.Addr, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead[a] = dead
}

func (c *cutter) setOpening(a netip.AddrPort, opening bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if opening {
		c.opening[a] = true
	} else {
		delete(c.opening, a)
	}
}

func pair(a, b netip.Addr) [2]netip.Addr {
	if b.Less(a) {
		a, b = b, a
	}
	return [2]netip.Addr{a, b}
}

func addrOf(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		panic("BUG: a packet with the address " + a.String())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// log returns a logger of the test, for host.
func (n *Network) log(host string) *slog.Logger {
	return slog.New(slog.NewTextHandler(n.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", host)
}
