package moqlite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// These tests hold what the relay does for a subscriber (sections 9 and 10).

// framesHex is a Group stream, with the frames of world.stamped.
func (p *peer) framesHex(id, sequence uint8, second int, frames ...string) string {
	b := wire.Group{ID: uint64(id), Sequence: uint64(sequence)}.Append([]byte{0}, p.v)
	delta := int64(second) * 1000
	for _, f := range frames {
		b = wire.FrameHeader{Delta: delta, Size: uint64(len(f))}.Append(b, p.v)
		b = append(b, f...)
		delta = 1000
	}
	return hexString(string(b))
}

// wantGroup takes the next group, which has to be this one to its end.
func (p *peer) wantGroup(id, sequence uint8, second int, frames ...string) {
	p.Helper()
	p.AcceptUni(p.framesHex(id, sequence, second, frames...)).WantEOF()
}

// dropHex is SUBSCRIBE_DROP where there is one.
func (p *peer) dropHex(first, last uint8, code wire.Code) string {
	switch {
	case p.v >= wire.Version05:
		return fmt.Sprintf("02 03 %02x %02x %02x", first, last, uint32(code))
	case p.v >= wire.Version03:
		return fmt.Sprintf("01 03 %02x %02x %02x", first, last, uint32(code))
	default:
		return ""
	}
}

// wantDropped reads drops of groups one behind the other.
func (p *peer) wantDropped(s *stream, first, last uint64, code wire.Code) {
	p.Helper()
	for first <= last {
		m, _, err := p.v.ConsumeSubscribeReply(p.read(s, len(unhex(p.dropHex(0, 0, code)))))
		if err != nil || m.Type != wire.ReplyDrop || m.First != first || m.Last > last || m.Code != code {
			p.Fatalf("read %+v, %v; want the drop of %d to %d with %v", m, err, first, last, code)
		}
		first = m.Last + 1
	}
}

// oldest asks for groups in the order of their numbers, where that can be said.
func oldest(ask wire.Subscribe) wire.Subscribe {
	ask.Ordered = true
	ask.MaxAge = wire.NoMaxAge
	return ask
}

// TestNewcomer: the latest group from its first frame, then whatever comes.
func TestNewcomer(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		w.stamped(track, 4, 1, "old")
		w.stamped(track, 5, 2, "key", "delta")
		p := w.client(v)
		ask := cam(0)
		ask.MaxAge = 0
		sub := p.subscribe(ask)
		sub.Want(p.okHex())
		p.wantGroup(0, 5, 2, "key", "delta")
		sub.Want(p.startHex(5))
		g, _ := track.CreateGroup(6)
		_ = g.WriteFrameAt([]byte("x"), 4000)
		live := p.AcceptUni(p.framesHex(0, 6, 4, "x"))
		_ = g.WriteFrameAt(nil, 3000) // an empty frame, before the last in time
		if v.HasTimestamps() {
			live.Want("47cf 00")
		} else {
			live.Want("00")
		}
		_ = g.Finish()
		live.WantEOF()
		w.stamped(track, 7, 5) // a group without frames
		p.wantGroup(0, 7, 5)
		sub.WantSilence(time.Second)
	})
}

// TestEndOfTrack: the groups, END, and FIN after the last of them.
func TestEndOfTrack(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		g, _ := track.CreateGroup(5)
		_ = g.WriteFrameAt([]byte("a"), 1000)
		p := w.client(v)
		sub := p.subscribe(cam(0))
		sub.Want(p.okHex())
		last := p.AcceptUni(p.framesHex(0, 5, 1, "a"))
		sub.Want(p.startHex(5))
		track.End(moq.ErrEnded)
		sub.Want(p.endHex(6)) // at once
		sub.WantSilence(time.Second)
		_ = g.WriteFrameAt([]byte("b"), 2000)
		_ = g.Finish()
		if v.HasTimestamps() {
			last.Want("47d0")
		}
		last.Want("01 62")
		last.WantEOF()
		sub.WantEOF()

		late := p.subscribe(cam(1)) // what is cached is still there
		late.Want(p.okHex())
		p.wantGroup(1, 5, 1, "a", "b")
		p.wantParts(late, nonEmpty(p.startHex(5), p.endHex(6))...)
		late.WantEOF()
	})
	t.Run("that never had a group", func(t *testing.T) {
		each(t, versions, nil, func(w *world, v wire.Version) {
			track := w.Publish("cam", "v")
			p := w.client(v)
			sub := p.subscribe(cam(0))
			sub.Want(p.okHex())
			settle()
			track.End(nil)
			sub.Want(p.endHex(0))
			sub.WantEOF()
		})
	})
}

func nonEmpty(parts ...string) (all []string) {
	for _, part := range parts {
		if part != "" {
			all = append(all, part)
		}
	}
	return all
}

// TestEndWithError: the stream is reset, with a code that lets the subscriber try
// again where the route died.
func TestEndWithError(t *testing.T) {
	tests := []struct {
		name     string
		err      error
		old, new wire.Code
	}{
		{"not found", moq.ErrNotFound, wire.CodeNotFound, wire.ResetUnroutable},
		{"publisher lost", moq.ErrGoingAway, wire.CodeDropped, wire.ResetSessionClosed},
		{"cancelled", moq.ErrCancelled, wire.CodeCancel, wire.ResetCancelled},
		{"bug", moq.ErrInternal, wire.CodeDropped, wire.ResetInternal},
		{"application", &moq.EndError{Reason: moq.Cancelled, App: 6}, wire.AppCode(5), wire.AppCode(5)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, versions, nil, func(w *world, v wire.Version) {
				track := w.stampedTrack("cam", "v")
				g, _ := track.CreateGroup(5)
				_ = g.WriteFrameAt([]byte("a"), 1000)
				p := w.client(v)
				sub := p.subscribe(cam(0))
				sub.Want(p.okHex())
				last := p.AcceptUni(p.framesHex(0, 5, 1, "a"))
				settle()
				track.End(tt.err)
				code := tt.old
				if v.HasCosts() {
					code = tt.new
				}
				last.WantReset(code)
				sub.WantResetAfterData(code)
				sub.WantStop(code)
			})
		})
	}
}

// TestRefused: at once, with the codes of the version.
func TestRefused(t *testing.T) {
	tests := []struct {
		name     string
		ask      wire.Subscribe
		versions []wire.Version
		old, new wire.Code
	}{
		{"nobody has it", wire.Subscribe{Path: []string{"x"}, Track: "v"}, versions, wire.CodeNotFound, wire.ResetUnroutable},
		{"the root", wire.Subscribe{Track: "v"}, versions, wire.CodeNotFound, wire.ResetUnroutable},
		{"end before start", wire.Subscribe{Path: []string{"cam"}, Track: "v", Start: new(uint64(5)), End: new(uint64(4))}, versions[2:], wire.CodeDecode, wire.ResetCancelled},
		{"last frame before first", wire.Subscribe{Path: []string{"cam"}, Track: "v", Start: new(uint64(5)), End: new(uint64(5)), FrameStart: 3, FrameEnd: new(uint64(2))}, versions[5:], 0, wire.ResetCancelled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, tt.versions, nil, func(w *world, v wire.Version) {
				w.Publish("cam", "v")
				p := w.client(v)
				code := tt.old
				if v.HasCosts() {
					code = tt.new
				}
				start := time.Now()
				sub := p.subscribe(tt.ask)
				sub.WantReset(code)
				if took := time.Since(start); took > rtt+5*time.Millisecond {
					t.Errorf("refused after %v", took)
				}
				sub.WantStop(code)
				p.wantAlive()
			})
		})
	}
}

// TestMalformedSubscribe: a stream that begins with no SUBSCRIBE is refused.
func TestMalformedSubscribe(t *testing.T) {
	tests := []struct {
		name, bytes string
		versions    []wire.Version
	}{
		{"ordered 2", "02 0d 00 03 63616d 01 76 02 02 40fa 00 00", versions[2:5]},
		{"too short", "02 08 00 03 63616d 01 76 02", versions[2:]},
		{"too long", "02 09 00 03 63616d 01 76 02 00", versions[:2]},
		{"a track that is no text", "02 0e 00 03 63616d 01 ff 02 40fa 00 00 00 00", versions[5:]},
		{"33 segments", "02 4050 00 4041" + strings.Repeat("2f61", 33), versions},
		{"frame end without group end", "02 0e 00 03 63616d 01 76 02 40fa 00 00 00 02", versions[5:]},
		{"2^62-1 bytes", "02 ffffffffffffffff", versions},
		{"2^62-1 bytes of path", "02 40ff 00 ffffffffffffffff", versions},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, tt.versions, nil, func(w *world, v wire.Version) {
				w.Publish("cam", "v")
				p := w.client(v)
				code := wire.CodeDecode
				if v.HasCosts() {
					code = wire.ResetCancelled
				}
				s := p.OpenStream(tt.bytes)
				s.Fin()
				s.WantReset(code)
				p.wantAlive()
			})
		})
	}
}

// TestDuplicateID: an id names one subscription at a time.
func TestDuplicateID(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		w.Publish("cam", "v")
		p := w.client(v)
		first := p.subscribe(cam(0))
		first.Want(p.okHex())
		settle()
		code := wire.CodeDuplicate
		if v.HasCosts() {
			code = wire.ResetCancelled
		}
		p.subscribe(cam(0)).WantReset(code)
		first.Fin()
		first.WantEOF()
		again := p.subscribe(cam(0))
		again.Want(p.okHex())
		again.WantSilence(soon)
	})
}

// TestUnsubscribe: FIN, reset and STOP_SENDING, alone or together, end the
// subscription at once and what is being sent with it.
func TestUnsubscribe(t *testing.T) {
	leave := map[string]func(p *peer, s *stream){
		"FIN":                                  func(_ *peer, s *stream) { s.Fin(); s.WantEOF() },
		"reset":                                func(p *peer, s *stream) { s.Reset(5); s.WantReset(p.cancelled()) },
		"STOP_SENDING":                         func(p *peer, s *stream) { s.Stop(0); s.WantStop(p.cancelled()) },
		"FIN and STOP_SENDING, as browsers do": func(_ *peer, s *stream) { s.Fin(); s.Stop(0) },
	}
	for name, leave := range leave {
		t.Run(name, func(t *testing.T) {
			each(t, versions, nil, func(w *world, v wire.Version) {
				track := w.stampedTrack("cam", "v")
				g, _ := track.CreateGroup(5)
				_ = g.WriteFrameAt([]byte("a"), 1000)
				p := w.client(v)
				sub := p.subscribe(cam(0))
				sub.Want(p.okHex())
				sub.Want(p.startHex(5))
				s := p.AcceptUni(p.framesHex(0, 5, 1, "a"))
				w.WantMetric("subscriptions", "side=down", 1)
				leave(p, sub)
				s.WantReset(p.cancelled())
				_ = g.WriteFrameAt([]byte("b"), 2000)
				w.stamped(track, 6, 5, "c")
				p.WantNoUni(time.Second)
				w.WantMetric("subscriptions", "side=down", 0)
				if d, _ := track.Demand(); d.Subscribers != 0 {
					t.Errorf("%d subscribers are left", d.Subscribers)
				}
				p.wantAlive()
			})
		})
	}
}

// TestStart: an explicit start in the past, of which some is gone, and in the
// future; lite-03 to lite-05.
func TestStart(t *testing.T) {
	each(t, versions[2:5], func(w *world) { w.Config.TrackLimits.MaxGroups = 4 }, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		for seq := range 6 {
			w.stamped(track, uint64(seq), seq, fmt.Sprint(seq))
		}
		p := w.client(v)
		ask := oldest(cam(0))
		ask.Start = new(uint64(1)) // groups 0 and 1 are forgotten
		sub := p.subscribe(ask)
		sub.Want(p.okHex())
		for seq := 2; seq < 6; seq++ {
			p.wantGroup(0, uint8(seq), seq, fmt.Sprint(seq))
		}
		p.wantParts(sub, nonEmpty(p.dropHex(1, 1, wire.CodeTooOld), p.startHex(2))...)
		sub.Fin()
		sub.WantEOF()

		ask = oldest(cam(1))
		ask.Start = new(uint64(7))
		sub = p.subscribe(ask)
		sub.Want(p.okHex())
		w.stamped(track, 6, 6, "6")
		p.WantNoUni(time.Second)
		w.stamped(track, 7, 7, "7")
		p.wantGroup(1, 7, 7, "7")
		sub.Want(p.startHex(7))
	})
}

// TestStartOfNewestFirst: START names the lowest group that will come, not the one
// that is sent first.
func TestStartOfNewestFirst(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		for seq := 2; seq < 6; seq++ {
			w.stamped(track, uint64(seq), seq, fmt.Sprint(seq))
		}
		p := w.client(v)
		ask := cam(0)
		ask.Start, ask.MaxAge = new(uint64(3)), 30000
		sub := p.subscribe(ask)
		sub.Want("00 01 03")
		seen := map[uint8]bool{}
		for range 3 {
			s := p.NextUni()
			seen[p.read(s, len(unhex(p.groupHex(0, 0))))[3]] = true
		}
		if !seen[3] || !seen[4] || !seen[5] {
			t.Errorf("groups %v came", seen)
		}
	})
}

// TestFloor: in lite-06 the age says where to start, and the start is a floor.
func TestFloor(t *testing.T) {
	tests := []struct {
		name  string
		age   uint64
		start *uint64
		first uint8
	}{
		{"age 0 is the latest", 0, nil, 9},
		{"up to two seconds", 2000, nil, 7}, // 6 ends where 7 begins, two seconds before the newest frame
		{"a bit more", 2001, nil, 6},
		{"no limit", wire.NoMaxAge, nil, 3},
		{"a floor within", wire.NoMaxAge, new(uint64(6)), 6},
		{"a floor below what has expired", 2000, new(uint64(4)), 7},
		{"a floor with age 0", 0, new(uint64(4)), 9},
		{"a floor above", 10000, new(uint64(12)), 12},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				track := w.stampedTrack("cam", "v")
				for seq := 3; seq < 10; seq++ {
					w.stamped(track, uint64(seq), seq, "x")
				}
				p := w.client(wire.Version06)
				ask := cam(0)
				ask.MaxAge, ask.Start = tt.age, tt.start
				sub := p.subscribe(ask)
				if tt.first > 9 {
					p.WantNoUni(soon)
					w.stamped(track, 11, 11, "x")
					p.WantNoUni(soon)
					w.stamped(track, 12, 12, "x")
				}
				sub.Want(fmt.Sprintf("00 01 %02x", tt.first))
				count := 0
				for range max(10-int(tt.first), 1) {
					p.NextUni()
					count++
				}
				p.WantNoUni(soon)
			})
		})
	}
}

// TestFrameStart: groups go out whole or not at all, so that what is wanted from a
// frame on begins with the next group.
func TestFrameStart(t *testing.T) {
	for _, start := range []*uint64{nil, new(uint64(0)), new(uint64(4))} {
		t.Run(fmt.Sprint(start != nil && *start == 4), func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				var first uint64
				if start != nil {
					first = *start
				}
				track := w.stampedTrack("cam", "v")
				w.stamped(track, first, 1, "a", "b", "c")
				p := w.client(wire.Version06)
				ask := cam(0)
				ask.MaxAge, ask.Start, ask.FrameStart = 30000, start, 2
				sub := p.subscribe(ask)
				p.WantNoUni(soon)
				w.stamped(track, first+1, 4, "d")
				p.wantGroup(0, uint8(first)+1, 4, "d")
				sub.Want(p.startHex(uint8(first) + 1))
			})
		})
	}
}

// TestFrameEnd: no frame of the last group goes out behind the last one wanted.
func TestFrameEnd(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.stampedTrack("cam", "v")
		w.stamped(track, 4, 1, "a", "b", "c")
		p := w.client(wire.Version06)
		ask := cam(0)
		ask.MaxAge, ask.End, ask.FrameEnd = 30000, new(uint64(5)), new(uint64(1))
		sub := p.subscribe(ask)
		p.wantGroup(0, 4, 1, "a", "b", "c")
		sub.Want("00 01 04")
		g, _ := track.CreateGroup(5)
		_ = g.WriteFrameAt([]byte("d"), 4000)
		s := p.AcceptUni(p.framesHex(0, 5, 4, "d"))
		_ = g.WriteFrameAt([]byte("e"), 5000)
		s.Want("47d0 01 65")
		s.WantEOF() // although the group goes on
		_ = g.WriteFrameAt([]byte("f"), 6000)
		w.stamped(track, 6, 7, "g")
		p.WantNoUni(soon)
		sub.WantSilence(soon)
	})
}

// TestCap: the end of the range does not end the subscription; it may be raised.
func TestCap(t *testing.T) {
	each(t, versions[2:], nil, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		w.stamped(track, 4, 1, "a")
		p := w.client(v)
		ask := oldest(cam(0))
		ask.MaxAge, ask.End = 30000, new(uint64(5))
		sub := p.subscribe(ask)
		sub.Want(p.okHex())
		p.wantGroup(0, 4, 1, "a")
		sub.Want(p.startHex(4))
		w.stamped(track, 5, 2, "b")
		p.wantGroup(0, 5, 2, "b")
		w.stamped(track, 6, 3, "c")
		w.stamped(track, 7, 4, "d")
		p.WantNoUni(time.Second)
		sub.WantSilence(soon)
		update := wire.SubscribeUpdate{Priority: 2, Ordered: true, MaxAge: 30000, End: new(uint64(8))}
		sub.SendBytes(update.Append(nil, v))
		seen := 0
		for range 2 { // what passed meanwhile
			p.NextUni()
			seen++
		}
		w.stamped(track, 8, 5, "e")
		p.wantGroup(0, 8, 5, "e")
		w.stamped(track, 9, 6, "f")
		p.WantNoUni(soon)
		update.End = nil
		sub.SendBytes(update.Append(nil, v))
		p.wantGroup(0, 9, 6, "f")
		track.End(nil)
		sub.Want(p.endHex(10))
		sub.WantEOF()
	})
}

// TestUpdateLeavesRange: groups that fall out of the range do not come, and a range
// that ends before it begins ends the subscription.
func TestUpdateLeavesRange(t *testing.T) {
	each(t, versions[2:], nil, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		p := w.client(v)
		sub := p.subscribe(cam(0))
		sub.Want(p.okHex())
		settle()
		update := wire.SubscribeUpdate{Priority: 9, MaxAge: 100, Start: new(uint64(7))}
		sub.SendBytes(update.Append(nil, v))
		settle()
		if d, _ := track.Demand(); d.Priority != 9 || d.MaxAge != 100*time.Millisecond {
			t.Errorf("the demand is %+v", d)
		}
		w.stamped(track, 6, 1, "a")
		p.WantNoUni(soon)
		w.stamped(track, 7, 2, "b")
		p.wantGroup(0, 7, 2, "b")
		sub.Want(p.startHex(7))
		update.End = new(uint64(3))
		sub.SendBytes(update.Append(nil, v))
		code := wire.CodeDecode
		if v.HasCosts() {
			code = wire.ResetCancelled
		}
		sub.WantReset(code)
		p.wantAlive()
	})
	t.Run("malformed", func(t *testing.T) {
		each(t, versions[2:], nil, func(w *world, v wire.Version) {
			w.Publish("cam", "v")
			p := w.client(v)
			sub := p.subscribe(cam(0))
			sub.Want(p.okHex())
			sub.Send("02 09 00")
			code := wire.CodeDecode
			if v.HasCosts() {
				code = wire.ResetCancelled
			}
			sub.WantReset(code)
			p.wantAlive()
		})
	})
}

// TestTruncated: a group that stops in the middle is reset and reported, with the
// code of a source that is gone or the application's.
func TestTruncated(t *testing.T) {
	aborts := []struct {
		name     string
		abort    func(g *moq.GroupWriter)
		old, new wire.Code
	}{
		{"between two frames", func(g *moq.GroupWriter) { g.Abort(moq.ErrTruncated) }, wire.CodeDropped, wire.ResetSessionClosed},
		{"by the application", func(g *moq.GroupWriter) { g.Abort(&moq.EndError{Reason: moq.Cancelled, App: 3}) }, 0x42, 0x42},
	}
	for _, tt := range aborts {
		t.Run(tt.name, func(t *testing.T) {
			each(t, versions, nil, func(w *world, v wire.Version) {
				track := w.stampedTrack("cam", "v")
				g, _ := track.CreateGroup(5)
				_ = g.WriteFrameAt([]byte("a"), 1000)
				p := w.client(v)
				sub := p.subscribe(cam(0))
				sub.Want(p.okHex() + p.startHex(5))
				s := p.AcceptUni(p.framesHex(0, 5, 1, "a"))
				tt.abort(g)
				code := tt.old
				if v.HasCosts() {
					code = tt.new
				}
				s.WantReset(code)
				if code < 0x40 {
					sub.Want(p.dropHex(5, 5, code))
				} else {
					drop := wire.SubscribeReply{Type: wire.ReplyDrop, First: 5, Last: 5, Code: code}
					if v.HasUpdate() {
						sub.WantBytes(drop.Append(nil, v))
					}
				}
				w.stamped(track, 6, 2, "b")
				p.wantGroup(0, 6, 2, "b")
				w.WantMetric("groups_dropped_total", "reason=upstream_reset", 1)
			})
		})
	}
}

// TestStreamCredit: a subscriber that allows few streams skips to the newest
// group and is told what it missed.
func TestStreamCredit(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		p := w.peer(v, w.Dial(func(c *transport.DialConfig) {
			only(v)(c)
			c.Limits = transport.Limits{MaxUniStreams: 3} // one is for SETUP
		}))
		p.shake()
		p.Accept(askHex(v))
		ask := oldest(cam(0))
		sub := p.subscribe(ask)
		sub.Want(p.okHex())
		settle()
		const open = 3
		for seq := range 8 {
			w.stamped(track, uint64(seq), seq, fmt.Sprint(seq))
			time.Sleep(100 * time.Millisecond)
		}
		sub.Want(p.startHex(0))
		for seq := range open {
			p.wantGroup(0, uint8(seq), seq, fmt.Sprint(seq))
		}
		p.wantGroup(0, 7, 7, "7")
		code := wire.CodeLagged
		if v.HasCosts() {
			code = wire.ResetTooFarBehind
		}
		if v.HasUpdate() {
			p.wantDropped(sub, 3, 6, code)
		}
		sub.WantSilence(soon)
	})
}

// TestStale: from lite-03 on a subscriber may say how old a group may be, and up
// to lite-05 0 says nothing.
func TestStale(t *testing.T) {
	each(t, versions[2:], nil, func(w *world, v wire.Version) {
		for id, age := range []uint64{0, 1500} {
			track := w.stampedTrack("cam", fmt.Sprint(age))
			p := w.client(v)
			sub := p.subscribe(wire.Subscribe{ID: uint64(id), Path: []string{"cam"}, Track: fmt.Sprint(age), Ordered: true, MaxAge: age})
			sub.Want(strings.Replace(p.okHex(), "05 02", "05 00", 1))
			settle()
			g, _ := track.CreateGroup(0)
			_ = g.WriteFrameAt([]byte("a"), 0)
			s := p.AcceptUni(p.framesHex(uint8(id), 0, 0, "a"))
			sub.Want(p.startHex(0))
			w.stamped(track, 1, 1, "b")
			p.wantGroup(uint8(id), 1, 1, "b")
			w.stamped(track, 3, 3, "c") // group 0 ended two seconds ago
			p.wantGroup(uint8(id), 3, 3, "c")
			if age == 0 && !v.HasCosts() {
				s.WantSilence(soon)
				continue
			}
			code := wire.CodeTooOld
			if v.HasCosts() {
				code = wire.ResetDeadline
			}
			s.WantReset(code)
			sub.Want(p.dropHex(0, 0, code))
		}
	})
}
