package moqlite

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/session/sessiontest"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// Bytes that many scripts contain. The broadcast is cam, its track v.
const (
	setupHex      = "01 01 00"                   // SETUP of a client that has nothing to say
	relaySetupHex = "01 07 02 01 01 01 05 01 09" // Probe 1 and Hop 9

	trackHex  = "06 06 03 63616d 01 76"
	info05Hex = "06 00 00 5388 43e8"
	info06Hex = "05 00 5388 43e8"
)

// stream is one stream of a peer: bidirectional, or one direction of it.
type stream = sessiontest.Stream[wire.Code]

// peer is the other end of a session, played byte by byte.
type peer struct {
	*world
	*sessiontest.Peer[wire.Code]
	v       wire.Version
	control *stream // Session stream of lite-01 and lite-02
}

func (w *world) peer(v wire.Version, conn transport.Conn) *peer {
	return &peer{w, sessiontest.NewPeer[wire.Code](w.World, conn), v, nil}
}

// connect returns a peer that has done nothing yet.
func (w *world) connect(v wire.Version) *peer {
	w.Helper()
	return w.peer(v, w.Dial(only(v)))
}

// only has a client offer one version.
func only(v wire.Version) func(*transport.DialConfig) {
	return func(c *transport.DialConfig) {
		c.Protocols = []transport.Protocol{{ALPN: v.Token(), MapStreamCodes: true}}
	}
}

// webTransport returns a peer that has done nothing yet, over WebTransport.
func (w *world) webTransport(v wire.Version, path string) *peer {
	w.Helper()
	return w.peer(v, w.DialPath(path, func(c *transport.DialConfig) {
		c.WebTransport, c.WebTransportProtocols = true, []string{v.Token()}
	}))
}

// askHex is what the relay opens on every session: ANNOUNCE_REQUEST.
func askHex(v wire.Version) string {
	if v.HasExclude() {
		return "01 02 00 09"
	}
	return "01 01 00"
}

// shake does the handshake, with a SETUP that says nothing.
func (p *peer) shake() {
	p.Helper()
	p.shakeWith(setupHex)
}

func (p *peer) shakeWith(setup string) {
	p.Helper()
	switch {
	case p.v.IsInBand():
		p.control = p.OpenStream(fmt.Sprintf("20 000a 01 c0000000ff0dad%02x 00", uint8(p.v)))
		p.control.Want(fmt.Sprintf("21 0009 c0000000ff0dad%02x 00", uint8(p.v)))
	case p.v.HasSetup():
		p.Uni(setup).Fin()
		p.AcceptUni(relaySetupHex).WantEOF()
	}
}

// client returns a peer after the handshake, with the relay's question for
// announcements taken and left unanswered.
func (w *world) client(v wire.Version) *peer {
	w.Helper()
	p := w.connect(v)
	p.shake()
	p.Accept(askHex(v))
	return p
}

// publisher returns a peer that has announced cam, as hop 1000.
func (w *world) publisher(v wire.Version) *peer {
	w.Helper()
	p, _ := w.announcer(v)
	return p
}

// camHex is the first answer to ANNOUNCE_REQUEST: cam, published by hop 1000.
func camHex(v wire.Version) string {
	switch v {
	case wire.Version06:
		return "03 43e8 01  00 07 03 63616d 00 00 00"
	case wire.Version05:
		return "03 43e8 01  06 01 03 63616d 00"
	case wire.Version04:
		return "08 01 03 63616d 01 43e8"
	case wire.Version03:
		return "06 01 03 63616d 01"
	default:
		return "05 01 03 63616d" // ANNOUNCE_INIT
	}
}

// announcer is a publisher with the stream of its announcements.
func (w *world) announcer(v wire.Version) (*peer, *stream) {
	w.Helper()
	p := w.connect(v)
	p.shake()
	announcements := p.Accept(askHex(v))
	announcements.Send(camHex(v))
	settle()
	return p, announcements
}

// node connects a node of that mark, which is asked what it announces and says so on
// the stream that is returned.
func (w *world) node(v wire.Version, mark string) (*peer, *stream) {
	w.Helper()
	p := w.connect(v)
	p.Uni("01" + hexString(string(wire.Setup{Node: mark}.Append(nil)))).Fin()
	p.AcceptUni("").Stop(0)
	announcements := p.Accept(askHex(v))
	announcements.Send("02 07 00")
	settle()
	return p, announcements
}

// cam is a subscription of cam's track v, priority 2, 250 ms.
func cam(id uint64) wire.Subscribe {
	return wire.Subscribe{ID: id, Path: []string{"cam"}, Track: "v", Priority: 2, MaxAge: 250}
}

// hexOf is what a peer opens a Subscribe stream with.
func (p *peer) hexOf(ask wire.Subscribe) string {
	return hex.EncodeToString(ask.Append(wire.StreamSubscribe.Append(nil), p.v))
}

// subscribe opens a Subscribe stream.
func (p *peer) subscribe(ask wire.Subscribe) *stream {
	p.Helper()
	return p.OpenStream(p.hexOf(ask))
}

// okHex is the answer to a subscription of priority 2 that comes at once.
func (p *peer) okHex() string {
	switch p.v {
	case wire.Version01:
		return "01 02"
	case wire.Version02:
		return "00"
	case wire.Version03, wire.Version04:
		return "00 05 02 00 00 00 00"
	default:
		return ""
	}
}

// startHex is SUBSCRIBE_OK where it says which group comes first.
func (p *peer) startHex(group uint8) string {
	if p.v.HasSetup() {
		return fmt.Sprintf("00 01 %02x", group)
	}
	return ""
}

// endHex is SUBSCRIBE_END where there is one.
func (p *peer) endHex(end uint8) string {
	if p.v.HasSetup() {
		return fmt.Sprintf("01 01 %02x", end)
	}
	return ""
}

// infoHex is the answer to TRACK: 5 s, timescale 1000.
func (p *peer) infoHex() string {
	if p.v.HasCosts() {
		return info06Hex
	}
	return info05Hex
}

// groupHex is a Group stream with frames of one byte each, a second after each
// other from timestamp 1000 on.
func (p *peer) groupHex(id, sequence uint8, frames ...byte) string {
	s := fmt.Sprintf("00 02 %02x %02x", id, sequence)
	if p.v.HasCosts() {
		s = fmt.Sprintf("00 03 %02x %02x 00", id, sequence)
	}
	for _, f := range frames {
		if p.v.HasTimestamps() {
			s += " 47d0"
		}
		s += fmt.Sprintf(" 01 %02x", f)
	}
	return s
}

// serve takes the relay's subscription, which has to be ask, and answers it and,
// before or after, the question for the track.
func (p *peer) serve(ask wire.Subscribe) *stream {
	p.Helper()
	if !p.v.HasTrack() {
		s := p.Accept(p.hexOf(ask))
		s.Send(p.okHex())
		return s
	}
	var sub *stream
	for range 2 {
		s, first := p.next()
		if first == byte(wire.StreamTrack) {
			s.Want(trackHex[2:])
			s.Send(p.infoHex())
			s.Fin()
			continue
		}
		s.Want(p.hexOf(ask)[2:])
		sub = s
	}
	if sub == nil {
		p.Fatal("the relay did not subscribe")
	}
	return sub
}

// next takes the next bidirectional stream and its type.
func (p *peer) next() (*stream, byte) {
	p.Helper()
	s := p.Accept("")
	b := make([]byte, 1)
	s.Deadline(soon)
	if _, err := s.Read(b); err != nil {
		p.Fatalf("a stream came, but no type of it: %v", err)
	}
	return s, b[0]
}

// chain is a publisher and a subscriber of cam's track v with the relay between.
type chain struct {
	*world
	publisher, subscriber *peer
	up, sub               *stream // Subscribe streams at the two
}

// connectChain subscribes, with all questions answered.
func (w *world) connectChain(from, to wire.Version) *chain {
	w.Helper()
	c := &chain{world: w, publisher: w.publisher(from), subscriber: w.client(to)}
	c.sub = c.subscriber.subscribe(cam(0))
	c.sub.Want(c.subscriber.okHex())
	c.up = c.publisher.serve(c.wanted(cam(0)))
	settle()
	return c
}

// wanted is how the relay asks the publisher for what the subscriber has asked
// for.
func (c *chain) wanted(ask wire.Subscribe) wire.Subscribe {
	from, to := c.publisher.v, c.subscriber.v
	if to < wire.Version03 {
		ask.MaxAge = wire.NoMaxAge
	}
	if from == wire.Version06 && to < wire.Version06 {
		ask.MaxAge = 0 // from the latest group on
	}
	return ask
}

// wantAlive holds that the session still serves.
func (p *peer) wantAlive() {
	p.Helper()
	s := p.subscribe(wire.Subscribe{ID: 60, Path: []string{"none"}, Track: "none"})
	s.WantReset(p.notFound())
}

// notFound is the code of what is not there.
func (p *peer) notFound() wire.Code {
	if p.v.HasCosts() {
		return wire.ResetUnroutable
	}
	return wire.CodeNotFound
}

// cancelled is the code of what is not wanted any more.
func (p *peer) cancelled() wire.Code {
	if p.v.HasCosts() {
		return wire.ResetCancelled
	}
	return wire.CodeCancel
}

// protocolError is the code that closes the session of a peer which breaks the
// protocol.
func (p *peer) protocolError() wire.Code {
	if p.v.HasCosts() {
		return wire.CloseProtocol
	}
	return wire.CodeProtocol
}

// dialled runs f with a session that dialled a server which is played by a peer.
func dialled(w *world, v wire.Version, accepted <-chan transport.Conn, f func(s *Session, server *peer)) {
	w.Helper()
	conn := w.Dial(only(v))
	server := w.peer(v, <-accepted)
	s := Client(conn, w.Config).(*Session)
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	defer func() { cancel(); <-done }() // also after a Fatal
	f(s, server)
}

// wantParts reads messages that may come in any order.
func (p *peer) wantParts(s *stream, parts ...string) {
	p.Helper()
	rest := slices.Clone(parts)
	for len(rest) > 0 {
		n := len(unhex(rest[0]))
		b := make([]byte, n)
		s.Deadline(soon)
		if _, err := s.Read(b[:1]); err != nil {
			p.Fatalf("read %v; want %q", err, rest)
		}
		i := slices.IndexFunc(rest, func(part string) bool { return unhex(part)[0] == b[0] })
		if i < 0 {
			p.Fatalf("read % x; want one of %q", b[0], rest)
		}
		s.WantBytes(unhex(rest[i])[1:])
		rest = slices.Delete(rest, i, i+1)
	}
}

// readAnnounced reads so many announcements from the start of the stream on.
func readAnnounced(w *world, v wire.Version, s *stream, count int) (paths []string) {
	w.Helper()
	s.Deadline(soon)
	r := base.NewReader(s)
	check := func(err error) {
		w.Helper()
		if err != nil {
			w.Fatalf("after %d announcements: %v", len(paths), err)
		}
	}
	if v.HasSetup() {
		ok, err := base.Next(r, wire.ConsumeAnnounceOK)
		check(err)
		if ok.Hop != relayHop || ok.Active != uint64(count) {
			w.Errorf("ANNOUNCE_OK is %+v, want %d", ok, count)
		}
	}
	if v.IsInBand() {
		init, err := base.Next(r, wire.ConsumeAnnounceInit)
		check(err)
		for _, suffix := range init.Suffixes {
			paths = append(paths, strings.Join(suffix, "/"))
		}
	}
	for len(paths) < count {
		m, err := base.Next(r, v.ConsumeAnnounce)
		check(err)
		if m.Kind != wire.AnnounceStart {
			w.Errorf("told %+v", m)
		}
		paths = append(paths, strings.Join(m.Suffix, "/"))
	}
	return paths
}

// rawCodes has a client send the codes of streams as they are.
func rawCodes(v wire.Version) func(*transport.DialConfig) {
	return func(c *transport.DialConfig) { c.Protocols = []transport.Protocol{{ALPN: v.Token()}} }
}

func endError(reason moq.EndReason) error { return &moq.EndError{Reason: reason} }

func isCancel(reason moq.EndReason) bool { return reason == moq.Cancelled || reason == moq.Ended }
