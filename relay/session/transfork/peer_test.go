package transfork

import wire "github.com/moqrelay/moqrelay/relay/wire/transfork"

// Bytes that nearly every script contains.
const (
	sessionClientHex = "00 01 c0000000ff0bad02 00"
	sessionServerHex = "c0000000ff0bad02 00"
	interestHex      = "01 00"                                 // what a relay opens on every session
	activeClockHex   = "01 01 05 636c6f636b"                   // ANNOUNCE active, clock
	subscribeHex     = "02 00 01 05 636c6f636b 80 01 00 00 00" // SUBSCRIBE 0, clock, priority 0, descending
	infoHex          = "80 01 00 00"
)

// connect returns a peer that has done nothing yet.
func (w *world) connect() *peer {
	w.Helper()
	return w.peer(w.Dial(nil))
}

// client returns a peer after the handshake, with the relay's interest taken and
// left unanswered.
func (w *world) client() *peer {
	w.Helper()
	p := w.connect()
	p.shake()
	p.Accept(interestHex)
	return p
}

// shake does the handshake of moq-relay 0.6.8.
func (p *peer) shake() *stream {
	p.Helper()
	s := p.OpenStream(sessionClientHex)
	s.Want(sessionServerHex)
	return s
}

// publisher returns a peer after the handshake that has announced clock.
func (w *world) publisher() *peer {
	w.Helper()
	p, _ := w.announcer()
	return p
}

// announcer is a publisher with the stream of its announcements.
func (w *world) announcer() (*peer, *stream) {
	w.Helper()
	p := w.connect()
	p.shake()
	announcements := p.Accept(interestHex)
	announcements.Send(activeClockHex)
	settle()
	return p, announcements
}

// wantAlive holds that the session still serves.
func (p *peer) wantAlive() {
	p.Helper()
	s := p.OpenStream("04 01 04 6e6f6e65") // INFO_REQUEST of none
	s.WantReset(wire.CodeNotFound)
}
