package moqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/session/sessiontest"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// someVersions are those of tests that take long and differ in little.
var someVersions = []wire.Version{wire.Version02, wire.Version05, wire.Version06}

// TestS14StuckStreams: streams that stop after a byte are cheap, and those who come
// after are served.
func TestS14StuckStreams(t *testing.T) {
	each(t, someVersions, nil, func(w *world, v wire.Version) {
		p := w.client(v)
		settle()
		before := heap()
		for range 1000 {
			p.OpenStream("02")
			p.Uni("00")
		}
		settle()
		if grown := int64(heap()) - int64(before); grown > 48<<20 {
			t.Errorf("2000 stuck streams cost %d MiB, both ends together", grown>>20)
		}
		p.wantAlive()
		time.Sleep(base.RequestTimeout) // they are given up, and so is their credit
		for range 1024 {
			p.Uni("00").Fin()
		}
		p.wantAlive()
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestS17DeclaredLengths: what a message says of its length, or of the lengths in
// it, allocates nothing.
func TestS17DeclaredLengths(t *testing.T) {
	const huge = "ffffffffffffffff"
	streams := []string{
		"01" + huge, "01 09" + huge, "02" + huge, "02 0a 00" + huge, "03" + huge, "03 09" + huge,
		"06" + huge, "06 09" + huge, "05" + huge, "05 09" + huge, "04" + huge, "02 800fffff",
	}
	each(t, versions, nil, func(w *world, v wire.Version) {
		p := w.client(v)
		settle()
		before := heap()
		for _, bytes := range streams {
			for range 10 {
				p.OpenStream(bytes)
			}
		}
		for range 10 {
			p.Uni("00" + huge)
			p.Uni("00 09" + huge)
		}
		settle()
		if grown := int64(heap()) - int64(before); grown > 8<<20 {
			t.Errorf("%d MiB were allocated", grown>>20)
		}
		p.wantAlive()
	})
	t.Run("frames", func(t *testing.T) {
		each(t, versions, nil, func(w *world, v wire.Version) {
			c := w.connectChain(v, v)
			before := heap()
			for seq := range uint8(50) {
				g := c.publisher.groupHex(0, seq) + map[bool]string{true: "00", false: ""}[v.HasTimestamps()]
				c.publisher.Uni(g + "82000000") // 32 MiB that do not come
			}
			settle()
			if grown := int64(heap()) - int64(before); grown > 16<<20 {
				t.Errorf("%d MiB were allocated", grown>>20)
			}
			c.publisher.wantAlive()
		})
	})
}

// TestS16Limits: of paths, subscriptions and prefixes; beyond them streams are
// refused, or the session ends with the code for that.
func TestS16Limits(t *testing.T) {
	t.Run("subscriptions", func(t *testing.T) {
		each(t, versions, func(w *world) { w.Config.Limits = session.Limits{Subscriptions: 2} }, func(w *world, v wire.Version) {
			w.Publish("cam", "v")
			p := w.client(v)
			first, second := p.subscribe(cam(0)), p.subscribe(cam(1))
			first.Want(p.okHex())
			second.Want(p.okHex())
			settle()
			code := wire.CodeEvicted
			if v.HasCosts() {
				code = wire.ResetNoCapacity
			}
			p.subscribe(cam(2)).WantReset(code)
			if v.HasTrack() {
				p.question().WantReset(code)
				p.fetch(wire.Fetch{}).WantReset(code)
			}
			if v.HasProbe() {
				p.OpenStream("04").WantReset(code)
			}
			second.Fin()
			second.WantEOF()
			third := p.subscribe(cam(3))
			third.Want(p.okHex())
			third.WantSilence(soon)
		})
	})
	t.Run("paths", func(t *testing.T) {
		each(t, versions, func(w *world) { w.Config.Limits = session.Limits{Paths: 2} }, func(w *world, v wire.Version) {
			p, announcements := w.announcer(v)
			start := func(name string) {
				announcements.SendBytes(wire.Announce{Kind: wire.AnnounceStart, Suffix: []string{name}, Hops: make([]uint64, 1)}.Append(nil, v))
			}
			start("x")
			w.WantAnnounced("cam", "x")
			announcements.SendBytes(wire.Announce{Kind: wire.AnnounceEnd, ID: 1, Suffix: []string{"x"}}.Append(nil, v))
			start("y")
			w.WantAnnounced("cam", "y")
			start("z")
			code := wire.CodeBounds
			if v.HasCosts() {
				code = wire.CloseTooMany
			}
			p.WantClosed(code)
			w.WantAnnounced()
		})
	})
}

// TestS16ControlRate: a peer that sends too many control messages is read more
// slowly, and closed if it does not stop.
func TestS16ControlRate(t *testing.T) {
	floods := map[string]struct {
		versions []wire.Version
		flood    func(w *world, p *peer) func()
	}{
		"SUBSCRIBE_UPDATE": {someVersions[1:], func(_ *world, p *peer) func() {
			sub := p.subscribe(cam(0))
			update := wire.SubscribeUpdate{Priority: 2}.Append(nil, p.v)
			return func() { _, _ = sub.Write(update) }
		}},
		"announcements": {someVersions, func(w *world, p *peer) func() {
			announcer, announcements := w.announcer(p.v)
			*p = *announcer
			id := uint64(1)
			return func() {
				b := wire.Announce{Kind: wire.AnnounceStart, Suffix: []string{"x"}, Hops: make([]uint64, 1)}.Append(nil, p.v)
				_, _ = announcements.Write(wire.Announce{Kind: wire.AnnounceEnd, ID: id, Suffix: []string{"x"}}.Append(b, p.v))
				id++
			}
		}},
		"questions": {someVersions, func(_ *world, p *peer) func() {
			return func() {
				if str, err := p.Conn.OpenStream(p.Conn.Context()); err == nil {
					_, _ = str.Write(unhex(watchHex(p.v, "")))
					_ = str.Close()
					str.CancelRead(0)
				}
			}
		}},
		"SESSION_INFO": {someVersions[:1], func(_ *world, p *peer) func() {
			return func() { _, _ = p.control.Write(unhex("01 00")) }
		}},
	}
	for name, tt := range floods {
		t.Run(name, func(t *testing.T) {
			each(t, tt.versions, func(w *world) { w.Config.Limits = session.Limits{ControlRate: 20, ControlBurst: 50} }, func(w *world, v wire.Version) {
				w.Publish("cam", "v")
				p := w.client(v)
				send := tt.flood(w, p)
				start := time.Now()
				for p.Conn.Context().Err() == nil && time.Since(start) < time.Minute {
					send()
					time.Sleep(10 * time.Millisecond)
				}
				code := wire.CodeBounds
				if v.HasCosts() {
					code = wire.CloseTooMany
				}
				p.WantClosed(code)
				if took := time.Since(start); took < base.MaxOverrun {
					t.Errorf("closed after %v", took)
				}
				settle()
				w.WantMetric("sessions_closed_total", "reason=limit", 1)
			})
		})
	}
}

// TestNodeIsNotCutOff: a node that sends too many control messages, which are those
// of many clients, is read more slowly and not closed.
func TestNodeIsNotCutOff(t *testing.T) {
	each(t, withSetup, func(w *world) {
		w.Config.Class, w.Config.Node = origin.Peer, "relay"
		w.Config.Limits = session.Limits{ControlRate: 20, ControlBurst: 50}
	}, func(w *world, v wire.Version) {
		p, announcements := w.node(v, "n1")
		w.WantMetric("sessions", fmt.Sprintf("peer=node,protocol=%s,transport=quic", v), 1)
		start := time.Now()
		id := uint64(0)
		for ; time.Since(start) < 3*base.MaxOverrun; id++ {
			b := wire.Announce{Kind: wire.AnnounceStart, Suffix: []string{"x"}, Hops: make([]uint64, 1)}.Append(nil, v)
			announcements.SendBytes(wire.Announce{Kind: wire.AnnounceEnd, ID: id, Suffix: []string{"x"}}.Append(b, v))
			time.Sleep(10 * time.Millisecond)
		}
		if p.Conn.Context().Err() != nil {
			t.Errorf("closed: %v", context.Cause(p.Conn.Context()))
		}
		// 20 of them in a second, and two are an announcement and its end.
		if got := sessiontest.Metric(w.Metrics.Registry(), "announcements_total", "action=unannounce"); got > 25+10*time.Since(start).Seconds() {
			t.Errorf("%v of %d announcements were read and ended after %v", got, id, time.Since(start))
		}
	})
}

// TestNodeWithTooManyPaths: what a node announces beyond the limit is refused, can
// be updated and ended, and is taken when it comes again and there is room.
func TestNodeWithTooManyPaths(t *testing.T) {
	each(t, withSetup, func(w *world) {
		w.Config.Class, w.Config.Node = origin.Peer, "relay"
		w.Config.Limits = session.Limits{Paths: 2}
	}, func(w *world, v wire.Version) {
		p, announcements := w.node(v, "n1")
		say := func(kind wire.AnnounceKind, id uint64, name string) {
			announcements.SendBytes(wire.Announce{Kind: kind, ID: id, Suffix: []string{name}, Hops: make([]uint64, 1)}.Append(nil, v))
		}
		for id, name := range []string{"x", "y", "z"} {
			say(wire.AnnounceStart, uint64(id), name)
		}
		w.WantAnnounced("x", "y")
		if v.HasCosts() {
			say(wire.AnnounceUpdate, 2, "z")
		}
		say(wire.AnnounceEnd, 2, "z")
		say(wire.AnnounceEnd, 0, "x")
		w.WantAnnounced("y")
		say(wire.AnnounceStart, 3, "z")
		w.WantAnnounced("y", "z")
		p.wantAlive()
		w.WantMetric("announcements_total", "action=refuse", map[bool]float64{true: 2, false: 1}[v.HasCosts()])
	})
}

// TestS15SlowSubscriber: who does not read loses whole groups, and harms nobody.
func TestS15SlowSubscriber(t *testing.T) {
	each(t, someVersions, func(w *world) { w.Config.TrackLimits = moq.Limits{QueuedBytes: 1 << 20} }, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		slow := w.peer(v, w.Dial(func(c *transport.DialConfig) {
			only(v)(c)
			c.Limits = transport.Limits{StreamWindow: 8 << 10, ConnWindow: 12 << 10}
		}))
		slow.shake()
		slow.Accept(askHex(v))
		ask := cam(0)
		ask.MaxAge = wire.NoMaxAge
		sub, good := slow.subscribe(ask), w.client(v)
		sub.Want(slow.okHex())
		good.subscribe(ask).Want(good.okHex())
		settle()
		frame := string(make([]byte, 300_000))
		for seq := range uint64(8) {
			w.stamped(track, seq, int(seq), frame)
			good.wantGroup(0, uint8(seq), int(seq), frame)
		}
		settle()
		code := wire.CodeLagged
		if v.HasCosts() {
			code = wire.ResetTooFarBehind
		}
		sub.Want(slow.startHex(0))
		if v.HasUpdate() {
			slow.wantDropped(sub, 0, 3, code)
		}
		slow.NextUni().WantResetAfterData(code)
		if q := w.session(0).Stats().QueuedBytes; q > 2<<20 {
			t.Errorf("%d bytes are queued", q)
		}
	})
}

// TestHostileBytes throws damaged messages at a session: it refuses streams, or
// ends, and serves others all the while.
func TestHostileBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	each(t, versions, nil, func(w *world, v wire.Version) {
		w.group(w.Publish("cam", "v"))
		for range 10 {
			p, announcements := w.announcer(v)
			messages := []string{
				watchHex(v, "cam"), p.hexOf(cam(0)), p.hexOf(oldest(cam(1))), trackHex, "04", "05 01 00", "20 000a 01 c0000000ff0dad02 00",
				p.fetchHex(wire.Fetch{Path: []string{"cam"}, Track: "v"}), p.groupHex(0, 5, 'a', 'b'), setupHex, camHex(v), p.infoHex(),
			}
			for range 50 {
				b := unhex(messages[random.IntN(len(messages))])
				for range random.IntN(4) {
					b[random.IntN(len(b))] ^= 1 << random.IntN(8)
				}
				throw(w, p, announcements, b[:random.IntN(len(b)+1)], random)
			}
			settle()
			p.Leave()
		}
		w.client(v).wantAlive()
	})
}

// throw sends bytes on a stream of some kind, if the session is still there.
func throw(w *world, p *peer, announcements *stream, b []byte, random *rand.Rand) {
	w.Helper()
	var str transport.SendStream = announcements
	var err error
	kind := random.IntN(3)
	switch kind {
	case 0:
		str, err = p.Conn.OpenUniStream()
	case 1:
		str, err = p.Conn.OpenStream(p.Conn.Context())
	}
	if err != nil {
		return
	}
	_, _ = str.Write(b)
	if kind < 2 && random.IntN(2) == 0 {
		_ = str.Close()
	}
}
