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
		track := w.Publish("clock")
		viewer, publisher := w.connect(), w.connect()
		viewer.shake()
		viewer.Accept(interestHex)
		announcements := viewer.OpenStream(interestHex)
		announcements.Want(activeClockHex)
		sub := viewer.OpenStream(subscribeHex)
		sub.Want(infoHex)

		publisher.shake()
		interest := publisher.Accept(interestHex)
		interest.Send("01 01 01 79")
		w.WantAnnounced("clock", "y")
		announcements.Want("01 01 01 79")

		for i := range 2 {
			w.session(i).GoAway()
			w.session(i).GoAway() // once is enough
		}
		w.WantMetric("goaways_total", "direction=sent", 2)
		announcements.WantEOF()
		interest.WantEOF()
		interest.Fin()
		w.Group(track, 21, "a")
		viewer.AcceptUni("00 00 15 01 61").WantEOF()
		second := viewer.OpenStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		second.Want("80 01 00 15")
		viewer.AcceptUni("00 01 15 01 61").WantEOF()
		sub.WantSilence(time.Second)
		viewer.OpenStream(interestHex).WantEOF()
		w.WantAnnounced("clock", "y")
		_ = publisher.Conn.CloseWithError(0, "")
		w.WantAnnounced("clock")
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
		p.Accept(interestHex).WantEOF()
		p.OpenStream(interestHex).WantEOF()
	})
}

// TestGoingAway: a client hears of it by the end of either Announce stream. What
// it has subscribed goes on.
func TestGoingAway(t *testing.T) {
	shaken := func(t *testing.T, f func(w *world, s *Session, server *peer, asked *stream)) {
		t.Helper()
		dialled(t, nil, func(w *world, s *Session, server *peer) {
			server.Accept(sessionClientHex).Send(sessionServerHex)
			asked := server.Accept(interestHex)
			<-s.Ready()
			f(w, s, server, asked)
		})
	}
	t.Run("it announces no more", func(t *testing.T) {
		shaken(t, func(w *world, s *Session, server *peer, asked *stream) {
			asked.Send(activeClockHex)
			w.WantAnnounced("clock")
			track, err := s.Track(moq.NewPath("clock"))
			if err != nil {
				t.Fatal(err)
			}
			sub, err := track.Subscribe(moq.SubscribeOptions{Priority: moq.DefaultPriority})
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			up := server.Accept(subscribeHex)
			up.Send(infoHex)
			if isGoingAway(s) {
				t.Error("it goes away before it said so")
			}
			asked.Fin()
			if !isGoingAway(s) {
				t.Error("nothing was heard of it")
			}
			w.WantAnnounced()
			time.Sleep(time.Second)
			server.Uni("00 00 14 01 61").Fin()
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
			interest := server.OpenStream(interestHex)
			if isGoingAway(s) {
				t.Error("it goes away before it said so")
			}
			interest.Fin()
			if !isGoingAway(s) {
				t.Error("nothing was heard of it")
			}
			interest.WantEOF()
		})
	})
	t.Run("its session ends", func(t *testing.T) {
		shaken(t, func(_ *world, s *Session, server *peer, _ *stream) {
			_ = server.Conn.CloseWithError(0, "")
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
			sub := s.OpenStream(fromGroup18)
			up := p.Accept(fromGroup18)
			up.Send("80 01 00 14")
			sub.Want("80 01 00 14")
			for _, group := range []string{"00 00 12 01 61", "00 00 13 01 62", "00 00 14 01 63"} {
				p.Uni(group).Fin()
				s.AcceptUni(group).WantEOF()
			}
		})
	})
	t.Run("far", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p, s := w.publisher(), w.client()
			sub := s.OpenStream(fromGroup18)
			up := p.Accept(fromGroup18)
			up.Send("80 01 00 03")
			up.WantReset(wire.CodeCancel)
			again := p.Accept("02 01 01 05 636c6f636b 80 01 00 00 00")
			again.Send("80 01 00 03")
			sub.Want("80 01 00 03")
			p.Uni("00 01 03 01 61").Fin()
			s.WantNoUni(time.Second) // it asked for later ones
			other := w.client()
			other.OpenStream(subscribeHex).Want("80 01 00 03")
			other.AcceptUni("00 00 03 01 61").WantEOF()
		})
	})
	t.Run("not named by all", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p, s := w.publisher(), w.client()
			s.OpenStream(subscribeHex)
			time.Sleep(time.Millisecond) // else either may be the first
			s.OpenStream("02 01 01 05 636c6f636b 80 01 00 13 00")
			p.Accept(subscribeHex)
		})
	})
}
