package moqlite

import (
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// fetch opens a Fetch stream for a group of cam's track v.
func (p *peer) fetch(ask wire.Fetch) *stream {
	p.Helper()
	if ask.Path == nil {
		ask.Path, ask.Track, ask.Priority = []string{"cam"}, "v", 5
	}
	return p.OpenStream(p.fetchHex(ask))
}

func (p *peer) fetchHex(ask wire.Fetch) string {
	return hexString(string(ask.Append(wire.StreamFetch.Append(nil), p.v)))
}

// TestFetchRunning: a group that is still being produced is streamed until it is
// complete, and cut if it is.
func TestFetchRunning(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		track := w.stampedTrack("cam", "v")
		g, _ := track.CreateGroup(5)
		_ = g.WriteFrameAt([]byte("a"), 1000)
		p := w.client(v)
		s, stopped, reset := p.fetch(wire.Fetch{Group: 5}), p.fetch(wire.Fetch{Group: 5}), p.fetch(wire.Fetch{Group: 5})
		s.Want("47d0 01 61")
		stopped.Want("47d0 01 61")
		stopped.Stop(0)
		reset.Reset(0)
		reset.WantResetAfterData(p.cancelled())
		s.WantSilence(soon)
		_ = g.WriteFrameAt([]byte("b"), 2000)
		s.Want("47d0 01 62")
		_ = g.Finish()
		s.WantEOF()

		g, _ = track.CreateGroup(6)
		_ = g.WriteFrameAt([]byte("a"), 1000)
		s = p.fetch(wire.Fetch{Group: 6})
		s.Want("47d0 01 61")
		g.Abort(moq.ErrTruncated)
		s.WantReset(map[bool]wire.Code{true: wire.ResetSessionClosed, false: wire.CodeDropped}[v.HasCosts()])
		p.wantAlive()
	})
}

// TestFetchFrames: the first frame's timestamp is absolute wherever it begins, and
// what cannot be served from there is refused.
func TestFetchFrames(t *testing.T) {
	tests := []struct {
		name string
		ask  wire.Fetch
		want string // "" for a reset
		code wire.Code
	}{
		{"whole", wire.Fetch{Group: 5}, "47d0 01 61  47d0 01 62  47d0 00  47d0 01 64", 0},
		{"from the second on", wire.Fetch{Group: 5, FrameStart: 1}, "4fa0 01 62  47d0 00  47d0 01 64", 0},
		{"from an empty one on", wire.Fetch{Group: 5, FrameStart: 2}, "5770 00  47d0 01 64", 0},
		{"one of them", wire.Fetch{Group: 5, FrameStart: 1, FrameEnd: new(uint64(1))}, "4fa0 01 62", 0},
		{"the first two", wire.Fetch{Group: 5, FrameEnd: new(uint64(1))}, "47d0 01 61  47d0 01 62", 0},
		{"it ends before", wire.Fetch{Group: 5, FrameStart: 3, FrameEnd: new(uint64(99))}, "5f40 01 64", 0},
		{"it ends before the first", wire.Fetch{Group: 5, FrameStart: 4}, "", wire.ResetOld},
		{"of a group without frames", wire.Fetch{Group: 6, FrameStart: 1}, "", wire.ResetOld},
		{"inverted", wire.Fetch{Group: 5, FrameStart: 2, FrameEnd: new(uint64(1))}, "", wire.ResetCancelled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				track := w.stampedTrack("cam", "v")
				w.stamped(track, 5, 1, "a", "b", "", "d")
				w.stamped(track, 6, 6)
				w.stamped(track, 7, 7, "x")
				s := w.client(wire.Version06).fetch(tt.ask)
				if tt.want == "" {
					s.WantReset(tt.code)
					return
				}
				s.Want(tt.want)
				s.WantEOF()
			})
		})
	}
	t.Run("the last one wanted ends the answer of a running group", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			track := w.stampedTrack("cam", "v")
			g, _ := track.CreateGroup(5)
			_ = g.WriteFrameAt([]byte("a"), 1000)
			s := w.client(wire.Version06).fetch(wire.Fetch{Group: 5, FrameEnd: new(uint64(0))})
			s.Want("47d0 01 61")
			s.WantEOF()
		})
	})
	t.Run("a large frame", func(t *testing.T) {
		each(t, withSetup, nil, func(w *world, v wire.Version) {
			track := w.stampedTrack("cam", "v")
			g, _ := track.CreateGroup(5)
			large := make([]byte, 400_000)
			_ = g.WriteFrameAt(large, 1000)
			_ = g.Finish()
			s := w.client(v).fetch(wire.Fetch{Group: 5})
			s.Want("47d0 80061a80")
			s.WantBytes(large)
			s.WantEOF()
		})
	})
}

// TestFetchEmpty: a group without frames is a FIN, from the cache and from the
// publisher.
func TestFetchEmpty(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		p, s := w.publisher(v), w.client(v)
		got := s.fetch(wire.Fetch{Group: 3})
		for range 2 {
			if str, typ := p.next(); typ == byte(wire.StreamFetch) {
				str.Want(p.fetchHex(wire.Fetch{Path: []string{"cam"}, Track: "v", Priority: 5, Group: 3})[2:])
				str.Fin()
				str.WantEOF()
				break
			}
		}
		got.WantEOF()
	})
}

// TestFetchOnce: a group that is not there is asked for once, however many ask, and
// kept for as long as groups are.
func TestFetchOnce(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		p, announcements := w.announcer(v)
		s := w.client(v)
		q := s.question()
		p.answer(p.infoHex())
		q.Want(p.infoHex())
		ask := wire.Fetch{Path: []string{"cam"}, Track: "v", Priority: 5, Group: 3}
		first, second := s.fetch(ask), w.client(v).fetch(ask)
		up := p.Accept(p.fetchHex(ask))
		up.Send("47d0 01 61")
		first.Want("47d0 01 61")
		second.Want("47d0 01 61")
		up.Send("47d0 02 62")
		third := s.fetch(ask)
		third.Want("47d0 01 61 47d0 02 62")
		up.Send("63")
		up.Fin()
		up.WantEOF() // ours only now
		first.Want("47d0 02 6263")
		first.WantEOF()
		second.Want("47d0 02 6263")
		second.WantEOF()
		third.Want("63")
		third.WantEOF()
		time.Sleep(w.Config.Retention / 2)
		again := s.fetch(ask)
		again.Want("47d0 01 61 47d0 02 6263")
		again.WantEOF()
		p.WantNoStream(soon)

		// Another life of the broadcast has other groups.
		announcements.SendBytes(wire.Announce{Kind: wire.AnnounceEnd, Suffix: []string{"cam"}}.Append(nil, v))
		announcements.SendBytes(wire.Announce{Kind: wire.AnnounceStart, Suffix: []string{"cam"}}.Append(nil, v))
		settle()
		again = s.fetch(ask)
		for range 2 {
			str, typ := p.next()
			if typ != byte(wire.StreamFetch) {
				continue
			}
			str.Send("0000")
			str.Fin()
		}
		again.Want("0000")
		again.WantEOF()
	})
}

// TestFetchRefused: nobody has it, or the publisher refuses, or breaks off.
func TestFetchRefused(t *testing.T) {
	tests := []struct {
		name     string
		answer   func(p *peer, s *stream)
		old, new wire.Code
	}{
		{"not found", func(p *peer, s *stream) { p.refuse(s, p.notFound()) }, wire.CodeNotFound, wire.ResetUnroutable},
		{"too old", func(p *peer, s *stream) { p.refuse(s, wire.CodeTooOld) }, wire.CodeDropped, wire.ResetInternal},
		{"no answer", func(*peer, *stream) {}, wire.CodeTimeout, wire.ResetTimeout},
		{"cut", func(_ *peer, s *stream) { s.Send("47d0 05 61"); s.Fin() }, wire.CodeDropped, wire.ResetSessionClosed},
		{"reset", func(_ *peer, s *stream) { s.Send("47d0 01 61"); settle(); s.Reset(2) }, wire.CodeDropped, wire.ResetSessionClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, withSetup, nil, func(w *world, v wire.Version) {
				p, s := w.publisher(v), w.client(v)
				q := s.question()
				p.answer(p.infoHex())
				q.Want(p.infoHex())
				got := s.fetch(wire.Fetch{Group: 3})
				tt.answer(p, p.Accept(p.fetchHex(wire.Fetch{Path: []string{"cam"}, Track: "v", Priority: 5, Group: 3})))
				code := tt.old
				if v.HasCosts() {
					code = tt.new
				}
				got.WantResetAfterData(code)
				p.wantAlive()
				s.wantAlive()
				s.fetch(wire.Fetch{Group: 3}) // and is asked for again
				p.Accept(p.fetchHex(wire.Fetch{Path: []string{"cam"}, Track: "v", Priority: 5, Group: 3}))
			})
		})
	}
	t.Run("nobody has it", func(t *testing.T) {
		each(t, withSetup, nil, func(w *world, v wire.Version) {
			s := w.client(v)
			got := s.fetch(wire.Fetch{Group: 3})
			got.WantReset(s.notFound())
			got.WantStop(s.notFound())
		})
	})
	t.Run("a publisher that cannot be asked", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			w.publisher(wire.Version04)
			w.client(wire.Version05).fetch(wire.Fetch{Group: 3}).WantReset(wire.CodeNotFound)
		})
	})
}

// TestFetchAskerLeaves: a FIN right behind the question does no harm, a reset gives
// it up while it is waited for.
func TestFetchAskerLeaves(t *testing.T) {
	each(t, withSetup, func(w *world) { w.Config.Limits.Subscriptions = 2 }, func(w *world, v wire.Version) {
		p, s := w.publisher(v), w.client(v)
		q := s.question()
		p.answer(p.infoHex())
		q.Want(p.infoHex())
		got := s.fetch(wire.Fetch{Group: 3})
		got.Fin()
		gone := s.fetch(wire.Fetch{Group: 4})
		gone.Reset(0)
		gone.WantReset(s.cancelled())
		left := s.fetch(wire.Fetch{Group: 4})
		left.Stop(0)
		left.WantStop(s.cancelled())
		for range 2 {
			str, _ := p.next()
			str.Want("")
			str.Send("47d0 01 61")
			str.Fin()
		}
		got.Want("47d0 01 61")
		got.WantEOF()
		s.wantAlive()
	})
}
