package transfork

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
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
	c.sub = c.subscriber.openStream(subscribeHex)
	c.up = c.publisher.accept(subscribeHex)
	c.up.write(infoHex)
	c.sub.want(infoHex)
	return c
}

// TestB6GroupsBeforeInfo: the id is known before SUBSCRIBE is sent.
func TestB6GroupsBeforeInfo(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, s := w.publisher(), w.client()
		sub := s.openStream(subscribeHex)
		up := p.accept(subscribeHex)
		p.uni("00 00 14 01 61").fin()
		sub.want("80 01 00 14") // the group itself says what is newest
		s.acceptUni("00 00 14 01 61")
		up.write("80 01 00 14")
		p.uni("00 00 15 01 62").fin()
		s.acceptUni("00 00 15 01 62")
	})
}

// TestShared: one subscription at the publisher for all who ask, with the newest
// group from its start for each.
func TestShared(t *testing.T) {
	bubble(t, nil, func(w *world) {
		c := w.connectChain()
		g := c.publisher.uni("00 00 14 01 61")
		c.subscriber.acceptUni("00 00 14 01 61")
		second := w.client()
		second.openStream(subscribeHex).want("80 01 00 14")
		late := second.acceptUni("00 00 14 01 61")
		c.publisher.wantNoStream(time.Second)
		g.write("01 62")
		late.want("01 62")
	})
}

// TestLinger: the subscription at the publisher outlives the last subscriber for
// a while, and is then ended by a reset, which 0.6.8 notices at once (B8).
func TestB8Linger(t *testing.T) {
	bubble(t, nil, func(w *world) {
		c := w.connectChain()
		g := c.publisher.uni("00 00 14 01 61")
		c.subscriber.acceptUni("00 00 14 01 61")
		c.sub.fin()
		c.sub.wantEOF()
		c.up.wantSilence(w.config.Linger / 2)
		again := c.subscriber.openStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		again.want("80 01 00 14")
		c.subscriber.acceptUni("00 01 14 01 61")
		c.publisher.wantNoStream(time.Second) // it was still there
		start := time.Now()
		again.reset(wire.CodeCancel)
		c.up.wantReset(wire.CodeCancel)
		if took := time.Since(start); took > w.config.Linger+2*rtt {
			t.Errorf("unsubscribed after %v, want %v", took, w.config.Linger)
		}
		g.wantStop(wire.CodeNotFound)
		c.publisher.uni("00 00 15 01 62").wantStop(wire.CodeNotFound)
		w.wantMetric("subscriptions", "side=up", 0)

		fresh := c.subscriber.openStream("02 02 01 05 636c6f636b 80 01 00 00 00")
		c.publisher.accept("02 01 01 05 636c6f636b 80 01 00 00 00").write(infoHex) // nothing is kept without subscribers
		fresh.want(infoHex)
	})
}

// TestB7PublisherFinishes: FIN on the Subscribe stream ends the track, after the
// groups that are still under way.
func TestB7PublisherFinishes(t *testing.T) {
	bubble(t, nil, func(w *world) {
		c := w.connectChain()
		g := c.publisher.uni("00 00 14 01 61")
		first := c.subscriber.acceptUni("00 00 14 01 61")
		c.up.fin()
		late := c.publisher.uni("00 00 15 01 62") // overtaken by the FIN
		late.fin()
		c.subscriber.acceptUni("00 00 15 01 62").wantEOF()
		c.sub.wantSilence(time.Second)
		g.write("01 63")
		g.fin()
		first.want("01 63")
		first.wantEOF()
		c.sub.wantEOF()
		c.up.wantEOF() // a FIN for a FIN
	})
}

func TestB7PublisherResets(t *testing.T) {
	for _, code := range []wire.Code{wire.CodeCancel, wire.CodeNotFound, wire.CodeTransport, wire.AppCode(7)} {
		t.Run(code.String(), func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				c := w.connectChain()
				c.up.reset(code)
				c.sub.wantReset(code)
				c.up.wantReset(wire.CodeCancel)
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
		sub := s.openStream(subscribeHex)
		refuse(p.accept(subscribeHex), wire.CodeNotFound)
		sub.wantReset(wire.CodeNotFound)
		sub.wantStop(wire.CodeNotFound)
		w.wantMetric("subscribe_errors_total", "reason=not_found", 1)

		sub = s.openStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		up := p.accept("02 01 01 05 636c6f636b 80 01 00 00 00") // it is asked again
		time.Sleep(answerWait)
		sub.want(infoHex)
		refuse(up, wire.CodeNotFound)
		sub.wantReset(wire.CodeNotFound)
	})
}

// TestUnansweredUpstream: a publisher that never answers is given up.
func TestUnansweredUpstream(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, s := w.publisher(), w.client()
		sub := s.openStream(subscribeHex)
		up := p.accept(subscribeHex)
		start := time.Now()
		sub.want(infoHex)
		sub.wantReset(wire.CodeTransport)
		if took := time.Since(start); took > base.AnswerTimeout+base.LastGroupsWait {
			t.Errorf("given up after %v", took)
		}
		up.wantReset(wire.CodeCancel)
		w.wantMetric("subscribe_errors_total", "reason=timeout", 1)
	})
}

// TestB7Unannounced: publishers before us say only by withdrawing the path that
// a track has ended.
func TestB7Unannounced(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, announcements := w.announcer()
		s := w.client()
		sub := s.openStream(subscribeHex)
		up := p.accept(subscribeHex)
		up.write(infoHex)
		sub.want(infoHex)
		g := p.uni("00 00 14 01 61")
		last := s.acceptUni("00 00 14 01 61")
		announcements.write("00 01 05 636c6f636b")
		sub.wantSilence(time.Second) // the group goes on
		g.fin()
		last.wantEOF()
		sub.wantEOF()
		up.wantReset(wire.CodeCancel)

		announcements.write(activeClockHex) // it comes back
		settle()
		s.openStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		p.accept("02 01 01 05 636c6f636b 80 01 00 00 00")
	})
}

// TestB7PublisherLeaves: closing with 0 is the end, anything else a loss.
func TestB7PublisherLeaves(t *testing.T) {
	t.Run("done", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			c := w.connectChain()
			c.publisher.uni("00 00 14 01 61").fin()
			c.subscriber.acceptUni("00 00 14 01 61").wantEOF()
			_ = c.publisher.conn.CloseWithError(0, "")
			c.sub.wantEOF()
		})
	})
	t.Run("done in the middle of a group", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			c := w.connectChain()
			c.publisher.uni("00 00 14 01 61")
			last := c.subscriber.acceptUni("00 00 14 01 61")
			_ = c.publisher.conn.CloseWithError(0, "")
			last.wantReset(wire.CodeWrongSize)
			c.sub.want("14 00 0e")
			c.sub.wantEOF()
		})
	})
	t.Run("done, over WebTransport", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := &peer{w, w.dial(func(c *transport.DialConfig) { c.WebTransport = true })}
			p.shake()
			p.accept(interestHex).write(activeClockHex)
			settle()
			sub := w.client().openStream(subscribeHex)
			p.accept(subscribeHex).write(infoHex)
			sub.want(infoHex)
			_ = p.conn.CloseWithError(0, "")
			sub.wantEOF()
		})
	})
	t.Run("lost", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			c := w.connectChain()
			_ = c.publisher.conn.CloseWithError(4, "")
			c.sub.wantReset(wire.CodeTransport)
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
		{"reset between frames", "01 61", func(s *stream) { s.reset(wire.CodeTransport) }, wire.CodeWrongSize},
		{"reset inside a frame", "01 61 05 62", func(s *stream) { s.reset(wire.CodeTransport) }, wire.CodeWrongSize},
		{"FIN inside a frame", "01 61 05 62", (*stream).fin, wire.CodeWrongSize},
		{"FIN inside a size", "01 61 40", (*stream).fin, wire.CodeWrongSize},
		{"by the application", "01 61", func(s *stream) { s.reset(wire.AppCode(9)) }, wire.AppCode(9)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				c := w.connectChain()
				g := c.publisher.uni("00 00 14" + tt.bytes)
				s := c.subscriber.acceptUni("00 00 14 01 61")
				settle()
				tt.end(g)
				s.wantResetAfterData(tt.code)
				c.sub.wantBytes(wire.GroupDrop{First: 20, Code: tt.code}.Append(nil))
				c.publisher.uni("00 00 15 01 63").fin()
				c.subscriber.acceptUni("00 00 15 01 63").wantEOF()
			})
		})
	}
}

// TestB10DropsPassOn: what the publisher reports dropped is reported on; groups
// out of order arrive out of order, with their numbers.
func TestB10DropsPassOn(t *testing.T) {
	bubble(t, nil, func(w *world) {
		c := w.connectChain()
		c.publisher.uni("00 00 14 01 61").fin()
		c.subscriber.acceptUni("00 00 14 01 61")
		c.up.write("15 01 04") // groups 21 and 22
		c.sub.want("15 01 0e")
		c.publisher.uni("00 00 18 01 62").fin()
		c.subscriber.acceptUni("00 00 18 01 62")
		c.publisher.uni("00 00 17 01 63").fin()
		c.subscriber.acceptUni("00 00 17 01 63")
		c.publisher.uni("00 00 15 01 64").wantStop(wire.CodeCancel) // it was given up
		c.publisher.uni("00 00 17 01 65").wantStop(wire.CodeDuplicate)
		c.up.write("16 ffffffffffffffff 04")
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
		p.openStream(markedClient).want(markedServer)
		p.accept(interestHex).write(activeClockHex)
		settle()
		first := w.client().openStream(subscribe2)
		up := p.accept(subscribe2)
		up.write("82 00 00 00")
		first.want("82 00 41f4 00")
		second := w.client().openStream(subscribeMinus1)
		second.want("7f 01 43e8 00")
		up.want("40ff 01 43e8 00 00") // priority -1, descending, 1 s
		second.fin()
		up.want("02 00 41f4 00 00")
		up.wantSilence(time.Second)
	})
	t.Run("others are told nothing", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := w.publisher()
			first := w.client().openStream(subscribe2)
			up := p.accept(subscribe2)
			up.write("82 00 00 00")
			first.want("82 00 41f4 00")
			w.client().openStream(subscribeMinus1).want("7f 01 43e8 00")
			up.wantSilence(time.Second)
		})
	})
}

// TestB22LargeFrames: a frame beyond the limit ends its group, not the session,
// and nothing is allocated for what is only announced.
func TestB22LargeFrames(t *testing.T) {
	bubble(t, func(w *world) { w.config.TrackLimits = moq.Limits{MaxFrameSize: 1000} }, func(w *world) {
		c := w.connectChain()
		g := c.publisher.uni("00 00 14 01 61")
		s := c.subscriber.acceptUni("00 00 14 01 61")
		g.write("43e9")
		g.wantStop(wire.CodeBounds)
		s.wantReset(wire.CodeBounds)
		c.publisher.uni("00 00 15 ffffffffffffffff").wantStop(wire.CodeBounds)
		c.publisher.uni("00 00 16 01 63").fin()
		c.subscriber.acceptUni("00 00 16 01 63").wantEOF()
	})
	bubble(t, nil, func(w *world) {
		c := w.connectChain()
		c.publisher.uni("00 00 14 80400000 61") // 4 MiB, of which a byte comes
		settle()
		if used := w.config.Budget.Used(); used > 128<<10 {
			t.Errorf("%d bytes are allocated for one", used)
		}
		_ = c.up
	})
}

// TestB23OutgoingCredit: a publisher that allows few streams holds up only who
// waits for one of them.
func TestB23OutgoingCredit(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := &peer{w, w.dial(func(c *transport.DialConfig) { c.Limits = transport.Limits{MaxStreams: 2} })}
		p.shake()
		p.accept(interestHex).write("01 01 01 78 01 01 01 79" + activeClockHex)
		settle()
		s := w.client()
		s.openStream("02 00 01 01 78 80 01 00 00 00")
		p.accept("02 00 01 01 78 80 01 00 00 00").write(infoHex)
		blocked := s.openStream("02 01 01 01 79 80 01 00 00 00")
		w.group(w.publish("local"), 0, "a")
		s.openStream("02 02 01 05 6c6f63616c 80 01 00 00 00").want(infoHex)
		s.acceptUni("00 02 00 01 61")
		blocked.want(infoHex)
		blocked.wantReset(wire.CodeTransport) // after the time that any answer may take
	})
}

// TestRouting: exact paths only, the newest announcer first, and never a peer's
// own path back to it.
func TestRouting(t *testing.T) {
	bubble(t, nil, func(w *world) {
		older, newer, s := w.publisher(), w.publisher(), w.client()
		s.openStream("02 00 02 05 636c6f636b 01 78 80 01 00 00 00").wantReset(wire.CodeNotFound)
		s.openStream(subscribeHex)
		newer.accept(subscribeHex)
		older.wantNoStream(time.Second)
		_ = newer.conn.CloseWithError(0, "")
		settle()
		s.openStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		older.accept(subscribeHex)
		own := w.publisher() // a client may see itself
		own.openStream(subscribeHex)
		own.accept(subscribeHex)
	})
	bubble(t, func(w *world) { withNode(w); w.config.Class = origin.Peer }, func(w *world) {
		p := w.connect()
		p.openStream(markedClient).want(markedServer)
		p.accept(interestHex).write(activeClockHex)
		settle()
		p.openStream(subscribeHex).wantReset(wire.CodeNotFound)
		w.wantMetric("sessions", "peer=node,protocol=moq-transfork,transport=quic", 1)
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
		server.accept(sessionClientHex).write(sessionServerHex)
		for range 2 {
			str := server.accept("")
			typ := make([]byte, 1)
			if _, err := str.Read(typ); err != nil {
				t.Fatal(err)
			}
			if wire.StreamType(typ[0]) == wire.StreamSubscribe {
				str.want(strings.TrimPrefix(subscribeHex, "02"))
			}
		}
		server.uni("00 00 14 01 61").fin()
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
		w.client().openStream("03 01 05 636c6f636b 80 14 12").wantReset(wire.CodeNotFound) // a fetch
		p.wantNoStream(10 * time.Second)
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
	bubble(t, func(w *world) { w.config.Limits = session.ClientLimits() }, func(w *world) {
		p := w.publisher()
		s := w.session(0)
		before, err := s.Track(moq.NewPath("clock"))
		if err != nil {
			t.Fatal(err)
		}
		_ = p.conn.CloseWithError(4, "")
		settle()
		after, err := s.Track(moq.NewPath("other"))
		if err != nil {
			t.Fatal(err)
		}
		for _, track := range []*moq.Track{before, after} {
			<-track.Ended()
			if !errors.Is(track.Err(), moq.ErrGoingAway) {
				t.Errorf("%v ended with %v", track.Path(), track.Err())
			}
		}
	})
}
