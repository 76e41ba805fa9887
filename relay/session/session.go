// Package session is what server and cluster see of a connection once it
// speaks a protocol: one interface over all of them, and the configuration that
// says what its peer may do. The protocols themselves are the packages below.
//
// A session has two halves. The publisher half tells the peer what is announced
// in [Config].Out and serves its subscriptions from there. The subscriber half
// puts what the peer announces into [Config].In, with the session as source,
// and subscribes at the peer whenever a track of it is asked for.
//
// What always holds: a broken or hostile peer ends its own session and no
// other; everything that a session started has ended when Run returns.
package session

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// Session is one connection after its transport is set up.
type Session interface {
	// Run does the handshake and serves the peer until the session ends: by
	// ctx, by Close, or by the peer. It returns why, nil if ctx was the reason.
	Run(ctx context.Context) error
	// Source subscribes at the peer, whether the path is announced or not. All
	// who ask for one path share one subscription.
	origin.Source
	// Close ends the session with a code of its protocol.
	Close(code uint32, reason string)
	// GoAway tells the peer, as far as the protocol knows how, that it should
	// find another place. What it has here goes on.
	GoAway()
	// GoingAway is closed when the peer has said that we should.
	GoingAway() <-chan struct{}
	// Drain does what GoAway does, takes no new subscription, and returns when
	// the groups that are under way have been delivered and no subscription is
	// left, or when ctx is done. It does not close the session.
	Drain(ctx context.Context)
	// Node is the mark by which the peer named itself in the handshake, and ""
	// before that or if it gave none.
	Node() string
	// Ready is closed when the handshake is done.
	Ready() <-chan struct{}
	// Stats are counts for people to look at.
	Stats() Stats
}

// Stats are what a session has going on.
type Stats struct {
	Subscriptions int   // that the peer has here
	Publishes     int   // paths that the peer announces
	QueuedBytes   int64 // that wait to be sent to the peer
}

// Defaults of Config.
const (
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultLinger           = 2 * time.Second
)

// Config says what a session may do and with what. Zero values are the
// defaults.
type Config struct {
	// In takes what the peer announces. Nil: the peer is not asked.
	In *origin.Table
	// Out is what the peer is told of and where its subscriptions go. Nil: it is
	// told of nothing.
	Out *origin.Table
	// Class is that of the peer's announcements.
	Class origin.Class
	// Interest is the prefix of the announcements that the peer is asked for.
	Interest moq.Path
	// Node is our own mark, told in the handshake. Empty: none.
	Node string
	// Hop is our own hop, told to peers whose protocol has hops. Zero: none.
	Hop origin.Hop
	// RequestPath is the path and query of the URL that was dialled, for protocols
	// on raw QUIC that tell it in the handshake. Empty: none.
	RequestPath string
	// KnowPeer says that a session that was dialled is ready only when the peer has
	// said who it is, in protocols that have it say so. Peers of Class Peer are
	// waited for in any case.
	KnowPeer bool
	// Park takes a track that somebody is subscribed to and whose publisher, a hop
	// that is known, was lost with the session. It may be resumed by another. Nil:
	// such tracks end.
	Park func(track *moq.Track, publisher origin.Hop)
	// Hold is how long what a publisher announced that was lost, and whose hop is
	// known, stands after its session.
	Hold time.Duration
	// Identify says whether a peer of Class Peer is a node, by its mark. It is called
	// once, in the handshake, before anything else of the session is served. Nil: it
	// is one.
	Identify func(mark string) bool
	// Visible says what the peer may see and subscribe. Nil: everything.
	Visible func(origin.Announcement) bool
	// Told says what of that the peer is told of: what is not can be subscribed by
	// its name. Nil: all.
	Told func(origin.Announcement) bool
	// Accept says whether the peer may announce a path. Nil: any.
	Accept func(moq.Path) error

	// Budget, TrackLimits and Retention are those of the tracks that the peer
	// publishes.
	Budget      *moq.Budget
	TrackLimits moq.Limits
	Retention   time.Duration
	// Linger is how long a subscription at the peer outlives its last
	// subscriber here. Default 2 s; negative: not at all.
	Linger time.Duration
	// HandshakeTimeout bounds the session's handshake, from the first packet of
	// the connection on. Default 10 s.
	HandshakeTimeout time.Duration
	// Limits bound what the peer may have going on, NodeLimits what one may that
	// Identify says is a node. Default of the latter: the former.
	Limits, NodeLimits Limits

	// Log is where the session writes. Nil: nowhere.
	Log *slog.Logger
	// Metrics are counted in. Nil: in some that nobody reads.
	Metrics *metrics.Relay
}

// Limits bound what one peer may have going on. Beyond them its streams are
// refused or its session ends. Zero values are those of [ClientLimits].
type Limits struct {
	// Paths is how many paths the peer may announce. The session of a client ends
	// beyond that; what a node has more is refused.
	Paths int
	// Subscriptions is how many subscriptions, fetches and requests for info the
	// peer may have open.
	Subscriptions int
	// Interests is how many prefixes of announcements the peer may ask for. A client
	// that asks for several is told of no more than 100 times Paths on all of them.
	Interests int
	// ControlRate is how many control messages per second are read, after a
	// burst of ControlBurst. A peer that sends more is read more slowly, and
	// the session of a client ends when it has not stopped after ten seconds. A
	// node says what many clients do.
	ControlRate, ControlBurst int
}

// ClientLimits are the limits of a peer that is a client.
func ClientLimits() Limits {
	return Limits{Paths: 1000, Subscriptions: 1000, Interests: 64, ControlRate: 200, ControlBurst: 1000}
}

// ForNode returns the limits of a peer that is a node of the cluster, which
// stands for many clients with limits of l.
func (l Limits) ForNode() Limits {
	const clients = 100
	return Limits{
		Paths:         clients * l.Paths,
		Subscriptions: clients * l.Subscriptions,
		Interests:     clients * l.Interests,
		ControlRate:   clients * l.ControlRate,
		ControlBurst:  clients * l.ControlBurst,
	}
}

// ClientPaths is how many paths all clients of a node may announce together, each
// with limits of l: less than another node takes from it, so that room is left for
// what it passes on.
func (l Limits) ClientPaths() int { return l.ForNode().Paths / 10 * 9 }

// discarded are the metrics of sessions without.
var discarded = sync.OnceValue(metrics.New)

// Know settles who the peer is by its mark, and with that its limits. It reports
// whether it is a node.
func (c *Config) Know(mark string) bool {
	if c.Class != origin.Peer || !c.Identify(mark) {
		return false
	}
	c.Limits = c.NodeLimits
	return true
}

// WithDefaults returns c with its zero values filled in.
func (c Config) WithDefaults() Config {
	c.HandshakeTimeout = cmp.Or(max(c.HandshakeTimeout, 0), DefaultHandshakeTimeout)
	c.Linger = cmp.Or(c.Linger, DefaultLinger)
	c.Limits = c.Limits.withDefaults()
	if c.NodeLimits == (Limits{}) {
		c.NodeLimits = c.Limits
	}
	c.NodeLimits = c.NodeLimits.withDefaults()
	if c.Identify == nil {
		c.Identify = func(string) bool { return true }
	}
	if c.Visible == nil {
		c.Visible = func(origin.Announcement) bool { return true }
	}
	if c.Told == nil {
		c.Told = func(origin.Announcement) bool { return true }
	}
	if c.Accept == nil {
		c.Accept = func(moq.Path) error { return nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = discarded()
	}
	return c
}

func (l Limits) withDefaults() Limits {
	d := ClientLimits()
	return Limits{
		Paths:         cmp.Or(l.Paths, d.Paths),
		Subscriptions: cmp.Or(l.Subscriptions, d.Subscriptions),
		Interests:     cmp.Or(l.Interests, d.Interests),
		ControlRate:   cmp.Or(l.ControlRate, d.ControlRate),
		ControlBurst:  cmp.Or(l.ControlBurst, d.ControlBurst),
	}
}
