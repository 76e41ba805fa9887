package moqlite

import (
	"fmt"
	"testing"
	"time"

	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// oldest asks for groups in the order of their numbers, where that can be said.
func oldest(ask wire.Subscribe) wire.Subscribe {
	ask.Ordered = true
	ask.MaxAge = wire.NoMaxAge
	return ask
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
