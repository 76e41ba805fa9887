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
