package moqlite

import (
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/sessiontest"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

const (
	rtt  = sessiontest.RTT
	soon = sessiontest.Soon
)

var (
	settle = sessiontest.Settle
	unhex  = sessiontest.Unhex
)

// relayHop is the relay's own hop, "09" in hex.
const relayHop = 9

// versions are all that the package speaks.
var versions = []wire.Version{wire.Version01, wire.Version02, wire.Version03, wire.Version04, wire.Version05, wire.Version06}

// withSetup are the versions with SETUP, TRACK and timestamps.
var withSetup = []wire.Version{wire.Version05, wire.Version06}

// protocols are those of raw QUIC.
var protocols = func() []transport.Protocol {
	var all []transport.Protocol
	for _, token := range Tokens() {
		all = append(all, transport.Protocol{ALPN: token, MapStreamCodes: true})
	}
	return all
}()

// world is a relay whose clients speak moq-lite.
type world struct{ *sessiontest.World }

// bubble runs f with a relay in fake time. change adapts the configuration of
// its sessions.
func bubble(t *testing.T, change, f func(*world)) {
	t.Helper()
	prepare := func(w *sessiontest.World) {
		w.Subprotocols = Tokens()
		w.Table = origin.New(origin.Config{Self: relayHop})
		w.Config.In, w.Config.Out, w.Config.Hop = w.Table, w.Table, relayHop
		if change != nil {
			change(&world{w})
		}
	}
	sessiontest.Bubble(t, Server, protocols, prepare, func(w *sessiontest.World) { f(&world{w}) })
}

// each runs f with a relay for every one of the versions.
func each(t *testing.T, versions []wire.Version, change func(*world), f func(w *world, v wire.Version)) {
	t.Helper()
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			bubble(t, change, func(w *world) { f(w, v) })
		})
	}
}

// session returns the i-th session that the relay has had.
func (w *world) session(i int) *Session {
	w.Helper()
	return w.Session(i).(*Session)
}

// stamped writes a whole group, whose frames are a second apart from so many on.
func (w *world) stamped(t *moq.Track, seq uint64, second int, frames ...string) {
	w.Helper()
	g, err := t.CreateGroup(seq)
	if err != nil {
		w.Fatal(err)
	}
	for i, f := range frames {
		if err := g.WriteFrameAt([]byte(f), uint64(second+i)*1000); err != nil {
			w.Fatal(err)
		}
	}
	if err := g.Finish(); err != nil {
		w.Fatal(err)
	}
}

// stampedTrack announces a track with timestamps in milliseconds.
func (w *world) stampedTrack(parts ...string) *moq.Track {
	w.Helper()
	track := w.Publish(parts...)
	track.SetInfo(moq.Info{Timescale: 1000, MaxAge: 30 * time.Second})
	return track
}

// withPanics runs f with panics that end sessions, as in a program.
func withPanics(t *testing.T, f func()) {
	t.Helper()
	session.PanicsAreFatal = false
	defer func() { session.PanicsAreFatal = true }()
	f()
}
