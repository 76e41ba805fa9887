package moqlite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// isGoingAway tells whether the session's peer has said that it leaves.
func isGoingAway(s *Session) bool {
	settle()
	select {
	case <-s.GoingAway():
		return true
	default:
		return false
	}
}

// TestProbe: the round trip time at once, and again when it changes or after ten
// seconds. What a peer writes is read and not heeded.
func TestProbe(t *testing.T) {
	each(t, versions[2:], nil, func(w *world, v wire.Version) {
		p := w.client(v)
		probe := "02 00 14" // 20 ms, and no bitrate
		if v == wire.Version03 {
			probe = "01 00"
		}
		start := time.Now()
		s := p.OpenStream("04")
		s.Want(probe)
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Errorf("the first came after %v", took)
		}
		s.Send("04 800f4240 04 800f4240")
		s.WantSilence(9 * time.Second)
		s.Want(probe)
		s.Fin()
		s.WantEOF()
		p.wantAlive()
	})
}

// TestGoaway: told once, from lite-04 on, with no address; what goes on does.
func TestGoaway(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		p := w.client(v)
		watch := p.OpenStream(watchHex(v, ""))
		watch.Want(initialHex(v, "cam"))
		sub := p.subscribe(cam(0))
		sub.Want(p.okHex())
		settle()
		w.session(0).GoAway()
		w.session(0).GoAway()
		if v.HasGoaway() {
			s := p.Accept("05 01 00")
			s.WantEOF()
		}
		p.WantNoStream(time.Second)
		w.stamped(track, 5, 1, "a")
		p.wantGroup(0, 5, 1, "a")
		sub.Want(p.startHex(5))
		watch.WantSilence(soon)
		again := p.subscribe(cam(1)) // still served
		again.Want(p.okHex())
		p.wantGroup(1, 5, 1, "a")
		if isGoingAway(w.session(0)) {
			t.Error("what we have said counts as said to us")
		}
	})
}

// TestGoawayReceived: any of the two sides may say it; an address is for servers
// alone from lite-06 on, and has a limit.
func TestGoawayReceived(t *testing.T) {
	each(t, versions[3:], nil, func(w *world, v wire.Version) {
		p := w.publisher(v)
		s := p.OpenStream("05 01 00")
		if !isGoingAway(w.session(0)) {
			t.Error("it is not known")
		}
		second := p.OpenStream("05 01 00") // does no harm
		s.Fin()
		s.WantEOF()
		second.Fin()
		second.WantEOF()
		w.WantAnnounced("cam")
		p.wantAlive()
		uri := p.OpenStream("05 13 12 68747470733a2f2f622e6578616d706c652f")
		if v.HasCosts() {
			p.WantClosed(wire.CloseProtocol)
			return
		}
		uri.Fin()
		uri.WantEOF()
	})
	t.Run("of a server", func(t *testing.T) {
		eachDialled(t, versions[3:], func(_ *world, s *Session, server *peer) {
			server.Accept(askHex(server.v))
			<-s.Ready()
			server.OpenStream("05 13 12 68747470733a2f2f622e6578616d706c652f")
			if !isGoingAway(s) {
				t.Error("it is not known")
			}
		})
	})
	t.Run("an address that is too long", func(t *testing.T) {
		each(t, versions[3:5], nil, func(w *world, v wire.Version) {
			p := w.client(v)
			p.OpenStream("05 6003 6001" + strings.Repeat("61", 8193)).WantReset(wire.CodeDecode)
			if isGoingAway(w.session(0)) {
				t.Error("it counts")
			}
		})
	})
}

// TestDrain: no further groups; those under way to their end, then a reset that
// says to try elsewhere.
func TestDrain(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		g, _ := track.CreateGroup(5)
		_ = g.WriteFrameAt([]byte("a"), 1000)
		p := w.client(v)
		sub := p.subscribe(cam(0))
		sub.Want(p.okHex() + p.startHex(5))
		s := p.AcceptUni(p.framesHex(0, 5, 1, "a"))
		drained := make(chan struct{})
		go func() { defer close(drained); w.session(0).Drain(w.Context()) }() // received below
		if v.HasGoaway() {
			p.Accept("05 01 00")
		}
		settle()
		w.stamped(track, 6, 5, "b")
		p.WantNoUni(soon)
		_ = g.Finish()
		s.WantEOF()
		sub.WantResetAfterData(map[bool]wire.Code{true: wire.ResetGoaway, false: wire.CodeDropped}[v.HasCosts()])
		<-drained
	})
}

// TestUnknownStreams: refused with the code of the version, and nothing else.
func TestUnknownStreams(t *testing.T) {
	has := map[string]func(wire.Version) bool{
		"00":                 nil, // the Session stream
		"3f":                 nil,
		"ffffffffffffffff":   nil,
		"20 000a 01":         nil, // CLIENT_SETUP, a second time or in other versions
		"21":                 nil,
		"07":                 nil, // lite-07
		"03 08 03 63616d 01": wire.Version.HasFetch,
		"04":                 wire.Version.HasProbe,
		"05 01 00":           wire.Version.HasGoaway,
		trackHex:             wire.Version.HasTrack,
	}
	each(t, versions, nil, func(w *world, v wire.Version) {
		p := w.client(v)
		code := wire.CodeUnexpectedStream
		if v.HasCosts() {
			code = wire.ResetCancelled
		}
		for bytes, known := range has {
			if known != nil && known(v) {
				continue
			}
			s := p.OpenStream(bytes)
			s.WantReset(code)
			s.WantStop(code)
		}
		for _, bytes := range []string{"02", "3f", "ffffffffffffffff", "41 2c"} {
			p.Uni(bytes).WantStop(code)
		}
		if !v.HasSetup() {
			p.Uni(setupHex).WantStop(code)
		}
		p.wantAlive()
	})
}

// TestDyingStreams: a stream that dies before it has said anything is no one's
// fault, also over WebTransport, where that includes its prefix.
func TestDyingStreams(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		for _, p := range []*peer{w.connect(v), w.webTransport(v, "/")} {
			p.shake()
			p.Accept(askHex(v))
			for _, end := range []func(*stream){(*stream).Fin, func(s *stream) { s.Reset(0) }} {
				for _, bytes := range []string{"", "02", "01 05"} {
					end(p.OpenStream(bytes))
				}
				for _, bytes := range []string{"", "00", "00 02"} {
					end(p.Uni(bytes))
				}
			}
			settle()
			p.wantAlive()
		}
	})
}

// TestSlowStreams: a stream that does not say what it is for is given up.
func TestSlowStreams(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		p := w.client(v)
		s, u := p.OpenStream("02 0d 00"), p.Uni("00 02")
		s.WantResetAfterData(map[bool]wire.Code{true: wire.ResetTimeout, false: wire.CodeTimeout}[v.HasCosts()])
		u.WantStop(map[bool]wire.Code{true: wire.ResetCancelled, false: wire.CodeDecode}[v.HasCosts()])
		p.wantAlive()
	})
}

// TestUnmappedCodes: peers may send raw codes on raw QUIC.
func TestUnmappedCodes(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		c := w.connectChain(v, v)
		raw := w.peer(v, w.Dial(rawCodes(v)))
		raw.shake()
		raw.Accept(askHex(v))
		sub := raw.subscribe(cam(0))
		sub.Want(raw.okHex())
		settle()
		sub.Reset(0)
		sub.WantReset(raw.cancelled())
		c.publisher.Uni(c.publisher.groupHex(0, 5, 'a'))
		c.subscriber.AcceptUni(c.subscriber.groupHex(0, 5, 'a'))
		raw.wantAlive()
	})
}

// TestCodes: every end and every drop has a code in both tables, and none of them
// is the other's cancel.
func TestCodes(t *testing.T) {
	for _, v := range append([]wire.Version{0}, versions...) {
		c := codes{v}
		for reason := range oldReasons {
			code := c.Stream(endError(reason))
			cancel := uint32(wire.CodeCancel)
			if v.HasCosts() {
				cancel = uint32(wire.ResetCancelled)
			}
			if isCancel(reason) != (code == cancel) && !v.HasCosts() {
				t.Errorf("%v: %v is %d", v, reason, code)
			}
			if v.HasCosts() && code == 0 {
				t.Errorf("%v: %v is an internal error", v, reason)
			}
		}
		if len(oldReasons) != len(newReasons) || len(oldDrops) != len(newDrops) {
			t.Errorf("%d and %d reasons, %d and %d drops", len(oldReasons), len(newReasons), len(oldDrops), len(newDrops))
		}
		for code := range uint32(70) {
			if e := c.Reason(code); e == nil || e.Detail == "" || fmt.Sprint(e) == "" {
				t.Errorf("%v: code %d is %v", v, code, e)
			}
		}
	}
}
