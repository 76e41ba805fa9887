package transfork

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// testCert is valid in the fake time of a bubble, which starts in 2000.
var testCert, testRoots = func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "relay"},
		NotBefore:    time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		IPAddresses:  []net.IP{net.IPv4(1, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}()

const (
	latency = 10 * time.Millisecond // one way
	rtt     = 2 * latency
	// soon is more than any exchange of a few messages takes.
	soon = 300 * time.Millisecond
)

// mapped is the protocol as moq-relay 0.6.8 speaks it on raw QUIC.
var mapped = transport.Protocol{ALPN: "moqf-02", MapStreamCodes: true}

// world is a relay with one table of announcements on a simulated network. Its
// sessions are the ones under test; what is at their other ends is played by
// peers.
type world struct {
	*testing.T
	config   session.Config // of every session
	table    *origin.Table
	metrics  *metrics.Relay
	endpoint *transport.Endpoint
	wrap     func(transport.Conn) transport.Conn

	sim     *simnet.Simnet
	clients int
	wg      sync.WaitGroup
	cancel  context.CancelFunc
	closers []func()

	mu       sync.Mutex
	sessions []*Session
	results  []error
}

// bubble runs f with a relay in fake time. change adapts the configuration of
// its sessions.
func bubble(t *testing.T, change func(*world), f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, table: origin.NewTable(), metrics: metrics.New(), sim: &simnet.Simnet{Router: &simnet.PerfectRouter{}}}
		w.config = session.Config{
			In: w.table, Out: w.table, Class: origin.Client, Metrics: w.metrics,
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

func (w *world) close() {
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
func (w *world) listen() {
	pc := w.socket(&net.UDPAddr{IP: net.IPv4(1, 0, 0, 1).To4(), Port: 443})
	var err error
	w.endpoint, err = transport.Listen(pc, transport.ServerConfig{
		TLS:          &tls.Config{Certificates: []tls.Certificate{testCert}},
		Protocols:    []transport.Protocol{mapped},
		WebTransport: true,
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
			if w.wrap != nil {
				conn = w.wrap(conn)
			}
			w.start(ctx, Server(conn, w.config).(*Session))
		}
	})
}

// start runs a session of the relay.
func (w *world) start(ctx context.Context, s *Session) {
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

// session returns the i-th session that the relay has had.
func (w *world) session(i int) *Session {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if i >= len(w.sessions) {
		w.Fatalf("%d sessions so far, want number %d", len(w.sessions), i)
	}
	return w.sessions[i]
}

// ended returns what the Runs of all sessions that are over returned.
func (w *world) ended() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.results
}

func (w *world) socket(addr *net.UDPAddr) net.PacketConn {
	w.Helper()
	return w.socketBehind(addr, simnet.NodeBiDiLinkSettings{Latency: latency})
}

// socketBehind returns a socket behind a link of the given kind.
func (w *world) socketBehind(addr *net.UDPAddr, link simnet.NodeBiDiLinkSettings) net.PacketConn {
	w.Helper()
	s := &simnet.Simnet{Router: w.sim.Router}
	pc := s.NewEndpoint(addr, link)
	if err := s.Start(); err != nil {
		w.Fatal(err)
	}
	w.closers = append(w.closers, func() { _ = pc.Close(); _ = s.Close() })
	return pc
}

// dial connects to the relay, below any protocol.
func (w *world) dial(change func(*transport.DialConfig)) transport.Conn {
	w.Helper()
	w.clients++
	c := transport.DialConfig{
		TLS:        &tls.Config{RootCAs: testRoots},
		Protocols:  []transport.Protocol{mapped},
		PacketConn: w.socket(&net.UDPAddr{IP: net.IPv4(1, 0, 1, byte(w.clients)).To4(), Port: 4000}),
	}
	if change != nil {
		change(&c)
	}
	addr := "1.0.0.1:443"
	if c.WebTransport {
		addr = "https://1.0.0.1/"
	}
	conn, err := transport.Dial(w.Context(), addr, c)
	if err != nil {
		w.Fatal(err)
	}
	w.closers = append([]func(){func() { _ = conn.CloseWithError(0, "") }}, w.closers...)
	return conn
}

// local is a source of this process.
type local struct{ tracks map[moq.Path]*moq.Track }

func (l local) Track(p moq.Path) (*moq.Track, error) {
	if t, ok := l.tracks[p]; ok {
		return t, nil
	}
	return nil, moq.ErrNotFound
}

// publish announces a track of this process and returns it.
func (w *world) publish(parts ...string) *moq.Track {
	w.Helper()
	path := moq.NewPath(parts...)
	track := moq.NewTrack(moq.TrackConfig{Path: path, Budget: w.config.Budget, Limits: w.config.TrackLimits, Retention: w.config.Retention})
	track.SetInfo(moq.Info{Priority: moq.DefaultPriority})
	_, err := w.table.Announce(origin.Announcement{Path: path, Class: origin.Local, Source: local{map[moq.Path]*moq.Track{path: track}}})
	if err != nil {
		w.Fatal(err)
	}
	return track
}

// group writes a whole group.
func (w *world) group(t *moq.Track, seq uint64, frames ...string) {
	w.Helper()
	g := w.open(t, seq, frames...)
	if err := g.Finish(); err != nil {
		w.Fatal(err)
	}
}

// open writes a group that stays open.
func (w *world) open(t *moq.Track, seq uint64, frames ...string) *moq.GroupWriter {
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

// wantMetric compares one counter or gauge. labels is as in "peer=client".
func (w *world) wantMetric(name, labels string, want float64) {
	w.Helper()
	if got := metric(w.metrics.Registry(), name, labels); got != want {
		w.Errorf("%s{%s} = %v, want %v", name, labels, got, want)
	}
}

func metric(r *prometheus.Registry, name, labels string) float64 {
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

// settle lets everything happen that happens without further input.
func settle() { time.Sleep(soon) }
