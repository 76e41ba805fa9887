package relay

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/moqrelay/moqrelay/relay/cluster"
	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/server"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// serverConfig says what the server serves and answers.
func (r *Relay) serverConfig() server.Config {
	return server.Config{
		Endpoint:     r.endpoint,
		Public:       r.env.Sockets.TCP,
		Private:      r.env.Sockets.Private,
		TLS:          r.certs.ServerTLS(),
		MaxSessions:  r.config.MaxSessions,
		DrainTimeout: r.config.DrainTimeout,
		Serve: func(ctx context.Context, conn transport.Conn, log *slog.Logger, begun func(session.Session)) error {
			known, err := protocols.Detect(ctx, conn, r.config.HandshakeTimeout)
			if err != nil {
				r.metrics.SessionRefused(refusal(err))
				_ = conn.CloseWithError(0, "") // nobody is left to tell
				return err
			}
			return r.cluster.Serve(ctx, known, log, begun)
		},
		Withdraw:    r.cluster.Withdraw,
		Links:       r.cluster.Dialled,
		Moved:       r.isElsewhere,
		Fingerprint: func(host string) string { return r.certs.For(host).Fingerprint.String() },
		PeerName:    cluster.NodeName,
		Table:       r.table,
		Visible:     r.cluster.VisibleToAll,
		Node:        r.nodeInfo,
		Broadcasts:  r.broadcasts,
		Metrics:     r.metrics,
		Log:         r.env.Log,
	}
}

// nodeInfo is the answer at /nodes.
func (r *Relay) nodeInfo() server.NodeInfo {
	info := server.NodeInfo{
		Node: r.config.ClusterNode, Region: r.config.Region, Role: "node", Version: Version,
		Roots: []server.RootInfo{}, Peers: []server.PeerInfo{}, Certificates: []server.CertificateInfo{},
		Trust: []string{},
	}
	if r.cluster.IsRoot() {
		info.Role = "root"
	}
	for _, p := range r.cluster.Peers() {
		info.Peers = append(info.Peers, peerInfo(p))
		if p.Root {
			info.Roots = append(info.Roots, server.RootInfo{URL: p.Node, Connected: p.Connected, Since: since(p.Since), Error: p.Error})
		}
	}
	for _, c := range r.certs.Certificates() {
		info.Certificates = append(info.Certificates, server.CertificateInfo{Fingerprint: c.Fingerprint.String(), Names: c.Names, NotAfter: c.NotAfter})
	}
	for _, authority := range r.certs.Roots() {
		info.Trust = append(info.Trust, authority.String())
	}
	return info
}

// isElsewhere tells whether all that clients publish here is announced by another
// node as well.
func (r *Relay) isElsewhere() bool {
	type published struct {
		path moq.Path
		kind origin.Kind
	}
	onlyHere := make(map[published]struct{})
	all := r.table.Snapshot()
	for _, a := range all {
		if a.Class == origin.Client {
			onlyHere[published{a.Path, a.Kind}] = struct{}{}
		}
	}
	for _, a := range all {
		if a.Class == origin.Peer {
			delete(onlyHere, published{a.Path, a.Kind})
		}
	}
	return len(onlyHere) == 0
}

func peerInfo(p cluster.PeerStatus) server.PeerInfo {
	info := server.PeerInfo{Node: p.Node, Connected: p.Connected, Protocol: p.Protocol, Since: since(p.Since), Error: p.Error}
	if !p.Connected {
		return info
	}
	info.Direction = "in"
	if p.Dialled {
		info.Direction = "out"
	}
	info.RTTSeconds = server.Seconds(p.Stats.SmoothedRTT)
	info.SentBytes, info.ReceivedBytes = &p.Stats.BytesSent, &p.Stats.BytesReceived
	if p.Stats.PacketsSent > 0 {
		loss := float64(p.Stats.PacketsLost) / float64(p.Stats.PacketsSent)
		info.LossRatio = &loss
	}
	return info
}

func since(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// refusal is why a connection did not become a session whose client did not say
// what it speaks.
func refusal(err error) metrics.RefuseReason {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return metrics.RefusedTimeout
	}
	return metrics.RefusedLost
}
