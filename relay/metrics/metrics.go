// Package metrics holds everything that a relay counts. It stands beside
// session and above; the core below does not know it.
//
// What always holds: a metric in the list below is moved by this relay; every
// known set of labels exists from the start, at zero, so that a rate is right
// from the first event on; no label carries what a peer chose.
package metrics

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const namespace = "moq_relay"

// Relay is the metrics of one relay. Its methods may be called concurrently.
type Relay struct {
	registry *prometheus.Registry

	sessions         *prometheus.GaugeVec     // protocol, transport, peer
	sessionsOpened   *prometheus.CounterVec   // protocol, transport, peer
	sessionsClosed   *prometheus.CounterVec   // reason
	sessionsRefused  *prometheus.CounterVec   // reason
	handshakeSeconds *prometheus.HistogramVec // transport
	goaways          *prometheus.CounterVec   // direction
	panics           prometheus.Counter
	qlogDropped      *prometheus.CounterVec // reason
	draining         prometheus.Gauge

	joinSeconds      prometheus.Histogram
	subscribeSeconds prometheus.Histogram
	subscriptions    *prometheus.GaugeVec   // side
	subscribeErrors  *prometheus.CounterVec // reason
	announcements    *prometheus.CounterVec // action

	ingressBytes, ingressFrames, ingressGroups *prometheus.CounterVec   // peer
	egressBytes, egressFrames, egressGroups    *prometheus.CounterVec   // peer
	groupAgeSeconds                            *prometheus.HistogramVec // peer
	groupsDropped                              *prometheus.CounterVec   // reason
	cacheRequests                              *prometheus.CounterVec   // result

	rttSeconds               *prometheus.HistogramVec // peer
	packetsSent, packetsLost *prometheus.CounterVec   // peer

	rootConnected     *prometheus.GaugeVec   // root
	peers             *prometheus.GaugeVec   // state
	peerDials         *prometheus.CounterVec // result
	certificateExpiry *prometheus.GaugeVec   // plane
	certificateInfo   *prometheus.GaugeVec   // plane, fingerprint

	scraped atomic.Pointer[Scraped]

	mu    sync.Mutex
	roots map[string]struct{} // labels of rootConnected
}

// Scraped are values that are not counted but looked up when the metrics are
// read. A nil function means that there is nothing to look up.
type Scraped struct {
	// CacheBytes and BudgetBytes are what all cached frames take and may take.
	CacheBytes, BudgetBytes func() int64
	// Broadcasts is the number of broadcasts announced by clients of this relay
	// and by other nodes.
	Broadcasts func() (local, node int)
}

// New returns the metrics of a relay, all at zero, in a registry of their own.
func New() *Relay {
	registry := prometheus.NewRegistry()
	l := list{registry}
	byKind, byPeer := []string{"protocol", "transport", "peer"}, []string{"peer"}
	r := &Relay{
		registry: registry,
		roots:    make(map[string]struct{}),

		sessions:         l.gauges("sessions", "Sessions that are open.", byKind...),
		sessionsOpened:   l.counters("sessions_opened_total", "Sessions whose handshake was finished.", byKind...),
		sessionsClosed:   l.counters("sessions_closed_total", "Sessions that ended, by what ended them.", "reason"),
		sessionsRefused:  l.counters("sessions_refused_total", "Connections that did not become a session, by what was missing.", "reason"),
		handshakeSeconds: l.histograms("handshake_seconds", "Time from a connection's first stream to the end of the session's handshake.", handshakeBuckets, "transport"),
		goaways:          l.counters("goaways_total", "Sessions whose peer was told to go elsewhere (sent), or with nodes that said so (received).", "direction"),
		panics:           l.counter("panics_total", "Sessions that ended by a panic, which is a bug of this relay."),
		qlogDropped:      l.counters("qlog_events_dropped_total", "Events that are in no qlog file: the disk was slower than they came (queue), files are as large as they may be (limit) or cannot be written (disk), or by a bug (encode).", "reason"),
		draining:         l.gauge("draining", "1 while the relay is stopping gracefully."),

		joinSeconds:      l.histogram("join_seconds", "Time from a SUBSCRIBE that arrives to its first frame that leaves.", joinBuckets),
		subscribeSeconds: l.histogram("subscribe_seconds", "Time from a SUBSCRIBE that is sent to its answer.", joinBuckets),
		subscriptions:    l.gauges("subscriptions", "Subscriptions at publishers (up) and of subscribers (down).", "side"),
		subscribeErrors:  l.counters("subscribe_errors_total", "Subscriptions of subscribers that were refused or failed.", "reason"),
		announcements:    l.counters("announcements_total", "Announcements and withdrawals that arrived, and announcements that were not passed on because clients of this relay, or a node, have announced too many (refuse).", "action"),

		ingressBytes:    l.counters("ingress_bytes_total", "Payload bytes received.", byPeer...),
		ingressFrames:   l.counters("ingress_frames_total", "Frames received.", byPeer...),
		ingressGroups:   l.counters("ingress_groups_total", "Groups whose stream was opened by a publisher, or that came in a datagram.", byPeer...),
		egressBytes:     l.counters("egress_bytes_total", "Payload bytes sent.", byPeer...),
		egressFrames:    l.counters("egress_frames_total", "Frames sent.", byPeer...),
		egressGroups:    l.counters("egress_groups_total", "Groups whose stream was opened for a subscriber, or that went out in a datagram.", byPeer...),
		groupAgeSeconds: l.histograms("group_age_seconds", "Time from a live frame's arrival to its hand-over to QUIC, sampled.", ageBuckets, byPeer...),
		groupsDropped:   l.counters("groups_dropped_total", "Groups that were not delivered, or not to their end, per subscriber.", "reason"),
		cacheRequests:   l.counters("cache_requests_total", "Subscriptions and fetches, by whether the group they start with was cached.", "result"),

		rttSeconds:  l.histograms("quic_rtt_seconds", "Smoothed round trip time of each session, every 10 seconds.", rttBuckets, byPeer...),
		packetsSent: l.counters("quic_packets_sent_total", "QUIC packets sent.", byPeer...),
		packetsLost: l.counters("quic_packets_lost_total", "QUIC packets declared lost.", byPeer...),

		rootConnected:     l.gauges("root_connected", "1 while there is a link to the root.", "root"),
		peers:             l.gauges("peers", "Nodes that this one knows, by whether there is a link.", "state"),
		peerDials:         l.counters("peer_dials_total", "Dials of other nodes.", "result"),
		certificateExpiry: l.gauges("certificate_expiry_timestamp_seconds", "When the served certificate expires.", "plane"),
		certificateInfo:   l.gauges("certificate_info", "1, with the SHA-256 of the served certificate in the labels.", "plane", "fingerprint"),
	}
	r.lookUp(l)
	r.preset()
	r.buildInfo(l)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Buckets of the classic histograms, in seconds. The native ones beside them
// have a resolution of a tenth.
var (
	handshakeBuckets = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	joinBuckets      = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10}
	ageBuckets       = []float64{.001, .0025, .005, .01, .025, .05, .1, .2, .3, .5, 1, 5}
	rttBuckets       = []float64{.0005, .001, .005, .01, .025, .05, .1, .2, .3, .5, 1, 2}
)

// lookUp registers the values that are read at each scrape.
func (r *Relay) lookUp(l list) {
	r.scraped.Store(&Scraped{})
	l.gaugeFunc("cache_bytes", "Bytes of all cached frames.", nil, func() float64 {
		return number(r.scraped.Load().CacheBytes)
	})
	l.gaugeFunc("memory_budget_bytes", "Bytes that all cached frames may take.", nil, func() float64 {
		return number(r.scraped.Load().BudgetBytes)
	})
	for i, source := range sources {
		l.gaugeFunc("broadcasts", "Broadcasts that are announced, by clients of this relay or by other nodes.", prometheus.Labels{"source": source}, func() float64 {
			f := r.scraped.Load().Broadcasts
			if f == nil {
				return 0
			}
			local, node := f()
			return float64([]int{local, node}[i])
		})
	}
}

func number(f func() int64) float64 {
	if f == nil {
		return 0
	}
	return float64(f())
}

// preset creates every known set of labels.
func (r *Relay) preset() {
	for _, protocol := range protocols {
		for _, transport := range transports {
			for _, peer := range peers {
				r.sessions.WithLabelValues(string(protocol), transport, string(peer))
				r.sessionsOpened.WithLabelValues(string(protocol), transport, string(peer))
			}
		}
	}
	for _, transport := range transports {
		r.handshakeSeconds.WithLabelValues(transport)
	}
	for _, peer := range peers {
		for _, v := range []*prometheus.CounterVec{
			r.ingressBytes, r.ingressFrames, r.ingressGroups,
			r.egressBytes, r.egressFrames, r.egressGroups, r.packetsSent, r.packetsLost,
		} {
			v.WithLabelValues(string(peer))
		}
		r.groupAgeSeconds.WithLabelValues(string(peer))
		r.rttSeconds.WithLabelValues(string(peer))
	}
	presetCounters(r.sessionsClosed, closeReasons)
	presetCounters(r.sessionsRefused, refuseReasons)
	presetCounters(r.subscribeErrors, subscribeErrors)
	presetCounters(r.announcements, actions)
	presetCounters(r.groupsDropped, dropReasons)
	presetCounters(r.qlogDropped, qlogReasons)
	presetCounters(r.cacheRequests, cacheResults)
	presetCounters(r.peerDials, dialResults)
	presetCounters(r.goaways, directions)
	presetGauges(r.subscriptions, sides)
	presetGauges(r.peers, peerStates)
}

func presetCounters[T ~string](v *prometheus.CounterVec, labels []T) {
	for _, l := range labels {
		v.WithLabelValues(string(l))
	}
}

func presetGauges[T ~string](v *prometheus.GaugeVec, labels []T) {
	for _, l := range labels {
		v.WithLabelValues(string(l))
	}
}

// buildInfo tells which build this is.
func (r *Relay) buildInfo(l list) {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	l.gauges("build_info", "1, with the build in the labels.", "version", "goversion").
		WithLabelValues(version, runtime.Version()).Set(1)
}
