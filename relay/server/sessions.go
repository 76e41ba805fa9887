package server

import (
	"slices"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// SessionInfo is one session at /sessions. Its id is the one in the log and in the
// name of its qlog file.
type SessionInfo struct {
	Session       string    `json:"session"`
	Peer          string    `json:"peer"` // name of a node, "" for a client
	Remote        string    `json:"remote"`
	Protocol      string    `json:"protocol"`
	Transport     string    `json:"transport"`
	Since         time.Time `json:"since"`
	Subscriptions int       `json:"subscriptions"`
	Publishes     int       `json:"publishes"`
	QueuedBytes   int64     `json:"queuedBytes"`
	RTTSeconds    *float64  `json:"rttSeconds"` // null until it has been measured
}

// registry holds the sessions that were accepted and have not ended.
type registry struct {
	mu   sync.Mutex
	open map[string]*entry
}

type entry struct {
	id      string
	conn    transport.Conn
	session session.Session
	since   time.Time
}

func (r *registry) add(conn transport.Conn) *entry {
	e := &entry{id: conn.ID(), conn: conn, since: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[e.id] = e
	return e
}

// begun notes the session of e.
func (r *registry) begun(e *entry, s session.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.session = s
}

func (r *registry) remove(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, e.id)
}

func (r *registry) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// all returns the sessions that have begun.
func (r *registry) all() []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	entries := make([]*entry, 0, len(r.open))
	for _, e := range r.open {
		if e.session != nil {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int { return a.since.Compare(b.since) })
	return entries
}

// clients counts the sessions that are not of nodes.
func (r *registry) clients(peerName func(mark string) string) int {
	n := 0
	for _, e := range r.all() {
		if peerName(e.session.Node()) == "" {
			n++
		}
	}
	return n
}

func (r *registry) list(peerName func(mark string) string) []SessionInfo {
	infos := []SessionInfo{}
	for _, e := range r.all() {
		st := e.session.Stats()
		infos = append(infos, SessionInfo{
			Session:       e.id,
			Peer:          peerName(e.session.Node()),
			Remote:        e.conn.RemoteAddr().String(),
			Protocol:      e.conn.Protocol(),
			Transport:     e.conn.Kind().String(),
			Since:         e.since,
			Subscriptions: st.Subscriptions,
			Publishes:     st.Publishes,
			QueuedBytes:   st.QueuedBytes,
			RTTSeconds:    Seconds(e.conn.Stats().SmoothedRTT),
		})
	}
	return infos
}

// Seconds returns a time as it stands in an answer: null if it is unknown.
func Seconds(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	s := d.Seconds()
	return &s
}
