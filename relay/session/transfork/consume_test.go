package transfork

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// These tests hold the subscriber half: what the relay does at a publisher.

// chain is a publisher and a subscriber of clock with the relay between.
type chain struct {
	*world
	publisher, subscriber *peer
	up, sub               *stream // Subscribe streams at the two
}

// connectChain subscribes, with INFO passed through.
func (w *world) connectChain() *chain {
	w.Helper()
	c := &chain{world: w, publisher: w.publisher(), subscriber: w.client()}
	c.sub = c.subscriber.OpenStream(subscribeHex)
	c.up = c.publisher.Accept(subscribeHex)
	c.up.Send(infoHex)
	c.sub.Want(infoHex)
	return c
}

// TestB6GroupsBeforeInfo: the id is known before SUBSCRIBE is sent.
func TestB6GroupsBeforeInfo(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, s := w.publisher(), w.client()
		sub := s.OpenStream(subscribeHex)
		up := p.Accept(subscribeHex)
		p.Uni("00 00 14 01 61").Fin()
		sub.Want("80 01 00 14") // the group itself says what is newest
		s.AcceptUni("00 00 14 01 61")
		up.Send("80 01 00 14")
		p.Uni("00 00 15 01 62").Fin()
		s.AcceptUni("00 00 15 01 62")
	})
}

// TestShared: one subscription at the publisher for all who ask, with the newest
// group from its start for each.
func TestShared(t *testing.T) {
	bubble(t, nil, func(w *world) {
		c := w.connectChain()
		g := c.publisher.Uni("00 00 14 01 61")
		c.subscriber.AcceptUni("00 00 14 01 61")
		second := w.client()
		second.OpenStream(subscribeHex).Want("80 01 00 14")
		late := second.AcceptUni("00 00 14 01 61")
		c.publisher.WantNoStream(time.Second)
		g.Send("01 62")
		late.Want("01 62")
	})
}

// TestLinger: the subscription at the publisher outlives the last subscriber for
// a while, and is then ended by a reset, which 0.6.8 notices at once (B8).
func TestB8Linger(t *testing.T) {
	bubble(t, nil, func(w *world) {
		c := w.connectChain()
		g := c.publisher.Uni("00 00 14 01 61")
		c.subscriber.AcceptUni("00 00 14 01 61")
		c.sub.Fin()
		c.sub.WantEOF()
		c.up.WantSilence(w.Config.Linger / 2)
		again := c.subscriber.OpenStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		again.Want("80 01 00 14")
		c.subscriber.AcceptUni("00 01 14 01 61")
		c.publisher.WantNoStream(time.Second) // it was still there
		start := time.Now()
		again.Reset(wire.CodeCancel)
		c.up.WantReset(wire.CodeCancel)
		if took := time.Since(start); took > w.Config.Linger+2*rtt {
			t.Errorf("unsubscribed after %v, want %v", took, w.Config.Linger)
		}
		g.WantStop(wire.CodeNotFound)
		c.publisher.Uni("00 00 15 01 62").WantStop(wire.CodeNotFound)
		w.WantMetric("subscriptions", "side=up", 0)

		fresh := c.subscriber.OpenStream("02 02 01 05 636c6f636b 80 01 00 00 00")
		c.publisher.Accept("02 01 01 05 636c6f636b 80 01 00 00 00").Send(infoHex) // nothing is kept without subscribers
		fresh.Want(infoHex)
	})
}

// TestB7PublisherFinishes: FIN on the Subscribe stream ends the track, after the
// groups that are still under way.
func TestB7PublisherFinishes(t *testing.T) {
	bubble(t, nil, func(w *world) {
		c := w.connectChain()
		g := c.publisher.Uni("00 00 14 01 61")
		first := c.subscriber.AcceptUni("00 00 14 01 61")
		c.up.Fin()
		late := c.publisher.Uni("00 00 15 01 62") // overtaken by the FIN
		late.Fin()
		c.subscriber.AcceptUni("00 00 15 01 62").WantEOF()
		c.sub.WantSilence(time.Second)
		g.Send("01 63")
		g.Fin()
		first.Want("01 63")
		first.WantEOF()
		c.sub.WantEOF()
		c.up.WantEOF() // a FIN for a FIN
	})
}

func TestB7PublisherResets(t *testing.T) {
	for _, code := range []wire.Code{wire.CodeCancel, wire.CodeNotFound, wire.CodeTransport, wire.AppCode(7)} {
		t.Run(code.String(), func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				c := w.connectChain()
				c.up.Reset(code)
				c.sub.WantReset(code)
				c.up.WantReset(wire.CodeCancel)
				c.publisher.wantAlive()
				c.subscriber.wantAlive()
			})
		})
	}
}

// TestRefusedUpstream: what the publisher refuses is refused, before INFO and after.
func TestRefusedUpstream(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, s := w.publisher(), w.client()
		sub := s.OpenStream(subscribeHex)
		refuse(p.Accept(subscribeHex), wire.CodeNotFound)
		sub.WantReset(wire.CodeNotFound)
		sub.WantStop(wire.CodeNotFound)
		w.WantMetric("subscribe_errors_total", "reason=not_found", 1)

		sub = s.OpenStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		up := p.Accept("02 01 01 05 636c6f636b 80 01 00 00 00") // it is asked again
		time.Sleep(answerWait)
		sub.Want(infoHex)
		refuse(up, wire.CodeNotFound)
		sub.WantReset(wire.CodeNotFound)
	})
}

// TestUnansweredUpstream: a publisher that never answers is given up.
func TestUnansweredUpstream(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, s := w.publisher(), w.client()
		sub := s.OpenStream(subscribeHex)
		up := p.Accept(subscribeHex)
		start := time.Now()
		sub.Want(infoHex)
		sub.WantReset(wire.CodeTransport)
		if took := time.Since(start); took > base.AnswerTimeout+base.LastGroupsWait {
			t.Errorf("given up after %v", took)
		}
		up.WantReset(wire.CodeCancel)
		w.WantMetric("subscribe_errors_total", "reason=timeout", 1)
	})
}

// TestB7Unannounced: publishers before us say only by withdrawing the path that
// a track has ended.
func TestB7Unannounced(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, announcements := w.announcer()
		s := w.client()
		sub := s.OpenStream(subscribeHex)
		up := p.Accept(subscribeHex)
		up.Send(infoHex)
		sub.Want(infoHex)
		g := p.Uni("00 00 14 01 61")
		last := s.AcceptUni("00 00 14 01 61")
		announcements.Send("00 01 05 636c6f636b")
		sub.WantSilence(time.Second) // the group goes on
		g.Fin()
		last.WantEOF()
		sub.WantEOF()
		up.WantReset(wire.CodeCancel)

		announcements.Send(activeClockHex) // it comes back
		settle()
		s.OpenStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		p.Accept("02 01 01 05 636c6f636b 80 01 00 00 00")
	})
}

// TestB7PublisherLeaves: closing with 0 is the end, anything else a loss.
func TestB7PublisherLeaves(t *testing.T) {
	t.Run("done", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			c := w.connectChain()
			c.publisher.Uni("00 00 14 01 61").Fin()
			c.subscriber.AcceptUni("00 00 14 01 61").WantEOF()
			_ = c.publisher.Conn.CloseWithError(0, "")
			c.sub.WantEOF()
		})
	})
	t.Run("done in the middle of a group", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			c := w.connectChain()
			c.publisher.Uni("00 00 14 01 61")
			last := c.subscriber.AcceptUni("00 00 14 01 61")
			_ = c.publisher.Conn.CloseWithError(0, "")
			last.WantReset(wire.CodeWrongSize)
			c.sub.Want("14 00 0e")
			c.sub.WantEOF()
		})
	})
	t.Run("done, over WebTransport", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := w.peer(w.Dial(func(c *transport.DialConfig) { c.WebTransport = true }))
			p.shake()
			p.Accept(interestHex).Send(activeClockHex)
			settle()
			sub := w.client().OpenStream(subscribeHex)
			p.Accept(subscribeHex).Send(infoHex)
			sub.Want(infoHex)
			_ = p.Conn.CloseWithError(0, "")
			sub.WantEOF()
		})
	})
	t.Run("lost", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			c := w.connectChain()
			_ = c.publisher.Conn.CloseWithError(4, "")
			c.sub.WantReset(wire.CodeTransport)
		})
	})
}

// TestB9TruncatedUpstream: a group that its publisher did not finish is not
// finished here, wherever it stopped.
func TestB9TruncatedUpstream(t *testing.T) {
	tests := []struct {
		name, bytes string
		end         func(*stream)
		code        wire.Code
	}{
		{"reset between frames", "01 61", func(s *stream) { s.Reset(wire.CodeTransport) }, wire.CodeWrongSize},
		{"reset inside a frame", "01 61 05 62", func(s *stream) { s.Reset(wire.CodeTransport) }, wire.CodeWrongSize},
		{"FIN inside a frame", "01 61 05 62", (*stream).Fin, wire.CodeWrongSize},
		{"FIN inside a size", "01 61 40", (*stream).Fin, wire.CodeWrongSize},
		{"by the application", "01 61", func(s *stream) { s.Reset(wire.AppCode(9)) }, wire.AppCode(9)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				c := w.connectChain()
				g := c.publisher.Uni("00 00 14" + tt.bytes)
				s := c.subscriber.AcceptUni("00 00 14 01 61")
				settle()
				tt.end(g)
				s.WantResetAfterData(tt.code)
				c.sub.WantBytes(wire.GroupDrop{First: 20, Code: tt.code}.Append(nil))
				c.publisher.Uni("00 00 15 01 63").Fin()
				c.subscriber.AcceptUni("00 00 15 01 63").WantEOF()
			})
		})
	}
}

// TestB10DropsPassOn: what the publisher reports dropped is reported on; groups
// out of order arrive out of order, with their numbers.
func TestB10DropsPassOn(t *testing.T) {
	bubble(t, nil, func(w *world) {
		c := w.connectChain()
		c.publisher.Uni("00 00 14 01 61").Fin()
		c.subscriber.AcceptUni("00 00 14 01 61")
		c.up.Send("15 01 04") // groups 21 and 22
		c.sub.Want("15 01 0e")
		c.publisher.Uni("00 00 18 01 62").Fin()
		c.subscriber.AcceptUni("00 00 18 01 62")
		c.publisher.Uni("00 00 17 01 63").Fin()
		c.subscriber.AcceptUni("00 00 17 01 63")
		c.publisher.Uni("00 00 15 01 64").WantStop(wire.CodeCancel) // it was given up
		c.publisher.Uni("00 00 17 01 65").WantStop(wire.CodeDuplicate)
		c.up.Send("16 ffffffffffffffff 04")
		c.publisher.wantAlive()
	})
}

// TestB18Aggregated: a publisher is told the most urgent of what is asked for, as
// it changes, if it is one of ours.
func TestB18Aggregated(t *testing.T) {
	const (
		subscribeMinus1 = "02 00 01 05 636c6f636b 7f 01 43e8 00 00" // priority -1, 1 s
		subscribe2      = "02 00 01 05 636c6f636b 82 00 41f4 00 00" // priority 2, ascending, 500 ms
	)
	bubble(t, withNode, func(w *world) {
		p := w.connect()
		p.OpenStream(markedClient).Want(markedServer)
		p.Accept(interestHex).Send(activeClockHex)
		settle()
		first := w.client().OpenStream(subscribe2)
		up := p.Accept(subscribe2)
		up.Send("82 00 00 00")
		first.Want("82 00 41f4 00")
		second := w.client().OpenStream(subscribeMinus1)
		second.Want("7f 01 43e8 00")
		up.Want("40ff 01 43e8 00 00") // priority -1, descending, 1 s
		second.Fin()
		up.Want("02 00 41f4 00 00")
		up.WantSilence(time.Second)
	})
	t.Run("others are told nothing", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := w.publisher()
			first := w.client().OpenStream(subscribe2)
			up := p.Accept(subscribe2)
			up.Send("82 00 00 00")
			first.Want("82 00 41f4 00")
			w.client().OpenStream(subscribeMinus1).Want("7f 01 43e8 00")
			up.WantSilence(time.Second)
		})
	})
}

// TestB22LargeFrames: a frame beyond the limit ends its group, not the session,
// and nothing is allocated for what is only announced.
func TestB22LargeFrames(t *testing.T) {
	bubble(t, func(w *world) { w.Config.TrackLimits = moq.Limits{MaxFrameSize: 1000} }, func(w *world) {
		c := w.connectChain()
		g := c.publisher.Uni("00 00 14 01 61")
		s := c.subscriber.AcceptUni("00 00 14 01 61")
		g.Send("43e9")
		g.WantStop(wire.CodeBounds)
		s.WantReset(wire.CodeBounds)
		c.publisher.Uni("00 00 15 ffffffffffffffff").WantStop(wire.CodeBounds)
		c.publisher.Uni("00 00 16 01 63").Fin()
		c.subscriber.AcceptUni("00 00 16 01 63").WantEOF()
	})
	bubble(t, nil, func(w *world) {
		c := w.connectChain()
		c.publisher.Uni("00 00 14 80400000 61") // 4 MiB, of which a byte comes
		settle()
		if used := w.Config.Budget.Used(); used > 128<<10 {
			t.Errorf("%d bytes are allocated for one", used)
		}
		_ = c.up
	})
}

// TestB23OutgoingCredit: a publisher that allows few streams holds up only who
// waits for one of them.
func TestB23OutgoingCredit(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.peer(w.Dial(func(c *transport.DialConfig) { c.Limits = transport.Limits{MaxStreams: 2} }))
		p.shake()
		p.Accept(interestHex).Send("01 01 01 78 01 01 01 79" + activeClockHex)
		settle()
		s := w.client()
		s.OpenStream("02 00 01 01 78 80 01 00 00 00")
		p.Accept("02 00 01 01 78 80 01 00 00 00").Send(infoHex)
		blocked := s.OpenStream("02 01 01 01 79 80 01 00 00 00")
		w.Group(w.Publish("local"), 0, "a")
		s.OpenStream("02 02 01 05 6c6f63616c 80 01 00 00 00").Want(infoHex)
		s.AcceptUni("00 02 00 01 61")
		blocked.Want(infoHex)
		blocked.WantReset(wire.CodeTransport) // after the time that any answer may take
	})
}

// TestRouting: exact paths only, the newest announcer first, and never a peer's
// own path back to it.
func TestRouting(t *testing.T) {
	bubble(t, nil, func(w *world) {
		older, newer, s := w.publisher(), w.publisher(), w.client()
		s.OpenStream("02 00 02 05 636c6f636b 01 78 80 01 00 00 00").WantReset(wire.CodeNotFound)
		s.OpenStream(subscribeHex)
		newer.Accept(subscribeHex)
		older.WantNoStream(time.Second)
		_ = newer.Conn.CloseWithError(0, "")
		settle()
		s.OpenStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		older.Accept(subscribeHex)
		own := w.publisher() // a client may see itself
		own.OpenStream(subscribeHex)
		own.Accept(subscribeHex)
	})
	bubble(t, withNode, func(w *world) {
		p := w.connect()
		p.OpenStream(markedClient).Want(markedServer)
		p.Accept(interestHex).Send(activeClockHex)
		settle()
		p.OpenStream(subscribeHex).WantReset(wire.CodeNotFound)
		w.WantMetric("sessions", "peer=node,protocol=moq-transfork,transport=quic", 1)
	})
}

// TestTrackWithoutAnnouncement: a session can be asked for any path, at any time.
func TestTrackWithoutAnnouncement(t *testing.T) {
	dialled(t, nil, func(_ *world, s *Session, server *peer) {
		track, err := s.Track(moq.NewPath("clock")) // before the handshake is done
		if err != nil {
			t.Fatal(err)
		}
		sub, err := track.Subscribe(moq.SubscribeOptions{Priority: moq.DefaultPriority})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		server.Accept(sessionClientHex).Send(sessionServerHex)
		for range 2 {
			str := server.Accept("")
			typ := make([]byte, 1)
			if _, err := str.Read(typ); err != nil {
				t.Fatal(err)
			}
			if wire.StreamType(typ[0]) == wire.StreamSubscribe {
				str.Want(strings.TrimPrefix(subscribeHex, "02"))
			}
		}
		server.Uni("00 00 14 01 61").Fin()
		g, err := sub.Next(server.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if frame, err := g.NextFrame(server.Context()); string(frame) != "a" || g.Sequence() != 20 {
			t.Errorf("group %d begins with %q, %v", g.Sequence(), frame, err)
		}
		if _, err := s.Track(moq.NewPath("\xff")); !errors.Is(err, moq.ErrNotFound) {
			t.Errorf("a path that is no text: %v", err)
		}
	})
}

// TestUnusedTrack: a track that nobody subscribes costs the publisher nothing.
func TestUnusedTrack(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.publisher()
		w.client().OpenStream("03 01 05 636c6f636b 80 14 12").WantReset(wire.CodeNotFound) // a fetch
		p.WantNoStream(10 * time.Second)
		s := w.session(0)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.upstreams)+len(s.receiving) > 0 {
			t.Errorf("%d tracks and %d ids are left", len(s.upstreams), len(s.receiving))
		}
	})
}

// TestTracksEndWithTheSession holds that nobody waits for a session that is gone.
func TestTracksEndWithTheSession(t *testing.T) {
	bubble(t, func(w *world) { w.Config.Limits = session.ClientLimits() }, func(w *world) {
		p := w.publisher()
		s := w.session(0)
		before, err := s.Track(moq.NewPath("clock"))
		if err != nil {
			t.Fatal(err)
		}
		_ = p.Conn.CloseWithError(4, "")
		settle()
		if track, err := s.Track(moq.NewPath("other")); track != nil || !errors.Is(err, moq.ErrGoingAway) {
			t.Errorf("after the end there is %v, %v", track, err)
		}
		<-before.Ended()
		if !errors.Is(before.Err(), moq.ErrGoingAway) {
			t.Errorf("the track ended with %v", before.Err())
		}
	})
}
