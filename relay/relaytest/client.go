package relaytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// Client is a session with one node, as a publisher or subscriber has it.
type Client struct {
	// In holds what the node announces to the client.
	In *origin.Table

	t       *testing.T
	out     *origin.Table
	conn    transport.Conn
	session session.Session
	ended   chan error
	budget  *moq.Budget
}

// defaultProtocol is what clients speak that do not say.
var defaultProtocol = protocols.Only(protocols.MoqTransfork)

// Dial connects a client of that host name to a node and returns when the
// handshake is done. The session ends with the test, or by Close.
func (n *Network) Dial(host string, node *Node) *Client {
	n.t.Helper()
	return n.dial(host, node, "", transport.DialConfig{}, 0)
}

// DialSpeaking connects a client as c says, which leaves the rest open as that of
// Connect does.
func (n *Network) DialSpeaking(host string, node *Node, c transport.DialConfig) *Client {
	n.t.Helper()
	return n.dial(host, node, "", c, 0)
}

// DialHop is DialSpeaking for a client that says who it is.
func (n *Network) DialHop(host string, node *Node, c transport.DialConfig, hop origin.Hop) *Client {
	n.t.Helper()
	return n.dial(host, node, "", c, hop)
}

// DialAs connects as a relay would: with a mark in the handshake and the
// certificate of host.
func (n *Network) DialAs(mark, host string, node *Node) *Client {
	n.t.Helper()
	cert, err := tls.LoadX509KeyPair(n.leaf(host))
	if err != nil {
		n.t.Fatal(err)
	}
	return n.dial(host, node, mark, transport.DialConfig{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}, 0)
}

func (n *Network) dial(host string, node *Node, mark string, c transport.DialConfig, hop origin.Hop) *Client {
	n.t.Helper()
	c.IdleTimeout, c.KeepAlive = 10*time.Second, 4*time.Second
	conn, err := n.Connect(n.t.Context(), host, node.Name, c)
	if err != nil {
		n.t.Fatalf("%s dials %s: %v", host, node.Name, err)
	}
	return newClient(n.t, conn, mark, hop, n.log(host))
}

// Connect dials the node of a name from a new socket of host. What c leaves open
// of the certificates, the protocol and the network is filled in.
func (n *Network) Connect(ctx context.Context, host, node string, c transport.DialConfig) (transport.Conn, error) {
	if c.TLS == nil {
		c.TLS = new(tls.Config)
	}
	c.TLS.RootCAs = x509.NewCertPool()
	c.TLS.RootCAs.AddCert(n.Issuer().cert)
	c.TLS.ServerName = node
	if len(c.Protocols) == 0 && !c.WebTransport {
		c.Protocols = defaultProtocol.QUIC()
	}
	c.Resolve = n.resolve
	c.PacketConn = n.socket(host, int(n.ports.Add(1)))
	address := Host(node)
	if c.WebTransport {
		address = "https://" + address + "/"
	}
	return transport.Dial(ctx, address, c)
}

// NewClient runs a session on a connection to any relay, simulated or not, and
// returns when the handshake is done. The session ends with the test, or by
// Close.
func NewClient(t *testing.T, conn transport.Conn, mark string, log *slog.Logger) *Client {
	t.Helper()
	return newClient(t, conn, mark, 0, log)
}

func newClient(t *testing.T, conn transport.Conn, mark string, hop origin.Hop, log *slog.Logger) *Client {
	t.Helper()
	c := &Client{
		In:     origin.NewTable(),
		t:      t,
		out:    origin.NewTable(),
		conn:   conn,
		ended:  make(chan error, 1),
		budget: moq.NewBudget(64 << 20),
	}
	c.session = protocols.Client(conn, session.Config{
		In: c.In, Out: c.out, Class: origin.Client,
		Budget: c.budget, TrackLimits: moq.DefaultLimits(),
		Node:             mark,
		Hop:              hop,
		HandshakeTimeout: 20 * time.Second, // of a machine that has other work
		Log:              log,
	})
	go func() { c.ended <- c.session.Run(context.Background()) }() // Close waits for it
	t.Cleanup(c.Close)
	select {
	case <-c.session.Ready():
	case err := <-c.ended:
		c.ended <- err
		t.Fatalf("session with %v: %v", conn.RemoteAddr(), err)
	}
	return c
}

// Close delivers what is under way, ends the session and waits until it has
// ended.
func (c *Client) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c.session.Drain(ctx)
	c.session.Close(0, "")
	c.ended <- <-c.ended
}

// Abort ends the connection with an error, as a client does that has failed.
func (c *Client) Abort() { _ = c.conn.CloseWithError(1, "aborted") }

// Lost reports whether the session has ended.
func (c *Client) Lost() bool { return c.conn.Context().Err() != nil }

// GoingAway is closed when the node has told the client to go.
func (c *Client) GoingAway() <-chan struct{} { return c.session.GoingAway() }

// Publish announces a track and returns it to be written to.
func (c *Client) Publish(path ...string) *Publisher {
	c.t.Helper()
	p := moq.NewPath(path...)
	t := moq.NewTrack(moq.TrackConfig{Path: p, Budget: c.budget, Limits: moq.DefaultLimits(), Retention: time.Minute})
	t.SetInfo(moq.Info{Priority: moq.DefaultPriority})
	publisher := &Publisher{Track: t}
	c.Announce(publisher)
	return publisher
}

// Announce announces a track that another client has published before.
func (c *Client) Announce(p *Publisher) {
	c.t.Helper()
	reg, err := c.out.Announce(origin.Announcement{Path: p.Path(), Kind: origin.Track, Class: origin.Local, Source: published{p.Track}})
	if err != nil {
		c.t.Fatal(err)
	}
	p.registration = reg
}

// Publisher is a published track.
type Publisher struct {
	*moq.Track
	registration *origin.Registration
}

// Write publishes a group of one frame.
func (p *Publisher) Write(payload string) error {
	g, err := p.AppendGroup()
	if err != nil {
		return err
	}
	if err := g.WriteFrame([]byte(payload)); err != nil {
		return err
	}
	return g.Finish()
}

// Unpublish withdraws the track and ends it.
func (p *Publisher) Unpublish() {
	p.registration.Withdraw()
	p.End(moq.ErrEnded)
}

// published is a track that is there.
type published struct{ track *moq.Track }

func (p published) Track(moq.Path) (*moq.Track, error) { return p.track, nil }

// Subscribe subscribes to a track of the node, announced to the client or not.
func (c *Client) Subscribe(path ...string) (*moq.Subscription, error) {
	t, err := c.session.Track(moq.NewPath(path...))
	if err != nil {
		return nil, err
	}
	return t.Subscribe(moq.SubscribeOptions{Priority: moq.DefaultPriority})
}

// Fetch returns a group of a track that is asked for by itself.
func (c *Client) Fetch(group uint64, path ...string) (*moq.Track, error) {
	f, ok := c.session.(origin.Fetcher)
	if !ok {
		return nil, moq.ErrNotSupported
	}
	return f.Fetch(moq.NewPath(path...), group, moq.DefaultPriority)
}

// Track returns the live track of a path of the node.
func (c *Client) Track(path ...string) (*moq.Track, error) {
	return c.session.Track(moq.NewPath(path...))
}

// Vanish ends the session as a process that is killed does: the node hears
// nothing of it.
func (n *Network) Vanish(host string) { n.cut.setDead(n.addr(host), true) }

// Next returns the payload of the next group's only frame.
func Next(ctx context.Context, s *moq.Subscription) (string, error) {
	g, err := s.Next(ctx)
	if err != nil {
		return "", err
	}
	defer g.Close()
	frame, err := g.NextFrame(ctx)
	if err != nil {
		return "", err
	}
	if _, err := g.NextFrame(ctx); !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("group %d does not end after its frame: %w", g.Sequence(), err)
	}
	return string(frame), nil
}

// Announced waits until the node announces path to the client, or, with gone,
// until it does not.
func (c *Client) Announced(ctx context.Context, gone bool, path ...string) error {
	w := c.In.Watch(moq.NewPath(path...), nil)
	defer w.Close()
	for {
		ev, err := w.Next(ctx)
		if err != nil {
			return err
		}
		here := ev.Type == origin.Active
		if ev.Type == origin.Live {
			here = c.has(path...)
		}
		if here != gone {
			return nil
		}
	}
}

func (c *Client) has(path ...string) bool {
	_, ok := c.In.Route(moq.NewPath(path...), nil)
	return ok
}
