// Package relay is one relay, put together: sockets below, sessions and the
// cluster above, and what it tells the outside world beside. A frame's way
// leads through the folders in one direction:
//
//	transport ─► session ─► moq (a track, shared) ─► session ─► transport
//	                 └► origin: what is announced where, and which way to it
//
//	server   accepts connections and answers over HTTP
//	cluster  tells peers from clients and keeps a link to every other node
//	config   says what the relay was told; metrics counts what it does
//
// What always holds: what a peer does ends its session at most; memory is
// bounded by the configuration and not by peers; and Run returns only when
// everything that it started has ended.
package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"golang.org/x/sync/errgroup"

	"github.com/moqrelay/moqrelay/relay/cluster"
	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/qlog"
	"github.com/moqrelay/moqrelay/relay/server"
	"github.com/moqrelay/moqrelay/relay/server/certs"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// Version is set by the build.
var Version = "development"

// links is what nodes offer each other: the newest, and what relays of others
// know.
var links = protocols.All()

// controlBurst is how many seconds' worth of control messages may come at once.
const controlBurst = 5

// A node that is gone is noticed by the others within these two: links are few
// and carry what many watch.
const (
	linkTimeout   = 2 * time.Second
	linkKeepAlive = 500 * time.Millisecond
)

// Environment is what a relay finds around it.
type Environment struct {
	// Sockets to serve on; Run closes them.
	Sockets Sockets
	// Log gets what the relay has to say.
	Log *slog.Logger
	// Resolve finds the addresses of other nodes; nil asks the system.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// CreateQlog makes a file for qlog; nil makes one on disk.
	CreateQlog func(path string) (io.WriteCloser, error)
}

// Relay is one relay.
type Relay struct {
	// Static after New.
	config   config.Config
	env      Environment
	hop      origin.Hop
	certs    *certs.Store
	table    *origin.Table
	budget   *moq.Budget
	metrics  *metrics.Relay
	qlog     *qlog.Directory // nil without --qlog-dir
	endpoint *transport.Endpoint
	cluster  *cluster.Cluster
	server   *server.Server
}

// New returns a relay that Run starts. It reads the certificates and begins to
// answer on the UDP socket.
func New(c config.Config, env Environment) (*Relay, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	hop := origin.NewHop()
	if c.ClusterNode != "" {
		hop = origin.HopOf(c.ClusterNode)
	}
	r := &Relay{
		config:  c,
		env:     env,
		hop:     hop,
		table:   origin.New(origin.Config{Self: hop, MaxAnnouncements: clientLimits(c).ClientPaths()}),
		budget:  moq.NewBudget(memoryLimit(c)),
		metrics: metrics.New(),
	}
	r.metrics.LookUp(metrics.Scraped{CacheBytes: r.budget.Used, BudgetBytes: r.budget.Max, Broadcasts: r.countBroadcasts})
	var err error
	if r.qlog, err = r.openQlog(); err != nil {
		return nil, err
	}
	if r.certs, err = openCertificates(c, env.Log); err != nil {
		return nil, err
	}
	if r.endpoint, err = r.listen(); err != nil {
		return nil, errors.Join(err, r.certs.Close())
	}
	if r.cluster, err = cluster.New(r.clusterConfig()); err != nil {
		return nil, errors.Join(err, r.endpoint.Close(), r.certs.Close())
	}
	r.server = server.New(r.serverConfig())
	return r, nil
}

// Run serves until ctx is done, then stops gracefully; hard cuts that short.
func (r *Relay) Run(ctx, hard context.Context) error {
	live, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	stopQlog := r.runQlog(live)
	group, live := errgroup.WithContext(live)
	group.Go(func() error { return r.cluster.Run(live) })
	group.Go(func() error { return r.certs.Run(live) })
	group.Go(func() error { return r.watchCertificates(live) })
	group.Go(func() error {
		defer stop()
		return r.server.Run(ctx, hard)
	})
	r.env.Log.Info("relay started", "bind", r.endpoint.Addr().String(), "node", r.config.ClusterNode, "region", r.config.Region, "version", Version)
	err := group.Wait()
	r.env.Log.Info("relay stopped")
	err = errors.Join(err, r.endpoint.Close())
	stopQlog()
	return errors.Join(err, r.certs.Close(), closeSockets(r.env.Sockets))
}

// closeSockets closes what others may have closed before.
func closeSockets(s Sockets) error {
	if err := s.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Peers returns what this node knows of the others.
func (r *Relay) Peers() []cluster.PeerStatus { return r.cluster.Peers() }

// CloseLink ends the session with another node, which is dialled again.
func (r *Relay) CloseLink(node string) { r.cluster.CloseLink(node) }

// Announcements returns everything that is announced at this node.
func (r *Relay) Announcements() []origin.Announcement { return r.table.Snapshot() }

// Metrics returns the relay's metrics.
func (r *Relay) Metrics() *metrics.Relay { return r.metrics }

// Certificates returns what the relay serves.
func (r *Relay) Certificates() []certs.Certificate { return r.certs.Certificates() }

func openCertificates(c config.Config, log *slog.Logger) (*certs.Store, error) {
	cc := certs.Config{SelfSign: c.TLSSelfSign, Roots: c.TLSRoot, Log: log}
	for i, cert := range c.TLSCert {
		cc.Pairs = append(cc.Pairs, certs.Pair{Cert: cert, Key: c.TLSKey[i]})
	}
	if c.Dev && len(cc.Pairs) == 0 && len(cc.SelfSign) == 0 {
		cc.SelfSign = []string{"localhost", "127.0.0.1", "::1"}
	}
	return certs.Open(cc)
}

func (r *Relay) listen() (*transport.Endpoint, error) {
	c := r.config
	return transport.Listen(r.env.Sockets.UDP, transport.ServerConfig{
		Protocols:    protocols.All().QUIC(),
		WebTransport: true,

		WebTransportProtocols: protocols.All().Subprotocols(),
		WebSocketProtocols:    protocols.All().Subprotocols(),

		TLS:              r.certs.ServerTLS(),
		Limits:           r.transportLimits(),
		IdleTimeout:      c.IdleTimeout,
		KeepAlive:        c.KeepAlive,
		HandshakeTimeout: c.HandshakeTimeout,
		Qlog:             r.qlog,
		Log:              r.env.Log,
	})
}

func (r *Relay) transportLimits() transport.Limits {
	return transport.Limits{
		MaxStreams:    int64(r.config.MaxStreams),
		MaxUniStreams: int64(r.config.MaxStreams),
		ReceiveBudget: uint64(r.budget.Max()),
	}
}

// clientLimits are the limits of a client's session.
func clientLimits(c config.Config) session.Limits {
	return session.Limits{
		Paths: c.MaxPaths, Subscriptions: c.MaxSubscriptions, Interests: c.MaxInterests,
		ControlRate: c.MaxControlRate, ControlBurst: controlBurst * c.MaxControlRate,
	}
}

func (r *Relay) clusterConfig() cluster.Config {
	c := r.config
	limits := clientLimits(c)
	trackLimits := moq.DefaultLimits()
	trackLimits.MaxFrameSize, trackLimits.MaxGroupBytes = int64(c.MaxFrameSize), int64(c.MaxGroupSize)
	trackLimits.QueuedBytes = int64(c.QueueLimit)
	return cluster.Config{
		Node:   c.ClusterNode,
		Roots:  c.ClusterRoot,
		Open:   c.ClusterOpen,
		Linger: c.AnnounceLinger, Silence: max(linkTimeout, 2*c.KeepAlive),
		Table: r.table,
		Session: session.Config{
			Hop:    r.hop,
			Park:   func(track *moq.Track, publisher origin.Hop) { r.table.Park(track, publisher, c.AnnounceLinger) },
			Budget: r.budget, TrackLimits: trackLimits, Limits: limits,
			Retention: c.CacheRetention, Linger: c.SubscriptionLinger, HandshakeTimeout: c.HandshakeTimeout,
			Log: r.env.Log, Metrics: r.metrics,
		},
		PeerLimits: limits.ForNode(),
		Client:     protocols.Client,
		Server:     protocols.Server,
		Resolve:    r.env.Resolve,
		Dial:       r.dial,
		Metrics:    r.metrics,
		Log:        r.env.Log,
	}
}

// dial connects to another node over raw QUIC, from the socket that this relay
// listens on, and shows who we are.
func (r *Relay) dial(ctx context.Context, node string) (transport.Conn, error) {
	host, port, err := config.SplitHost(node)
	if err != nil {
		return nil, err
	}
	return r.endpoint.Dial(ctx, net.JoinHostPort(host, strconv.Itoa(int(port))), transport.DialConfig{
		TLS:              r.certs.ClientTLS(certs.ClientOptions{Present: true, DisableVerify: r.config.TLSDisableVerify}),
		Protocols:        links.QUIC(),
		Limits:           r.transportLimits(),
		IdleTimeout:      min(r.config.IdleTimeout, linkTimeout),
		KeepAlive:        min(r.config.KeepAlive, linkKeepAlive),
		HandshakeTimeout: r.config.HandshakeTimeout,
		Resolve:          r.env.Resolve,
	})
}

// watchCertificates keeps the metrics true and closes the links of nodes that an
// authority vouched for which is not trusted any more. It closes nothing when one
// is added, or when a leaf is replaced.
func (r *Relay) watchCertificates(ctx context.Context) error {
	for {
		changed := r.certs.Changed()
		r.countCertificates()
		r.cluster.CloseUntrusted(r.certs.Verify)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// countCertificates shows the certificate of each plane: the first one is what we
// prove ourselves to other nodes with, the last one what everybody sees who asks
// for no name that another one has.
func (r *Relay) countCertificates() {
	served := r.certs.Certificates()
	if len(served) == 0 {
		return
	}
	first, last := served[0], served[len(served)-1]
	r.metrics.SetCertificate(metrics.Internal, first.Fingerprint.String(), first.NotAfter)
	r.metrics.SetCertificate(metrics.Public, last.Fingerprint.String(), last.NotAfter)
}

// memoryLimit returns the bytes that cached frames may take: what was told, or
// half of what the process may use.
func memoryLimit(c config.Config) int64 {
	if c.MemoryLimit > 0 {
		return int64(c.MemoryLimit)
	}
	const fallback = 512 << 20
	for _, provider := range []memlimit.Provider{memlimit.FromCgroup, memlimit.FromSystem} {
		if n, err := provider(); err == nil && n > 0 && n < 1<<62 {
			return int64(n / 2)
		}
	}
	return fallback
}

func (r *Relay) countBroadcasts() (local, node int) {
	for _, a := range r.table.Snapshot() {
		switch a.Class {
		case origin.Client:
			local++
		case origin.Peer:
			node++
		default: // this node's own presence
		}
	}
	return local, node
}
