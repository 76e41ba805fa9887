// Package config is what a relay can be told: one Config, the flag and the
// environment variable of each field, and the names of the ports and probe
// paths that the outside world relies on. It stands below everything else and
// is the one bridge between the operator and the relay: the operator renders a
// container's arguments with Config.Args, and Parse(c.Args()) is c again, so a
// renamed flag breaks the build and not a cluster.
//
// A Config is read once, validated once and never modified afterwards.
package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Names of the ports of a relay, as used in Services, probes and policies.
const (
	PortQUIC    = "quic"    // UDP: raw QUIC and WebTransport
	PortHTTP    = "http"    // TCP of the same number: fingerprint, health, what is announced, groups, WebSockets
	PortPrivate = "private" // TCP: metrics, sessions, nodes, profiles
)

// Paths that a relay answers over HTTP.
const (
	PathLive           = "/livez"              // public and private: the process runs
	PathReady          = "/readyz"             // public and private: sessions are accepted
	PathFingerprint    = "/certificate.sha256" // public: SHA-256 of the leaf that browsers are to pin, hex
	PathFingerprint068 = "/fingerprint"        // public: the same, where moq-relay 0.6.8 has it
	PathAnnounced      = "/announced"          // public: what is announced at and below the path behind it
	PathFetch          = "/fetch"              // public: a group of the track whose path is behind it
	PathMetrics        = "/metrics"            // private: Prometheus
	PathNodes          = "/nodes"              // private: this node and its peers, JSON
	PathSessions       = "/sessions"           // private: every session, JSON
	PathBroadcasts     = "/broadcasts"         // private: what is announced and watched, JSON
)

// Bytes is a number of bytes; on the command line it may carry a unit, as in
// 512MiB.
type Bytes int64

// Config is everything a relay can be told. The zero value of a field is not
// its default: start from Default.
type Config struct {
	// Bind is the UDP and TCP address of the relay, a literal ip:port.
	Bind string
	// PrivateBind is the TCP address of metrics, sessions, nodes and profiles;
	// empty serves none of them.
	PrivateBind string

	// TLSCert and TLSKey are PEM files, paired by position.
	TLSCert []string
	TLSKey  []string
	// TLSRoot holds PEM files of trust anchors: for links that the relay
	// dials, and for the client certificates of its peers.
	TLSRoot []string
	// TLSDisableVerify makes dialled links accept any certificate.
	TLSDisableVerify bool
	// TLSSelfSign lists host names for a certificate made at start, for
	// development.
	TLSSelfSign []string

	// ClusterRoot lists the roots, host or host:port, that introduce this
	// node to the others.
	ClusterRoot []string
	// ClusterNode is the host or host:port under which others dial this node.
	ClusterNode string
	// ClusterOpen takes unauthenticated relays for peers, as moq-relay 0.6.x
	// does.
	ClusterOpen bool
	// Region names where this node stands; it is shown, never interpreted.
	Region string

	// Dev serves a self-signed certificate for localhost when none is given.
	Dev bool
	// Verbose and Quiet count -v and -q.
	Verbose int
	Quiet   int
	// LogFormat is auto, text or json; auto is text on a terminal.
	LogFormat string

	// QlogDir is where a qlog file of each session is written; empty writes none.
	QlogDir string
	// QlogSample is the fraction of connections that are written, 0 to 1.
	QlogSample float64
	// QlogMax bounds all qlog files together that a process writes.
	QlogMax Bytes

	// IdleTimeout ends a connection that is silent for so long.
	IdleTimeout time.Duration
	// KeepAlive is the time between pings on a silent connection.
	KeepAlive time.Duration
	// HandshakeTimeout bounds the way from the first packet to a session.
	HandshakeTimeout time.Duration
	// DrainTimeout bounds a graceful stop.
	DrainTimeout time.Duration
	// SubscriptionLinger keeps an upstream subscription after its last
	// subscriber has left.
	SubscriptionLinger time.Duration
	// AnnounceLinger keeps the announcements of a peer whose link was lost.
	AnnounceLinger time.Duration
	// CacheRetention keeps groups older than a track's newest one.
	CacheRetention time.Duration

	// MemoryLimit bounds all cached frames; 0 is half of the cgroup's or the
	// machine's memory.
	MemoryLimit Bytes
	// QueueLimit bounds the unsent bytes of one subscription; beyond it whole
	// groups are dropped, oldest first.
	QueueLimit Bytes
	// MaxFrameSize and MaxGroupSize bound what a publisher may send.
	MaxFrameSize Bytes
	MaxGroupSize Bytes
	// MaxSessions bounds the sessions of the relay.
	MaxSessions int
	// MaxStreams bounds the streams that a peer may have open, of each kind.
	MaxStreams int
	// MaxPaths bounds the paths that one session may announce.
	MaxPaths int
	// MaxSubscriptions bounds the subscriptions of one session.
	MaxSubscriptions int
	// MaxInterests bounds the announce interests of one session.
	MaxInterests int
	// MaxControlRate bounds the control messages of one session per second;
	// five times as many may come in a burst.
	MaxControlRate int
}

// Default returns the configuration of a relay that was told nothing. The
// limits are those of a relay on the open internet.
func Default() Config {
	return Config{
		Bind:               "[::]:443",
		LogFormat:          "auto",
		QlogSample:         1,
		QlogMax:            1 << 30,
		IdleTimeout:        10 * time.Second,
		KeepAlive:          time.Second,
		HandshakeTimeout:   10 * time.Second,
		DrainTimeout:       10 * time.Second,
		SubscriptionLinger: 2 * time.Second,
		AnnounceLinger:     5 * time.Second,
		CacheRetention:     3 * time.Second,
		QueueLimit:         8 << 20,
		MaxFrameSize:       32 << 20,
		MaxGroupSize:       64 << 20,
		MaxSessions:        10000,
		MaxStreams:         1024,
		MaxPaths:           1000,
		MaxSubscriptions:   1000,
		MaxInterests:       64,
		MaxControlRate:     200,
	}
}

// BindAddr returns the address of Bind.
func (c Config) BindAddr() netip.AddrPort { return netip.MustParseAddrPort(c.Bind) }

// IsRoot reports whether the node introduces others: it was given no root, or
// is itself among the roots.
func (c Config) IsRoot() bool {
	return len(c.ClusterRoot) == 0 || slices.Contains(c.ClusterRoot, c.ClusterNode)
}

// SplitHost splits a host or host:port of a cluster flag; the port defaults to
// 443.
func SplitHost(hostport string) (host string, port uint16, err error) {
	if addr, err := netip.ParseAddr(hostport); err == nil {
		return addr.String(), 443, nil
	}
	host, digits, err := net.SplitHostPort(hostport)
	if err != nil {
		if _, _, retry := net.SplitHostPort(hostport + ":443"); retry != nil || hostport == "" {
			return "", 0, fmt.Errorf("%q is no host or host:port", hostport)
		}
		return hostport, 443, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("%q is no host or host:port", hostport)
	}
	return host, uint16(n), nil
}
