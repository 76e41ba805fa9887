package transfork

import (
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
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

// TestGoAway: the peer's Announce streams end, and ours at a publisher. All that
// is subscribed goes on, new subscriptions are served, and what the publisher has
// announced stands until its session ends.
func TestGoAway(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.publish("clock")
		viewer, publisher := w.connect(), w.connect()
		viewer.shake()
		viewer.accept(interestHex)
		announcements := viewer.openStream(interestHex)
		announcements.want(activeClockHex)
		sub := viewer.openStream(subscribeHex)
		sub.want(infoHex)

		publisher.shake()
		interest := publisher.accept(interestHex)
		interest.write("01 01 01 79")
		w.wantAnnounced("clock", "y")
		announcements.want("01 01 01 79")

		for i := range 2 {
			w.session(i).GoAway()
			w.session(i).GoAway() // once is enough
		}
		w.wantMetric("goaways_total", "direction=sent", 2)
		announcements.wantEOF()
		interest.wantEOF()
		interest.fin()
		w.group(track, 21, "a")
		viewer.acceptUni("00 00 15 01 61").wantEOF()
		second := viewer.openStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		second.want("80 01 00 15")
		viewer.acceptUni("00 01 15 01 61").wantEOF()
		sub.wantSilence(time.Second)
		viewer.openStream(interestHex).wantEOF()
		w.wantAnnounced("clock", "y")
		_ = publisher.conn.CloseWithError(0, "")
		w.wantAnnounced("clock")
	})
}

// TestGoAwayAtOnce: a session that is told before its handshake is done hears of
// it as soon as it is.
func TestGoAwayAtOnce(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.connect()
		settle()
		w.session(0).GoAway()
		p.shake()
		p.accept(interestHex).wantEOF()
		p.openStream(interestHex).wantEOF()
	})
}

// TestGoingAway: a client hears of it by the end of either Announce stream. What
// it has subscribed goes on.
func TestGoingAway(t *testing.T) {
	shaken := func(t *testing.T, f func(w *world, s *Session, server *peer, asked *stream)) {
		t.Helper()
		dialled(t, nil, func(w *world, s *Session, server *peer) {
			server.accept(sessionClientHex).write(sessionServerHex)
			asked := server.accept(interestHex)
			<-s.Ready()
			f(w, s, server, asked)
		})
	}
	t.Run("it announces no more", func(t *testing.T) {
		shaken(t, func(w *world, s *Session, server *peer, asked *stream) {
			asked.write(activeClockHex)
			w.wantAnnounced("clock")
			track, err := s.Track(moq.NewPath("clock"))
			if err != nil {
				t.Fatal(err)
			}
			sub, err := track.Subscribe(moq.SubscribeOptions{Priority: moq.DefaultPriority})
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			up := server.accept(subscribeHex)
			up.write(infoHex)
			if isGoingAway(s) {
				t.Error("it goes away before it said so")
			}
			asked.fin()
			if !isGoingAway(s) {
				t.Error("nothing was heard of it")
			}
			w.wantAnnounced()
			time.Sleep(time.Second)
			server.uni("00 00 14 01 61").fin()
			g, err := sub.Next(w.Context())
			if err != nil || g.Sequence() != 20 {
				t.Fatalf("the subscription has ended: %v", err)
			}
			g.Close()
			server.wantAlive()
		})
	})
	t.Run("it asks no more", func(t *testing.T) {
		shaken(t, func(_ *world, s *Session, server *peer, _ *stream) {
			interest := server.openStream(interestHex)
			if isGoingAway(s) {
				t.Error("it goes away before it said so")
			}
			interest.fin()
			if !isGoingAway(s) {
				t.Error("nothing was heard of it")
			}
			interest.wantEOF()
		})
	})
	t.Run("its session ends", func(t *testing.T) {
		shaken(t, func(_ *world, s *Session, server *peer, _ *stream) {
			_ = server.conn.CloseWithError(0, "")
			if isGoingAway(s) {
				t.Error("the end of a session is no word of leaving")
			}
		})
	})
}

// TestFirstGroup: a subscriber that names its first group gets it of a publisher
// that still has it, also if the relay has to ask for it. A first group that is
// far from what there is holds up nobody.
func TestFirstGroup(t *testing.T) {
	const fromGroup18 = "02 00 01 05 636c6f636b 80 01 00 13 00"
	t.Run("had", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p, s := w.publisher(), w.client()
			sub := s.openStream(fromGroup18)
			up := p.accept(fromGroup18)
			up.write("80 01 00 14")
			sub.want("80 01 00 14")
			for _, group := range []string{"00 00 12 01 61", "00 00 13 01 62", "00 00 14 01 63"} {
				p.uni(group).fin()
				s.acceptUni(group).wantEOF()
			}
		})
	})
	t.Run("far", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p, s := w.publisher(), w.client()
			sub := s.openStream(fromGroup18)
			up := p.accept(fromGroup18)
			up.write("80 01 00 03")
			up.wantReset(wire.CodeCancel)
			again := p.accept("02 01 01 05 636c6f636b 80 01 00 00 00")
			again.write("80 01 00 03")
			sub.want("80 01 00 03")
			p.uni("00 01 03 01 61").fin()
			s.wantNoUni(time.Second) // it asked for later ones
			other := w.client()
			other.openStream(subscribeHex).want("80 01 00 03")
			other.acceptUni("00 00 03 01 61").wantEOF()
		})
	})
	t.Run("not named by all", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p, s := w.publisher(), w.client()
			s.openStream(subscribeHex)
			time.Sleep(time.Millisecond) // else either may be the first
			s.openStream("02 01 01 05 636c6f636b 80 01 00 13 00")
			p.accept(subscribeHex)
		})
	})
}
