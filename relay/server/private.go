package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/moqrelay/moqrelay/relay/config"
)

// NodeInfo is the answer at /nodes: this node and what it knows of the others.
type NodeInfo struct {
	Node      string    `json:"node"`
	Region    string    `json:"region"`
	Role      string    `json:"role"` // root or node
	Version   string    `json:"version"`
	StartedAt time.Time `json:"startedAt"`
	Draining  bool      `json:"draining"`
	// DrainingSince is when the graceful stop began, null before.
	DrainingSince *time.Time `json:"drainingSince"`
	// Sessions are those of clients; links to other nodes are in Peers.
	Sessions int `json:"sessions"`
	// EgressBytes is the payload sent since StartedAt, to clients and nodes.
	EgressBytes uint64     `json:"egressBytes"`
	Roots       []RootInfo `json:"roots"`
	Peers       []PeerInfo `json:"peers"`
	// Certificates are those that this node serves now, in the order of
	// --tls-cert.
	Certificates []CertificateInfo `json:"certificates"`
	// Trust holds the SHA-256 of each authority of --tls-root as it is loaded
	// now, in hex; empty where the system's are trusted.
	Trust []string `json:"trust"`
}

// RootInfo is one root as a node sees it.
type RootInfo struct {
	URL       string     `json:"url"`
	Connected bool       `json:"connected"`
	Since     *time.Time `json:"since"`
	Error     string     `json:"error,omitempty"`
}

// PeerInfo is one peer as a node sees it.
type PeerInfo struct {
	Node       string   `json:"node"`
	Connected  bool     `json:"connected"`
	Direction  string   `json:"direction"` // out: this node dialled; in
	Protocol   string   `json:"protocol"`
	RTTSeconds *float64 `json:"rttSeconds"`
	LossRatio  *float64 `json:"lossRatio"`
	// SentBytes and ReceivedBytes are those of QUIC packets since Since.
	SentBytes     *uint64    `json:"sentBytes"`
	ReceivedBytes *uint64    `json:"receivedBytes"`
	Since         *time.Time `json:"since"`
	Error         string     `json:"error,omitempty"`
}

// CertificateInfo is one certificate that a node serves.
type CertificateInfo struct {
	Fingerprint string    `json:"fingerprint"`
	Names       []string  `json:"names"`
	NotAfter    time.Time `json:"notAfter"`
}

// BroadcastInfo is one way to an announced path at /broadcasts.
type BroadcastInfo struct {
	Broadcast string   `json:"broadcast"`
	Kind      string   `json:"kind"`   // track or broadcast
	Source    string   `json:"source"` // node it comes from, "" for this one
	Hops      []string `json:"hops"`
	// Tracks are those that come this way now, as somebody has asked for them.
	Tracks []TrackInfo `json:"tracks"`
}

// TrackInfo is one live track of a broadcast.
type TrackInfo struct {
	Track string `json:"track"` // what follows the broadcast, "" for the broadcast itself
	// Group is the highest that has begun to come, at GroupSince; null before the
	// first one.
	Group      *uint64    `json:"group"`
	GroupSince *time.Time `json:"groupSince"`
	// Subscribers are clients and nodes, each counted once for each subscription.
	Subscribers int `json:"subscribers"`
}

// privateHandler answers on the private port.
func (s *Server) privateHandler() http.Handler {
	mux := http.NewServeMux()
	s.handleHealth(mux)
	mux.Handle("GET "+config.PathMetrics, promhttp.HandlerFor(s.Metrics.Registry(), promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET "+config.PathNodes, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.nodeInfo()) })
	mux.HandleFunc("GET "+config.PathSessions, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.sessions.list(s.PeerName)) })
	mux.HandleFunc("GET "+config.PathBroadcasts, s.serveBroadcasts)
	mux.HandleFunc("POST /drain", s.serveDrain)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// serveDrain begins the graceful stop. A page in somebody's browser cannot ask
// for it: browsers say where a POST comes from.
func (s *Server) serveDrain(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") != "" {
		http.Error(w, "drain is not for browsers", http.StatusForbidden)
		return
	}
	s.Drain()
	w.WriteHeader(http.StatusAccepted)
}

// serveBroadcasts lists what is announced: all of it, or what is at and below a
// prefix, in the form that the list has it, and no more than a limit.
func (s *Server) serveBroadcasts(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	all := s.Broadcasts()
	if prefix := strings.TrimSuffix(query.Get("prefix"), "/"); prefix != "" {
		all = slices.DeleteFunc(all, func(b BroadcastInfo) bool {
			return b.Broadcast != prefix && !strings.HasPrefix(b.Broadcast, prefix+"/")
		})
	}
	if text := query.Get("limit"); text != "" {
		limit, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			http.Error(w, fmt.Sprintf("limit=%q: want a number of broadcasts", text), http.StatusBadRequest)
			return
		}
		all = all[:min(len(all), int(limit))]
	}
	writeJSON(w, all)
}

func (s *Server) nodeInfo() NodeInfo {
	info := s.Node()
	info.StartedAt = s.started
	info.DrainingSince = s.draining.Load()
	info.Draining = info.DrainingSince != nil
	info.Sessions = s.sessions.clients(s.PeerName)
	info.EgressBytes = s.Metrics.EgressBytes()
	return info
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}
