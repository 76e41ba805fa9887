package sessiontest

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

const (
	// Latency is that of every link, one way.
	Latency = 10 * time.Millisecond
	// RTT is the round trip over one link.
	RTT = 2 * Latency
	// Soon is more than any exchange of a few messages takes.
	Soon = 300 * time.Millisecond
)

// World is a relay with one table of announcements on a simulated network. Its
// sessions are the ones under test; what is at their other ends is played by
// peers.
type World struct {
	*testing.T
	Config       session.Config // of every session
	Table        *origin.Table
	Metrics      *metrics.Relay
	Protocols    []transport.Protocol // of raw QUIC
	Subprotocols []string             // of WebTransport
	// Wrap, if not nil, changes what a session sees of its connection.
	Wrap func(transport.Conn) transport.Conn

	newSession func(transport.Conn, session.Config) session.Session
	endpoint   *transport.Endpoint
	sim        *simnet.Simnet
	clients    int
	wg         sync.WaitGroup
	cancel     context.CancelFunc
	closers    []func()

	mu       sync.Mutex
	sessions []session.Session
	results  []error
}

// Bubble runs f with a relay in fake time that serves connections of the
// protocols with sessions as newSession returns them. change, if not nil, adapts
// their configuration.
func Bubble(t *testing.T, newSession func(transport.Conn, session.Config) session.Session, protocols []transport.Protocol, change, f func(*World)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &World{
			T: t, Table: origin.NewTable(), Metrics: metrics.New(), Protocols: protocols,
			newSession: newSession, sim: &simnet.Simnet{Router: &simnet.PerfectRouter{}},
		}
		w.Config = session.Config{
			In: w.Table, Out: w.Table, Class: origin.Client, Metrics: w.Metrics,
			Retention: 3 * time.Second, Linger: 500 * time.Millisecond, HandshakeTimeout: 3 * time.Second,
			Budget: moq.NewBudget(64 << 20),
			Log:    slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		}
		if change != nil {
			change(w)
		}
		w.listen()
		defer w.close() // also after a Fatal
		f(w)
	})
}

// Cancel ends the context of all sessions.
func (w *World) Cancel() { w.cancel() }

func (w *World) close() {
	w.cancel()
	w.wg.Wait()
	for _, c := range w.closers {
		c()
	}
	if err := w.endpoint.Close(); err != nil {
		w.Errorf("closing the endpoint: %v", err)
	}
	_ = w.sim.Close()
}

// listen has every connection served by a session.
func (w *World) listen() {
	pc := w.socket(&net.UDPAddr{IP: net.IPv4(1, 0, 0, 1).To4(), Port: 443})
	var err error
	w.endpoint, err = transport.Listen(pc, transport.ServerConfig{
		TLS:                   &tls.Config{Certificates: []tls.Certificate{Cert}},
		Protocols:             w.Protocols,
		WebTransport:          true,
		WebTransportProtocols: w.Subprotocols,
	})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.wg.Go(func() {
		for {
			conn, err := w.endpoint.Accept(ctx)
			if err != nil {
				return
			}
			if w.Wrap != nil {
				conn = w.Wrap(conn)
			}
			w.start(ctx, w.newSession(conn, w.Config))
		}
	})
}

// start runs a session of the relay.
func (w *World) start(ctx context.Context, s session.Session) {
	w.mu.Lock()
	w.sessions = append(w.sessions, s)
	w.mu.Unlock()
	w.wg.Go(func() {
		err := s.Run(ctx)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.results = append(w.results, err)
	})
}

// Session returns the i-th session that the relay has had.
func (w *World) Session(i int) session.Session {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if i >= len(w.sessions) {
		w.Fatalf("%d sessions so far, want number %d", len(w.sessions), i)
	}
	return w.sessions[i]
}

// Ended returns what the Runs of all sessions that are over returned.
func (w *World) Ended() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.results
}

func (w *World) socket(addr *net.UDPAddr) net.PacketConn {
	w.Helper()
	return w.SocketBehind(addr, simnet.NodeBiDiLinkSettings{Latency: Latency})
}

// SocketBehind returns a socket behind a link of the given kind.
func (w *World) SocketBehind(addr *net.UDPAddr, link simnet.NodeBiDiLinkSettings) net.PacketConn {
	w.Helper()
	s := &simnet.Simnet{Router: w.sim.Router}
	pc := s.NewEndpoint(addr, link)
	if err := s.Start(); err != nil {
		w.Fatal(err)
	}
	w.closers = append(w.closers, func() { _ = pc.Close(); _ = s.Close() })
	return pc
}

// Dial connects to the relay, below any protocol. change, if not nil, adapts how.
func (w *World) Dial(change func(*transport.DialConfig)) transport.Conn {
	w.Helper()
	return w.DialPath("/", change)
}

// DialPath is Dial with the path, and query, of a WebTransport request.
func (w *World) DialPath(path string, change func(*transport.DialConfig)) transport.Conn {
	w.Helper()
	w.clients++
	c := transport.DialConfig{
		TLS:        &tls.Config{RootCAs: Roots},
		Protocols:  w.Protocols,
		PacketConn: w.socket(&net.UDPAddr{IP: net.IPv4(1, 0, 1, byte(w.clients)).To4(), Port: 4000}),
	}
	if change != nil {
		change(&c)
	}
	addr := "1.0.0.1:443"
	if c.WebTransport {
		addr = "https://1.0.0.1" + path
	}
	conn, err := transport.Dial(w.Context(), addr, c)
	if err != nil {
		w.Fatal(err)
	}
	w.closers = append([]func(){func() { _ = conn.CloseWithError(0, "") }}, w.closers...)
	return conn
}

// Local is a source of this process.
type Local map[moq.Path]*moq.Track

// Track returns a track by its path.
func (l Local) Track(p moq.Path) (*moq.Track, error) {
	if t, ok := l[p]; ok {
		return t, nil
	}
	return nil, moq.ErrNotFound
}

// Publish announces a track of this process and returns it.
func (w *World) Publish(parts ...string) *moq.Track {
	w.Helper()
	path := moq.NewPath(parts...)
	track := moq.NewTrack(moq.TrackConfig{Path: path, Budget: w.Config.Budget, Limits: w.Config.TrackLimits, Retention: w.Config.Retention})
	track.SetInfo(moq.Info{Priority: moq.DefaultPriority})
	_, err := w.Table.Announce(origin.Announcement{Path: path, Class: origin.Local, Source: Local{path: track}})
	if err != nil {
		w.Fatal(err)
	}
	return track
}

// Group writes a whole group.
func (w *World) Group(t *moq.Track, seq uint64, frames ...string) {
	w.Helper()
	g := w.Open(t, seq, frames...)
	if err := g.Finish(); err != nil {
		w.Fatal(err)
	}
}

// Open writes a group that stays open.
func (w *World) Open(t *moq.Track, seq uint64, frames ...string) *moq.GroupWriter {
	w.Helper()
	g, err := t.CreateGroup(seq)
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range frames {
		if err := g.WriteFrame([]byte(f)); err != nil {
			w.Fatal(err)
		}
	}
	return g
}

// Announced returns the paths in the relay's table.
func (w *World) Announced() []string {
	var paths []string
	for _, a := range w.Table.Snapshot() {
		paths = append(paths, a.Path.String())
	}
	slices.Sort(paths)
	return paths
}

// WantAnnounced holds, after a while, what is in the relay's table.
func (w *World) WantAnnounced(want ...string) {
	w.Helper()
	Settle()
	if got := w.Announced(); !cmp.Equal(got, want) {
		w.Errorf("announced are %q, want %q", got, want)
	}
}

// WantMetric compares one counter or gauge. labels is as in "peer=client".
func (w *World) WantMetric(name, labels string, want float64) {
	w.Helper()
	if got := Metric(w.Metrics.Registry(), name, labels); got != want {
		w.Errorf("%s{%s} = %v, want %v", name, labels, got, want)
	}
}

// Metric returns the value of a counter or gauge, or how often a histogram has
// observed; −1 if there is none.
func Metric(r *prometheus.Registry, name, labels string) float64 {
	families, _ := r.Gather()
	for _, f := range families {
		if f.GetName() != "moq_relay_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, fmt.Sprintf("%s=%s", l.GetName(), l.GetValue()))
			}
			if strings.Join(got, ",") != labels {
				continue
			}
			switch {
			case m.Counter != nil:
				return m.Counter.GetValue()
			case m.Gauge != nil:
				return m.Gauge.GetValue()
			default:
				return float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return -1
}

// Settle lets everything happen that happens without further input.
func Settle() { time.Sleep(Soon) }
