package resources

import (
	"math"
	"net"
	"path"
	"strconv"
	"time"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/relay/config"
)

// Ports of a relay in a pod. The public one needs no privilege; users reach it
// through the port of the spec.
const (
	PortRelay   = 4443
	PortPrivate = 9090
)

// Files of a relay's certificate folder.
const (
	FileCert       = "tls.crt"    // internal plane
	FileKey        = "tls.key"    //
	FileTrust      = "ca.crt"     // authorities of the internal plane
	FilePublicCert = "public.crt" // public plane, if there is one
	FilePublicKey  = "public.key" //
)

// loopback is where the private port of a relay in the network of its machine
// is: no NetworkPolicy would keep anybody from it.
const loopback = "127.0.0.1"

// podDir is the certificate folder in a pod.
const podDir = "/etc/moq-relay/tls"

// ArgPodName is what Kubernetes puts the pod's own name for into an argument.
const ArgPodName = "$(" + envPodName + ")"

// Layout is where a relay listens, where it finds its files, and under which
// names nodes know each other. It is all that differs between a pod and a
// process on a laptop.
type Layout struct {
	Bind        string   // literal address of UDP and TCP
	PrivateBind string   // literal address of the private port
	Dir         string   // certificate folder
	Node        string   // host:port under which others dial the relay
	Roots       []string // host:port of every root
}

// PodLayout returns the layout of the pods of a set.
func PodLayout(s Set) Layout {
	l := Layout{
		Bind:        anyAddress(s.relayPort()),
		PrivateBind: anyAddress(s.privatePort()),
		Dir:         podDir,
		Node:        s.HostOf(ArgPodName),
		Roots:       Roots(s.Cluster),
	}
	if s.onHost() {
		l.PrivateBind = net.JoinHostPort(loopback, strconv.Itoa(int(s.privatePort())))
	}
	return l
}

func anyAddress(port int32) string { return net.JoinHostPort("::", strconv.Itoa(int(port))) }

// onHost reports whether the relays are in the network of their machine.
func (s Set) onHost() bool { return s.Exposure.Mode == v1alpha1.ExposureHostNetwork }

// relayPort returns the port on which the relays listen.
func (s Set) relayPort() int32 {
	if s.onHost() {
		return s.Exposure.HostPort
	}
	return PortRelay
}

// privatePort returns the private port of the relays. On a machine each set has
// one of its own, as `moq up` does it.
func (s Set) privatePort() int32 {
	const away = 10000
	switch {
	case !s.onHost():
		return PortPrivate
	case s.Exposure.HostPort+away <= math.MaxUint16:
		return s.Exposure.HostPort + away
	default:
		return s.Exposure.HostPort - away
	}
}

// IsPrivateReachable reports whether the operator reaches the private port of
// the relays.
func (s Set) IsPrivateReachable() bool { return !s.onHost() }

// RelayConfig returns the configuration of a relay of the set. It is the one
// bridge from the spec to the relay.
func RelayConfig(s Set, l Layout) config.Config {
	c := config.Default()
	c.Bind = l.Bind
	c.PrivateBind = l.PrivateBind
	// A relay shows the first certificate to other relays, and serves the last
	// one to those who ask for no name that it knows: those are users.
	c.TLSCert = []string{path.Join(l.Dir, FileCert)}
	c.TLSKey = []string{path.Join(l.Dir, FileKey)}
	if s.Cluster.Spec.TLS.Public != nil {
		c.TLSCert = append(c.TLSCert, path.Join(l.Dir, FilePublicCert))
		c.TLSKey = append(c.TLSKey, path.Join(l.Dir, FilePublicKey))
	}
	c.TLSRoot = []string{path.Join(l.Dir, FileTrust)}
	c.ClusterRoot = l.Roots
	c.ClusterNode = l.Node
	c.Region = s.Region
	c.DrainTimeout = time.Duration(s.Cluster.Spec.Drain.GoawaySeconds) * time.Second
	return c
}

// Args returns the command line of a relay of the set: its configuration, and
// then the flags that the user added.
func Args(s Set, l Layout) []string {
	return append(RelayConfig(s, l).Args(), s.Pod.ExtraArgs...)
}
