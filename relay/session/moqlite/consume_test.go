package moqlite

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// These tests hold what the relay does at a publisher (sections 9, 10 and 18).

// TestShared: one subscription at the publisher for all who ask, with the newest
// group from its start for each, also of another version.
func TestShared(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		c := w.connectChain(v, v)
		g := c.publisher.Uni(c.publisher.groupHex(0, 5, 'a'))
		c.subscriber.AcceptUni(c.subscriber.groupHex(0, 5, 'a'))
		second := w.client(v)
		sub := second.subscribe(cam(7))
		sub.Want(second.okHex() + second.startHex(5))
		late := second.AcceptUni(second.groupHex(7, 5, 'a'))
		c.publisher.WantNoStream(time.Second)
		g.Send(frameHex(v, 'b'))
		late.Want(frameHex(v, 'b'))
	})
}

// frameHex is a further frame of peer.groupHex.
func frameHex(v wire.Version, payload byte) string {
	if v.HasTimestamps() {
		return fmt.Sprintf("47d0 01 %02x", payload)
	}
	return fmt.Sprintf("01 %02x", payload)
}

// TestMerged: what all subscribers want together is asked for, not more than the
// track has, and changes with them, where publishers are known to take that.
func TestMerged(t *testing.T) {
	each(t, versions[2:], nil, func(w *world, v wire.Version) {
		p := w.publisher(v)
		s := w.client(v)
		if v.HasTrack() {
			q := s.question()
			p.answer(p.infoHex())
			q.Want(p.infoHex())
		}
		ask := cam(0)
		ask.Ordered, ask.MaxAge = true, 1000
		first := s.subscribe(ask)
		first.Want(s.okHex())
		up := p.Accept(p.hexOf(ask))
		up.Send(p.okHex())
		wantUpdate := func(update wire.SubscribeUpdate) {
			w.Helper()
			if v.HasSetup() {
				up.WantBytes(update.Append(nil, v))
			}
			up.WantSilence(soon)
		}
		settle()

		second := w.client(v)
		ask = cam(0)
		ask.Priority, ask.MaxAge = 9, 2000
		sub := second.subscribe(ask)
		wantUpdate(wire.SubscribeUpdate{Priority: 9, MaxAge: 2000})
		sub.SendBytes(wire.SubscribeUpdate{Priority: 1, Ordered: true, MaxAge: 20_000}.Append(nil, v))
		longest := uint64(20_000)
		if v.HasTrack() {
			longest = 5000 // what the track has
		}
		wantUpdate(wire.SubscribeUpdate{Priority: 2, Ordered: true, MaxAge: longest})
		for i := range 20 { // a lot of changes are told as few, the last among them
			sub.SendBytes(wire.SubscribeUpdate{Priority: uint8(10 + i), Ordered: true, MaxAge: 20_000}.Append(nil, v))
		}
		last := wire.SubscribeUpdate{Priority: 29, Ordered: true, MaxAge: longest}.Append(nil, v)
		told := 0
		if !v.HasSetup() {
			up.WantSilence(time.Second)
			return
		}
		for got := []byte(nil); !bytes.Equal(got, last); told++ {
			got = w.read(up, len(last))
		}
		if told > 2 {
			t.Errorf("told %d times", told)
		}
		sub.Fin()
		wantUpdate(wire.SubscribeUpdate{Priority: 2, Ordered: true, MaxAge: 1000})
	})
}

// TestLinger: the subscription outlives the last subscriber for a while and is
// then ended from both sides; groups that come still are refused.
func TestLinger(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		c := w.connectChain(v, v)
		p, s := c.publisher, c.subscriber
		g := p.Uni(p.groupHex(0, 5, 'a'))
		s.AcceptUni(s.groupHex(0, 5, 'a'))
		if v < wire.Version03 {
			settle()
		}
		c.sub.Fin()
		again := s.subscribe(cam(1))
		again.Want(s.okHex())
		s.AcceptUni(s.groupHex(1, 5, 'a')).WantSilence(soon)
		p.WantNoStream(soon)
		start := time.Now()
		again.Reset(p.cancelled())
		c.up.WantResetAfterData(p.cancelled())
		c.up.WantStop(p.cancelled())
		if took := time.Since(start); took < w.Config.Linger || took > w.Config.Linger+2*rtt {
			t.Errorf("unsubscribed after %v, want %v", took, w.Config.Linger)
		}
		g.WantStop(p.cancelled())
		p.Uni(p.groupHex(0, 6, 'b')).WantStop(p.cancelled())
		w.WantMetric("subscriptions", "side=up", 0)
		if w.session(0).IsBroken() {
			t.Error("the session counts as lost")
		}
		p.wantAlive()

		fresh := s.subscribe(cam(2))
		fresh.Want(s.okHex())
		ask := c.wanted(cam(1)) // an id is never used again
		if v.HasTrack() {
			p.Accept(p.hexOf(ask)) // what was said of the track holds
		} else {
			p.Accept(p.hexOf(ask))
		}
	})
}

// TestGroupsBeforeAnswer: groups may come before anything on the Subscribe stream,
// and before the answer to TRACK.
func TestGroupsBeforeAnswer(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		p, s := w.publisher(v), w.client(v)
		sub := s.subscribe(cam(0))
		sub.Want(s.okHex())
		streams := 1
		if v.HasTrack() {
			streams = 2
		}
		var up, asked *stream
		for range streams {
			str, typ := p.next()
			if typ == byte(wire.StreamTrack) {
				asked = str
			} else {
				up = str
			}
		}
		p.Uni(p.groupHex(0, 5, 'a')).Fin()
		s.AcceptUni(s.groupHex(0, 5, 'a')).WantEOF()
		sub.Want(s.startHex(5))
		if asked != nil {
			asked.Send(p.infoHex())
		}
		up.Send(p.okHex() + p.startHex(5))
		p.Uni(p.groupHex(0, 6, 'b')).Fin()
		s.AcceptUni(s.groupHex(0, 6, 'b')).WantEOF()
	})
}

// TestUnknownID: the group is stopped with the code of what is not wanted, and
// nothing else happens.
func TestUnknownID(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		p := w.publisher(v)
		p.Uni(p.groupHex(9, 5, 'a')).WantStop(p.cancelled())
		p.Uni(p.groupHex(9, 5)).WantStop(p.cancelled())
		p.wantAlive()
	})
}

// TestOvertaken: after the publisher's FIN what is on its way still comes, to its
// end, and only then ours follows.
func TestOvertaken(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		c := w.connectChain(v, v)
		p, s := c.publisher, c.subscriber
		c.up.Send(p.startHex(5))
		g := p.Uni(p.groupHex(0, 5, 'a'))
		first := s.AcceptUni(s.groupHex(0, 5, 'a'))
		c.sub.Want(s.startHex(5))
		c.up.Send(p.endHex(7))
		c.up.Fin()
		time.Sleep(5 * time.Millisecond)
		p.Uni(p.groupHex(0, 6, 'b')).Fin()
		s.AcceptUni(s.groupHex(0, 6, 'b')).WantEOF()
		c.sub.WantSilence(time.Second)
		g.Send(frameHex(v, 'c'))
		g.Fin()
		first.Want(frameHex(v, 'c'))
		first.WantEOF()
		c.sub.Want(s.endHex(7))
		c.sub.WantEOF()
	})
}

// TestCompleteness: a group that was reset and is told as dropped counts once, so
// that the last one is waited for.
func TestCompleteness(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		c := w.connectChain(v, v)
		p, s := c.publisher, c.subscriber
		c.up.Send("00 01 05 01 01 08")
		g := p.Uni(p.groupHex(0, 5, 'a'))
		s.AcceptUni(s.groupHex(0, 5, 'a')).Stop(0)
		g.Reset(2)
		c.up.Send("02 03 05 05 02")
		p.Uni(p.groupHex(0, 6, 'b')).Fin()
		time.Sleep(rtt)
		p.Uni(p.groupHex(0, 6, 'b')).WantStop(map[bool]wire.Code{true: wire.ResetCancelled, false: wire.CodeDuplicate}[v.HasCosts()])
		c.up.Fin()
		time.Sleep(40 * time.Millisecond)
		p.Uni(p.groupHex(0, 7, 'c')).Fin()
		s.AcceptUni(s.groupHex(0, 6, 'b')).WantEOF()
		s.AcceptUni(s.groupHex(0, 7, 'c')).WantEOF()
	})
}

// TestEndAndDrops: what the publisher drops is passed on, what it said would come
// and did not is dropped, and the end is the one that it said.
func TestEndAndDrops(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		c := w.connectChain(v, v)
		p, s := c.publisher, c.subscriber
		code := wire.CodeDropped
		if v.HasCosts() {
			code = wire.ResetSessionClosed
		}
		c.up.Send("00 01 05")
		p.Uni(p.groupHex(0, 5, 'a')).Fin()
		s.AcceptUni(s.groupHex(0, 5, 'a'))
		c.sub.Want("00 01 05")
		c.up.Send("02 03 07 08 02")
		c.sub.Want(s.dropHex(7, 8, code))
		c.up.Send("02 03 0a 09 02") // the wrong way round
		c.up.Send("01 01 0b")
		c.up.Fin()
		s.wantParts(c.sub, "01 01 0b", s.dropHex(6, 6, code))
		s.wantDropped(c.sub, 9, 10, code)
		c.sub.WantEOF()
	})
	t.Run("no group at all", func(t *testing.T) {
		each(t, withSetup, nil, func(w *world, v wire.Version) {
			c := w.connectChain(v, v)
			c.up.Send("01 01 00")
			c.up.Fin()
			c.sub.Want("01 01 00")
			c.sub.WantEOF()
		})
	})
	t.Run("the end is far", func(t *testing.T) {
		each(t, withSetup, nil, func(w *world, v wire.Version) {
			c := w.connectChain(v, v)
			c.up.Send("00 01 05  01 08 ffffffffffffffff")
			p := c.publisher
			p.Uni(p.groupHex(0, 5, 'a')).Fin()
			c.subscriber.NextUni()
			c.up.Fin()
			c.sub.Want("00 01 05")
			end, _, err := v.ConsumeSubscribeReply(w.read(c.sub, 10))
			if err != nil || end.Type != wire.ReplyEnd || end.Group != 1<<62-1 {
				t.Errorf("told %+v, %v", end, err)
			}
			p.wantAlive()
		})
	})
}

// read reads so many bytes.
func (w *world) read(s *stream, n int) []byte {
	w.Helper()
	b := make([]byte, n)
	s.Deadline(soon)
	if m, err := io.ReadFull(s, b); err != nil {
		w.Fatalf("read % x, %v", b[:m], err)
	}
	return b
}

// TestPublisherRefuses: a reset of the Subscribe stream ends the track, for what
// the code says where that is the same in both tables.
func TestPublisherRefuses(t *testing.T) {
	tests := []struct {
		code, old, new wire.Code
	}{
		{wire.CodeDropped, wire.CodeDropped, wire.ResetSessionClosed},
		{wire.CodeNotFound, wire.CodeNotFound, wire.ResetUnroutable},
		{wire.ResetUnroutable, wire.CodeNotFound, wire.ResetUnroutable},
		{wire.ResetGoaway, wire.CodeDropped, wire.ResetSessionClosed},
		{wire.ResetNoCapacity, wire.CodeDropped, wire.ResetSessionClosed}, // never passed on
		{wire.ResetCancelled, wire.CodeCancel, wire.ResetCancelled},
		{0, wire.CodeCancel, wire.ResetInternal},
		{0x77, 0x77, 0x77}, // of the application
		{40, wire.CodeDropped, wire.ResetInternal},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(uint32(tt.code)), func(t *testing.T) {
			each(t, versions, nil, func(w *world, v wire.Version) {
				c := w.connectChain(v, v)
				c.publisher.refuse(c.up, tt.code)
				code := tt.old
				if v.HasCosts() {
					code = tt.new
				}
				c.sub.WantReset(code)
				c.sub.WantStop(code)
				c.publisher.wantAlive()
			})
		})
	}
}

// TestPublisherLost: a connection that is closed well ends its tracks well; one
// that is not, badly, with a code that lets subscribers try again.
func TestPublisherLost(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		for id, well := range []bool{true, false} {
			c := &chain{world: w, publisher: w.publisher(v), subscriber: w.client(v)}
			c.sub = c.subscriber.subscribe(cam(uint64(id)))
			c.sub.Want(c.subscriber.okHex())
			c.up = c.publisher.serve(c.wanted(cam(0)))
			settle()
			c.publisher.Uni(c.publisher.groupHex(0, 5, 'a'))
			s := c.subscriber.AcceptUni(c.subscriber.groupHex(uint8(id), 5, 'a'))
			c.sub.Want(c.subscriber.startHex(5))
			code := wire.CodeDropped
			if v.HasCosts() {
				code = wire.ResetSessionClosed
			}
			if well {
				c.publisher.Leave()
			} else {
				_ = c.publisher.Conn.CloseWithError(1, "")
			}
			s.WantReset(code) // it was not complete
			if well {
				c.subscriber.wantParts(c.sub, nonEmpty(c.subscriber.dropHex(5, 5, code), c.subscriber.endHex(6))...)
				c.sub.WantEOF()
			} else {
				c.sub.WantResetAfterData(code)
			}
		}
	})
}

// TestNoAnswer: up to lite-04 a subscription is answered; a publisher that does
// not is given up. Later ones accept without a word.
func TestNoAnswer(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		p, s := w.publisher(v), w.client(v)
		sub := s.subscribe(cam(0))
		sub.Want(s.okHex())
		if !v.HasTrack() {
			p.Accept("")
			sub.WantReset(wire.CodeTimeout)
			return
		}
		p.serve((&chain{publisher: p, subscriber: s}).wanted(cam(0)))
		sub.WantSilence(time.Minute)
	})
	t.Run("FIN in the place of an answer", func(t *testing.T) {
		each(t, versions[:4], nil, func(w *world, v wire.Version) {
			p, s := w.publisher(v), w.client(v)
			sub := s.subscribe(cam(0))
			sub.Want(s.okHex())
			p.Accept("").Fin()
			sub.WantResetAfterData(s.notFound())
		})
	})
	t.Run("an answer that is none", func(t *testing.T) {
		each(t, versions, nil, func(w *world, v wire.Version) {
			p, s := w.publisher(v), w.client(v)
			sub := s.subscribe(cam(0))
			sub.Want(s.okHex())
			if v.HasTrack() {
				p.serve((&chain{publisher: p, subscriber: s}).wanted(cam(0))).Send("09 00")
			} else {
				p.Accept("").Send("09 00 00 00 00 00 00 00 00 00")
			}
			code := wire.CodeDecode
			if v.HasCosts() {
				code = wire.ResetCancelled
			}
			sub.WantReset(code)
			p.wantAlive()
		})
	})
}

// TestBrokenGroups: what ends inside, or breaks the rules, is cut for subscribers
// as well and reported, and later groups come.
func TestBrokenGroups(t *testing.T) {
	tests := []struct {
		name     string
		versions []wire.Version
		frames   string // behind a first one
		end      func(s *stream)
		old, new wire.Code
	}{
		{"FIN inside a header", versions, "40", (*stream).Fin, wire.CodeDropped, wire.ResetSessionClosed},
		{"FIN inside a payload", versions, "05 05 6161", (*stream).Fin, wire.CodeDropped, wire.ResetSessionClosed},
		{"reset", versions, "", func(s *stream) { s.Reset(2) }, wire.CodeDropped, wire.ResetSessionClosed},
		{"reset by the application", versions, "", func(s *stream) { s.Reset(0x41) }, 0x41, 0x41},
		{"a timestamp below 0", withSetup, "4fa1 00", nil, wire.CodeDecode, wire.ResetCancelled},
		{"a timestamp above the highest", withSetup, "fffffffffffffffe 00", nil, wire.CodeDecode, wire.ResetCancelled},
		{"a frame of 2^62-1 bytes", versions, "05 ffffffffffffffff", nil, wire.CodeFrameTooLarge, wire.ResetFrameTooLarge},
		{"a frame above the limit", versions, "05 84000001", nil, wire.CodeFrameTooLarge, wire.ResetFrameTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, tt.versions, nil, func(w *world, v wire.Version) {
				c := w.connectChain(v, v)
				p, s := c.publisher, c.subscriber
				g := p.Uni(p.groupHex(0, 5, 'a'))
				got := s.AcceptUni(s.groupHex(0, 5, 'a'))
				frames := unhex(tt.frames)
				if !v.HasTimestamps() && len(frames) > 1 {
					frames = frames[1:]
				}
				g.SendBytes(frames)
				code := tt.old
				if v.HasCosts() {
					code = tt.new
				}
				if tt.end != nil {
					settle()
					tt.end(g)
				} else {
					g.WantStop(code)
				}
				got.WantResetAfterData(code)
				p.Uni(p.groupHex(0, 6, 'b')).Fin()
				s.AcceptUni(s.groupHex(0, 6, 'b')).WantEOF()
				p.wantAlive()
			})
		})
	}
}

// TestEmptyGroup: a group may have no frames, a frame no bytes, and time may go
// back.
func TestEmptyGroup(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		c := w.connectChain(v, v)
		p, s := c.publisher, c.subscriber
		p.Uni(p.groupHex(0, 5)).Fin()
		s.AcceptUni(s.groupHex(0, 5)).WantEOF()
		frames := "00 01 61 00"
		if v.HasTimestamps() {
			frames = "47d0 00  4042 01 61  0d 00" // V23
		}
		p.Uni(p.groupHex(0, 6) + frames).Fin()
		s.AcceptUni(s.groupHex(0, 6) + frames).WantEOF()
	})
}

// TestFrameStartOfPublisher: a group that begins later than it was asked for is
// refused and reported.
func TestFrameStartOfPublisher(t *testing.T) {
	bubble(t, nil, func(w *world) {
		c := w.connectChain(wire.Version06, wire.Version06)
		c.publisher.Uni("00 03 00 05 00 47d0 01 61").Fin()
		c.subscriber.NextUni()
		c.sub.Want("00 01 05")
		c.publisher.Uni("00 03 00 06 0f 4bb8 01 05").WantStop(wire.ResetCancelled) // V42
		c.sub.Want("02 03 06 06 03")
	})
}

// TestExplicitStart: a first group that all have named is asked for; a floor of
// lite-06 is none for older publishers, nor is its age.
func TestExplicitStart(t *testing.T) {
	tests := []struct {
		name     string
		from, to wire.Version
		start    uint64
		want     wire.Subscribe
	}{
		{"a floor", wire.Version06, wire.Version06, 41, wire.Subscribe{MaxAge: 250, Start: new(uint64(41))}},
		{"a start of lite-05", wire.Version06, wire.Version05, 41, wire.Subscribe{MaxAge: 250, Start: new(uint64(41))}},
		{"group 0 is no floor", wire.Version06, wire.Version05, 0, wire.Subscribe{MaxAge: 250}},
		{"to lite-05", wire.Version05, wire.Version05, 41, wire.Subscribe{MaxAge: 250, Start: new(uint64(41))}},
		{"to lite-03", wire.Version03, wire.Version04, 0, wire.Subscribe{MaxAge: 250, Start: new(uint64(0))}},
		{"a floor to lite-05", wire.Version05, wire.Version06, 41, wire.Subscribe{MaxAge: 250}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				p, s := w.publisher(tt.from), w.client(tt.to)
				ask := cam(0)
				ask.Start = &tt.start
				sub := s.subscribe(ask)
				sub.Want(s.okHex())
				want := cam(0)
				want.MaxAge, want.Start = tt.want.MaxAge, tt.want.Start
				up := p.serve(want)
				// What changes later leaves the start as it is.
				sub.SendBytes(wire.SubscribeUpdate{Priority: 9, MaxAge: 250, Start: &tt.start}.Append(nil, tt.to))
				if tt.from.HasSetup() {
					up.WantBytes(wire.SubscribeUpdate{Priority: 9, MaxAge: 250, Start: tt.want.Start}.Append(nil, tt.from))
				}
				up.WantSilence(soon)
			})
		})
	}
	t.Run("gone", func(t *testing.T) {
		each(t, withSetup, nil, func(w *world, v wire.Version) {
			p, s := w.publisher(v), w.client(v)
			ask := oldest(cam(0))
			ask.Start, ask.MaxAge = new(uint64(3)), 250
			sub := s.subscribe(ask)
			up := p.serve(ask)
			up.Send("00 01 05") // 3 and 4 are gone
			p.Uni(p.groupHex(0, 5, 'a')).Fin()
			s.wantParts(sub, "00 01 05", s.dropHex(3, 4, map[bool]wire.Code{true: 3, false: 24}[v.HasCosts()]))
		})
	})
}

// TestAgeOfNewcomers: from lite-06 on the age says where to start: it is 0 for
// those who want the latest, until that is known, and theirs for those who want
// more.
func TestAgeOfNewcomers(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, s := w.publisher(wire.Version06), w.client(wire.Version05)
		s.subscribe(cam(0))
		ask := cam(0)
		ask.MaxAge = 0
		up := p.serve(ask)
		up.WantSilence(time.Second)
		p.Uni(p.groupHex(0, 5, 'a')) // now it is known
		up.WantBytes(wire.SubscribeUpdate{Priority: 2, MaxAge: 250}.Append(nil, wire.Version06))
		deep := cam(0)
		deep.MaxAge = 4000
		w.client(wire.Version06).subscribe(deep)
		up.WantBytes(wire.SubscribeUpdate{Priority: 2, MaxAge: 4000}.Append(nil, wire.Version06))
	})
}

// TestEchoOfSubscriptions: a publisher may subscribe what it publishes itself.
func TestEchoOfSubscriptions(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		p := w.publisher(v)
		sub := p.subscribe(cam(3))
		sub.Want(p.okHex())
		p.serve((&chain{publisher: p, subscriber: p}).wanted(cam(0)))
		p.Uni(p.groupHex(0, 5, 'a')).Fin()
		p.AcceptUni(p.groupHex(3, 5, 'a')).WantEOF()
	})
}

// TestTracksEndWithTheSession holds that nobody waits for a session that is gone.
func TestTracksEndWithTheSession(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		p := w.publisher(v)
		s := w.session(0)
		before, err := s.Track(moq.ParsePath("cam/v"))
		if err != nil {
			t.Fatal(err)
		}
		_ = p.Conn.CloseWithError(4, "")
		settle()
		if track, err := s.Track(moq.ParsePath("cam/other")); track != nil || !errors.Is(err, moq.ErrGoingAway) {
			t.Errorf("after the end there is %v, %v", track, err)
		}
		<-before.Ended()
		if !errors.Is(before.Err(), moq.ErrGoingAway) {
			t.Errorf("the track ended with %v", before.Err())
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.upstreams)+len(s.receiving)+len(s.fetches) > 0 {
			t.Errorf("%d tracks, %d ids and %d fetches are left", len(s.upstreams), len(s.receiving), len(s.fetches))
		}
	})
}

// TestStartsLate: a first group that the publisher has not come to holds up only who
// has named it: for who wants a lower one, or the latest, it is subscribed anew.
func TestStartsLate(t *testing.T) {
	far := cam(0)
	far.Start = new(uint64(1 << 60))
	near := cam(0)
	near.Start = new(uint64(3))
	tests := []struct {
		name   string
		second wire.Subscribe
		after  time.Duration // when that comes
		wait   time.Duration // until it is asked for
	}{
		{"for the latest", cam(0), time.Second, 0},
		{"for a lower one", near, time.Second, 0},
		{"the first may still come", cam(0), 100 * time.Millisecond, startWait - 100*time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, versions[2:], nil, func(w *world, v wire.Version) {
				p, early := w.publisher(v), w.client(v)
				early.subscribe(far)
				up := p.serve(far)
				late := w.client(v)
				time.Sleep(tt.after)
				start := time.Now()
				late.subscribe(tt.second).Want(late.okHex())
				again := tt.second
				again.ID = 1
				fresh := p.Accept(p.hexOf(again))
				fresh.Send(p.okHex() + p.startHex(5))
				if took := time.Since(start); took < tt.wait-3*rtt || took > tt.wait+3*rtt {
					t.Errorf("it was asked for after %v, want %v", took, tt.wait)
				}
				up.WantResetAfterData(p.cancelled())
				up.WantStop(p.cancelled())
				p.Uni(p.groupHex(0, 4, 'a')).WantStop(p.cancelled())
				p.Uni(p.groupHex(1, 5, 'a')).Fin()
				late.AcceptUni(late.groupHex(0, 5, 'a')).WantEOF()
				early.WantNoUni(soon)
				w.client(v).subscribe(cam(0)) // joins the others
				p.WantNoStream(time.Second)
			})
		})
	}
	t.Run("the publisher names it as well", func(t *testing.T) {
		each(t, withSetup, nil, func(w *world, v wire.Version) {
			p, s := w.publisher(v), w.client(v)
			s.subscribe(far)
			said := wire.SubscribeReply{Type: wire.ReplyOK, Group: *far.Start}.Append(nil, v)
			p.serve(far).SendBytes(said)
			time.Sleep(time.Second)
			w.client(v).subscribe(cam(0))
			p.Accept(p.hexOf(cam(1)))
			if largest, ok := w.session(0).Live()[0].Largest(); ok {
				t.Errorf("the track has come to %+v", largest)
			}
		})
	})
	t.Run("once groups come it stands", func(t *testing.T) {
		each(t, versions[2:], nil, func(w *world, v wire.Version) {
			p, s := w.publisher(v), w.client(v)
			s.subscribe(near)
			p.serve(near)
			p.Uni(p.groupHex(0, 3, 'a')).Fin()
			s.AcceptUni(s.groupHex(0, 3, 'a')).WantEOF()
			time.Sleep(time.Second)
			w.client(v).subscribe(cam(0))
			p.WantNoStream(time.Second)
		})
	})
	t.Run("for one who changes his mind", func(t *testing.T) {
		each(t, versions[2:], nil, func(w *world, v wire.Version) {
			p, s := w.publisher(v), w.client(v)
			sub := s.subscribe(far)
			p.serve(far)
			time.Sleep(time.Second)
			sub.SendBytes(wire.SubscribeUpdate{Priority: 2, MaxAge: 250, Start: near.Start}.Append(nil, v))
			again := near
			again.ID = 1
			p.Accept(p.hexOf(again))
		})
	})
}
