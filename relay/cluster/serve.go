package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

var (
	errDuplicate = errors.New("a second link between the same two nodes")
	errSilent    = errors.New("nothing comes from the other end")
)

// identity is who the other end of a session turns out to be. It is written in
// the handshake, before the session reads anything else.
type identity struct {
	kind     kind
	name     string
	instance string
}

// Serve runs the session of an accepted connection until it ends, with a log
// of its own. begun is called with the session before it runs.
func (c *Cluster) Serve(ctx context.Context, conn transport.Conn, log *slog.Logger, begun func(session.Session)) error {
	if conn.PeerCertificate() == nil && !c.Open {
		s := c.Server(conn, c.clientConfig(log))
		begun(s)
		return s.Run(ctx)
	}
	// Who it is shows in the handshake.
	var who atomic.Pointer[identity]
	who.Store(&identity{})
	inbox := origin.NewTable()
	s := c.Server(conn, c.peerConfig(log, conn, inbox, &who, func(mark string) identity {
		name, instance := parseMark(mark)
		switch {
		case instance != "" && (c.Open || authenticated(conn, name)):
			return identity{c.peerKind(name), name, instance}
		case instance == "" && c.isPeerAddr(conn.RemoteAddr()):
			return identity{node, "", ""}
		default:
			return identity{kind: client}
		}
	}))
	begun(s)
	_, err := c.run(ctx, s, conn, inbox, &who, nil)
	return err
}

// runDialled runs the session of a connection that this node dialled. It
// reports whether it became the session of the link.
func (c *Cluster) runDialled(ctx context.Context, conn transport.Conn, l *link, root bool) (bool, error) {
	k := node
	if root {
		k = rootNode
	}
	var who atomic.Pointer[identity]
	who.Store(&identity{kind: k, name: l.name})
	inbox := origin.NewTable()
	conn.Qlog().Keep()
	s := c.Client(conn, c.peerConfig(c.Log.With("node", l.name, "session", conn.ID()), conn, inbox, &who, func(mark string) identity {
		_, instance := parseMark(mark)
		return identity{k, l.name, instance}
	}))
	return c.run(ctx, s, conn, inbox, &who, l)
}

// clientConfig returns the configuration of a session that can only be a
// client's.
func (c *Cluster) clientConfig(log *slog.Logger) session.Config {
	cfg := c.Session
	cfg.Log = log
	cfg.In, cfg.Out, cfg.Class = c.Table, c.Table, origin.Client
	cfg.Node = c.Node // where the client is; the run is for peers
	cfg.Hold = c.Linger
	cfg.Visible = func(a origin.Announcement) bool { return c.visible(client, "", false, a) }
	cfg.Accept = func(p moq.Path) error { return c.accepts(client, "", p) }
	return cfg
}

// peerConfig returns the configuration of a session that is, or may turn out to
// be, a peer's. What it may do as one it may from when that is known.
func (c *Cluster) peerConfig(log *slog.Logger, conn transport.Conn, inbox *origin.Table, who *atomic.Pointer[identity], identify func(mark string) identity) session.Config {
	cfg := c.Session
	cfg.Log = log
	cfg.In, cfg.Out, cfg.Class = inbox, c.Table, origin.Peer
	cfg.Node = c.mark()
	cfg.NodeLimits = c.PeerLimits
	cfg.Identify = func(mark string) bool {
		id := identify(mark)
		who.Store(&id)
		return id.kind != client
	}
	cfg.Visible = func(a origin.Announcement) bool {
		id := who.Load()
		return c.visible(id.kind, id.name, protocols.KnowHops(conn.Protocol()), a)
	}
	cfg.Told = func(a origin.Announcement) bool { return who.Load().kind == client || !isUnconfirmed(a) }
	cfg.Accept = func(p moq.Path) error {
		id := who.Load()
		return c.accepts(id.kind, id.name, p)
	}
	return cfg
}

// run runs s and, once the handshake has told who it is, carries its
// announcements into the table. l is nil for an accepted connection.
func (c *Cluster) run(ctx context.Context, s session.Session, conn transport.Conn, inbox *origin.Table, who *atomic.Pointer[identity], l *link) (linked bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() { // ends with Run below
		defer close(done)
		select {
		case <-s.Ready():
			linked = c.attend(ctx, s, conn, inbox, *who.Load(), l)
		case <-ctx.Done():
		}
	}()
	err = s.Run(ctx)
	cancel()
	<-done
	return linked, err
}

// attend gives a session that is ready its place, and blocks until it ends.
func (c *Cluster) attend(ctx context.Context, s session.Session, conn transport.Conn, inbox *origin.Table, who identity, l *link) (linked bool) {
	if who.kind == client {
		c.adopt(ctx, inbox)
		return false
	}
	dialled := l != nil
	if !dialled {
		name := who.name
		if name == "" { // a node that cannot be dialled, or of 0.6.x
			// Not its address alone: that may be the very name of a node, whose
			// dialled link this one is not to replace nor to end.
			name = "from " + conn.RemoteAddr().String()
		}
		l = c.linkTo(name)
		if who.name == "" {
			defer c.dropLink(l)
		}
	}
	carry := &carrier{session: s, conn: conn, dialled: dialled, root: who.kind == rootNode, since: time.Now(), lost: make(chan struct{})}
	old, ok := l.take(carry, who.instance)
	if !ok {
		s.Close(0, errDuplicate.Error())
		return true
	}
	if old != nil {
		old.session.Close(0, errDuplicate.Error())
	}
	c.Log.Info("linked", "node", l.name, "dialled", dialled)
	c.count()
	watching := make(chan struct{})
	go func() { defer close(watching); c.watchSilence(ctx, l, carry) }()
	leaving := make(chan struct{})
	go func() { // ends with the session
		defer close(leaving)
		select {
		case <-s.GoingAway():
			l.peerLeaves(carry)
		case <-ctx.Done():
		}
	}()
	l.mirror(ctx, carry, inbox)
	<-ctx.Done()
	<-watching
	<-leaving
	l.release(carry)
	c.count()
	c.Log.Info("link lost", "node", l.name)
	return true
}

// watchSilence closes a link from which nothing comes any more. The connection's
// own idle timeout would do so as well, but later at the end that was dialled: it
// takes no less than 5 s from the other one (quic-go's MinRemoteIdleTimeout).
// Both ends ask each other for signs of life far more often.
func (c *Cluster) watchSilence(ctx context.Context, l *link, s *carrier) {
	if c.Silence <= 0 {
		return
	}
	// Looks are counted, not time: a machine that stood still has not listened.
	const looks = 8
	ticker := time.NewTicker(c.Silence / looks)
	defer ticker.Stop()
	bytes, quiet := s.conn.Stats().BytesReceived, 0
	for {
		select {
		case <-ticker.C:
			quiet++
			if n := s.conn.Stats().BytesReceived; n != bytes {
				bytes, quiet = n, 0
			} else if quiet == looks {
				c.Log.Warn("link is silent", "node", l.name, "for", c.Silence)
				s.session.Close(0, errSilent.Error())
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// adopt carries the announcements of a client into the table, where it was not
// known at first that it is one.
func (c *Cluster) adopt(ctx context.Context, inbox *origin.Table) {
	routes := make(map[route]*origin.Registration)
	defer func() {
		for _, reg := range routes {
			reg.Withdraw()
		}
	}()
	adopt := func(r route, a origin.Announcement) {
		a.Class = origin.Client
		delete(routes, r)
		reg, err := c.Table.Announce(a)
		if errors.Is(err, moq.ErrOverloaded) {
			c.Metrics.Announced(metrics.Refused)
		}
		if err == nil {
			routes[r] = reg
		}
	}
	w := inbox.Watch(moq.Path{}, nil)
	defer w.Close()
	for {
		ev, err := w.Next(ctx)
		if err != nil {
			return
		}
		r := route{ev.Announcement.Path, ev.Announcement.Kind}
		switch ev.Type {
		case origin.Active:
			adopt(r, ev.Announcement)
		case origin.Ended:
			if reg, ok := routes[r]; ok {
				reg.Withdraw()
				delete(routes, r)
			}
		case origin.Updated:
			before := routes[r]
			adopt(r, ev.Announcement)
			if before != nil {
				before.Withdraw()
			}
		case origin.Live: // nobody waits for it
		}
	}
}

// dropLink forgets the link of a nameless peer, which will not come back under
// the same name.
func (c *Cluster) dropLink(l *link) {
	c.mu.Lock()
	if c.links[l.name] == l {
		delete(c.links, l.name)
	}
	c.mu.Unlock()
	l.withdrawAll()
}

// Relays of 0.6.x do not say who they are, but they dial from the socket that
// they listen on: a connection from the address of a peer is that peer's.

// expect remembers the addresses of a node that is about to be dialled, as it
// may be quicker. Taken for a client it would have its echoes of what is
// announced here preferred to the originals.
func (c *Cluster) expect(ctx context.Context, node string) {
	host, port, err := config.SplitHost(node)
	if err != nil {
		return
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		c.rememberAddr(net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	ips, err := c.Resolve(ctx, host)
	if err != nil {
		return // the dial will say so
	}
	for _, ip := range ips {
		c.rememberAddr(net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
	}
}

func (c *Cluster) rememberAddr(addr net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addrs[plainAddr(addr)] = struct{}{}
}

func (c *Cluster) isPeerAddr(addr net.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.addrs[plainAddr(addr)]
	return c.Open && ok
}

func plainAddr(addr net.Addr) string {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
}
