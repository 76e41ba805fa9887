package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Registry is where the metrics are read from.
func (r *Relay) Registry() *prometheus.Registry { return r.registry }

// LookUp says where the values come from that are read at each scrape.
func (r *Relay) LookUp(s Scraped) { r.scraped.Store(&s) }

// SessionKind is what sessions are told apart by.
type SessionKind struct {
	Protocol  Protocol
	Transport string // "quic", "webtransport" or "websocket"
	Peer      Peer
}

// SessionOpened counts a session whose handshake took d.
func (r *Relay) SessionOpened(k SessionKind, d time.Duration) {
	r.sessions.WithLabelValues(string(k.Protocol), k.Transport, string(k.Peer)).Inc()
	r.sessionsOpened.WithLabelValues(string(k.Protocol), k.Transport, string(k.Peer)).Inc()
	r.handshakeSeconds.WithLabelValues(k.Transport).Observe(d.Seconds())
}

// SessionClosed counts the end of a session that was opened.
func (r *Relay) SessionClosed(k SessionKind, reason CloseReason) {
	r.sessions.WithLabelValues(string(k.Protocol), k.Transport, string(k.Peer)).Dec()
	r.sessionsClosed.WithLabelValues(string(reason)).Inc()
}

// SessionRefused counts a connection that did not become a session.
func (r *Relay) SessionRefused(reason RefuseReason) {
	r.sessionsRefused.WithLabelValues(string(reason)).Inc()
}

// WentAway counts that one side of a session has told the other to go elsewhere.
func (r *Relay) WentAway(d Direction) { r.goaways.WithLabelValues(string(d)).Inc() }

// Panicked counts a panic that ended a session.
func (r *Relay) Panicked() { r.panics.Inc() }

// QlogDropped counts an event that is in no qlog file. The reason is one of the
// four of package qlog.
func (r *Relay) QlogDropped(reason string) { r.qlogDropped.WithLabelValues(reason).Inc() }

// SetDraining says whether the relay is stopping gracefully.
func (r *Relay) SetDraining(draining bool) { r.draining.Set(asNumber(draining)) }

// Joined observes the time from a SUBSCRIBE to its first frame.
func (r *Relay) Joined(d time.Duration) { r.joinSeconds.Observe(d.Seconds()) }

// SubscribeAnswered observes the time from our SUBSCRIBE to its answer.
func (r *Relay) SubscribeAnswered(d time.Duration) { r.subscribeSeconds.Observe(d.Seconds()) }

// Subscribed changes the number of open subscriptions by n.
func (r *Relay) Subscribed(side Side, n int) {
	r.subscriptions.WithLabelValues(string(side)).Add(float64(n))
}

// SubscribeFailed counts a subscription of a subscriber that was refused or
// ended with an error.
func (r *Relay) SubscribeFailed(reason SubscribeError) {
	r.subscribeErrors.WithLabelValues(string(reason)).Inc()
}

// Announced counts an announcement, its withdrawal or its refusal.
func (r *Relay) Announced(action Action) { r.announcements.WithLabelValues(string(action)).Inc() }

// GroupsDropped counts n groups that a subscriber did not get, or not to their
// end. The reason is one of the six of package moq.
func (r *Relay) GroupsDropped(reason string, n uint64) {
	r.groupsDropped.WithLabelValues(reason).Add(float64(n))
}

// CacheRequested counts a subscription or fetch by whether it found its group.
func (r *Relay) CacheRequested(result CacheResult) {
	r.cacheRequests.WithLabelValues(string(result)).Inc()
}

// EgressBytes returns the payload sent so far, to clients and nodes.
func (r *Relay) EgressBytes() uint64 {
	var sum float64
	for _, peer := range peers {
		var m dto.Metric
		if err := r.egressBytes.WithLabelValues(string(peer)).Write(&m); err == nil {
			sum += m.GetCounter().GetValue()
		}
	}
	return uint64(sum)
}

// SetRoot says whether there is a link to a root. Roots beyond the third are
// not shown.
func (r *Relay) SetRoot(root string, connected bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.roots[root]; !ok && len(r.roots) == maxRoots {
		return
	}
	r.roots[root] = struct{}{}
	r.rootConnected.WithLabelValues(root).Set(asNumber(connected))
}

// SetPeers says how many nodes are known, with a link and without.
func (r *Relay) SetPeers(connected, lost int) {
	r.peers.WithLabelValues("connected").Set(float64(connected))
	r.peers.WithLabelValues("lost").Set(float64(lost))
}

// PeerDialed counts a dial of another node.
func (r *Relay) PeerDialed(ok bool) {
	result := "failed"
	if ok {
		result = "ok"
	}
	r.peerDials.WithLabelValues(result).Inc()
}

// SetCertificate says which certificate is served on a plane, and when it expires.
func (r *Relay) SetCertificate(plane Plane, fingerprint string, expires time.Time) {
	r.certificateExpiry.WithLabelValues(string(plane)).Set(float64(expires.Unix()))
	r.certificateInfo.DeletePartialMatch(prometheus.Labels{"plane": string(plane)})
	r.certificateInfo.WithLabelValues(string(plane), fingerprint).Set(1)
}

func asNumber(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// Traffic is what moves while media flows, looked up once per session so that
// a frame costs two additions.
type Traffic struct {
	IngressBytes, IngressFrames, IngressGroups prometheus.Counter
	EgressBytes, EgressFrames, EgressGroups    prometheus.Counter
	GroupAge                                   prometheus.Observer // seconds
	rtt                                        prometheus.Observer
	packetsSent, packetsLost                   prometheus.Counter
}

// Traffic returns the counters of sessions with peers of that kind.
func (r *Relay) Traffic(peer Peer) *Traffic {
	p := string(peer)
	return &Traffic{
		IngressBytes:  r.ingressBytes.WithLabelValues(p),
		IngressFrames: r.ingressFrames.WithLabelValues(p),
		IngressGroups: r.ingressGroups.WithLabelValues(p),
		EgressBytes:   r.egressBytes.WithLabelValues(p),
		EgressFrames:  r.egressFrames.WithLabelValues(p),
		EgressGroups:  r.egressGroups.WithLabelValues(p),
		GroupAge:      r.groupAgeSeconds.WithLabelValues(p),
		rtt:           r.rttSeconds.WithLabelValues(p),
		packetsSent:   r.packetsSent.WithLabelValues(p),
		packetsLost:   r.packetsLost.WithLabelValues(p),
	}
}

// Connection follows the counters of one QUIC connection. It is for one
// goroutine.
type Connection struct {
	traffic    *Traffic
	sent, lost uint64 // the highest seen: QUIC takes losses back
}

// Connection returns a follower whose connection has sent nothing yet.
func (t *Traffic) Connection() *Connection { return &Connection{traffic: t} }

// Sample adds what has happened since the last sample, and observes the round
// trip time unless it is zero.
func (c *Connection) Sample(rtt time.Duration, sent, lost uint64) {
	if rtt > 0 {
		c.traffic.rtt.Observe(rtt.Seconds())
	}
	if sent > c.sent {
		c.traffic.packetsSent.Add(float64(sent - c.sent))
		c.sent = sent
	}
	if lost > c.lost {
		c.traffic.packetsLost.Add(float64(lost - c.lost))
		c.lost = lost
	}
}
