package moqlite

import (
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// question asks for the info of cam's track v.
func (p *peer) question() *stream { return p.OpenStream(trackHex) }

// answer takes the relay's question and answers it.
func (p *peer) answer(info string) {
	p.Helper()
	s := p.Accept(trackHex)
	s.Send(info)
	s.Fin()
	s.WantEOF()
}

// TestTrackAskedOnce: the publisher is asked once for as long as the broadcast is
// announced, whoever asks and whenever, and again when it has come back.
func TestTrackAskedOnce(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		p, announcements := w.announcer(v)
		s := w.client(v)
		first, second := s.question(), w.client(v).question()
		p.answer(p.infoHex())
		for _, q := range []*stream{first, second} {
			q.Want(p.infoHex())
			q.WantEOF()
		}
		time.Sleep(time.Minute) // the relay holds no subscription any more
		start := time.Now()
		q := s.question()
		q.Want(p.infoHex())
		if took := time.Since(start); took > rtt+5*time.Millisecond {
			t.Errorf("from memory it took %v", took)
		}
		q.WantEOF()
		p.WantNoStream(time.Second)

		announcements.SendBytes(wire.Announce{Kind: wire.AnnounceEnd, Suffix: []string{"cam"}}.Append(nil, v))
		settle()
		s.question().WantReset(s.notFound())
		announcements.SendBytes(wire.Announce{Kind: wire.AnnounceStart, Suffix: []string{"cam"}}.Append(nil, v))
		settle()
		q = s.question()
		other := map[wire.Version]string{wire.Version05: "08 01 01 47d0 800f4240", wire.Version06: "07 01 47d0 800f4240"}[v] // V21
		p.answer(other)
		q.Want(other)
		q.WantEOF()
	})
}

// TestTrackValues: what the publisher says is passed on unchanged. Where it
// states no limit ours is told, which is lower.
func TestTrackValues(t *testing.T) {
	tests := []struct{ name, old, new, wantOld, wantNew string }{
		{"V21", "08 01 01 47d0 800f4240", "07 01 47d0 800f4240", "", ""},
		{"V41", "0a 00 00 80007530 80015f90", "09 00 80007530 80015f90", "", ""},
		{"no age at all", "05 07 00 00 43e8", "04 07 00 43e8", "", ""},
		{"no limit", "0e 01 00 c01fffffffffffff 800f4240", "0d 01 c01fffffffffffff 800f4240", "08 01 00 5388 800f4240", "07 01 5388 800f4240"},
		{"beyond no limit", "0e 01 00 ffffffffffffffff 800f4240", "0d 01 ffffffffffffffff 800f4240", "08 01 00 5388 800f4240", "07 01 5388 800f4240"},
		{"the largest timescale", "0c 00 00 5388 ffffffffffffffff", "0b 00 5388 ffffffffffffffff", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, withSetup, nil, func(w *world, v wire.Version) {
				said, want := tt.old, tt.wantOld
				if v.HasCosts() {
					said, want = tt.new, tt.wantNew
				}
				if want == "" {
					want = said
				}
				p, s := w.publisher(v), w.client(v)
				q := s.question()
				p.answer(said)
				q.Want(want)
				q.WantEOF()
			})
		})
	}
}

// TestTrackBetweenVersions: a publisher that has said nothing has its frames
// stamped on arrival; the order is lost on the way to lite-06.
func TestTrackBetweenVersions(t *testing.T) {
	bubble(t, nil, func(w *world) {
		w.publisher(wire.Version04)
		q := w.client(wire.Version05).question()
		q.Want("06 7f 00 5388 43e8")
		q.WantEOF()
	})
	bubble(t, nil, func(w *world) {
		p := w.publisher(wire.Version05)
		q := w.client(wire.Version06).question()
		p.answer("08 01 01 47d0 800f4240")
		q.Want("07 01 47d0 800f4240")
	})
	bubble(t, nil, func(w *world) {
		p := w.publisher(wire.Version06)
		q := w.client(wire.Version05).question()
		p.answer("07 01 47d0 800f4240")
		q.Want("08 01 00 47d0 800f4240")
	})
}

// TestTrackRefused: what the publisher, or we, refuse is reset with the right
// code, and asked again by who comes later.
func TestTrackRefused(t *testing.T) {
	tests := []struct {
		name     string
		answer   func(p *peer, s *stream)
		old, new wire.Code
	}{
		{"not found", func(p *peer, s *stream) { p.refuse(s, 13) }, wire.CodeNotFound, wire.ResetInternal},
		{"0x36 of newer relays", func(p *peer, s *stream) { p.refuse(s, 0x36) }, wire.CodeNotFound, wire.ResetUnroutable},
		{"FIN without an answer", func(_ *peer, s *stream) { s.Fin() }, wire.CodeNotFound, wire.ResetUnroutable},
		{"timescale 0", func(_ *peer, s *stream) { s.Send("04 00 00 00 00"); s.Fin() }, wire.CodeDecode, wire.ResetCancelled},
		{"no answer", func(*peer, *stream) {}, wire.CodeTimeout, wire.ResetTimeout},
		{"the publisher is gone", func(p *peer, _ *stream) { _ = p.Conn.CloseWithError(1, "") }, wire.CodeDropped, wire.ResetSessionClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, withSetup, nil, func(w *world, v wire.Version) {
				p, s := w.publisher(v), w.client(v)
				code := tt.old
				if v.HasCosts() {
					code = tt.new
				}
				if tt.name == "not found" && v.HasCosts() {
					code = wire.ResetUnroutable
				}
				q := s.question()
				asked := p.Accept(trackHex)
				tt.answer(p, asked)
				q.WantReset(code)
				q.WantStop(code)
				if tt.name == "the publisher is gone" {
					return
				}
				again := s.question()
				p.answer(p.infoHex())
				again.Want(p.infoHex())
			})
		})
	}
	t.Run("there is none", func(t *testing.T) {
		each(t, withSetup, nil, func(w *world, v wire.Version) {
			s := w.client(v)
			q := s.question()
			q.WantReset(s.notFound())
			q.WantStop(s.notFound())
		})
	})
}

// refuse ends both directions of a stream.
func (p *peer) refuse(s *stream, code wire.Code) {
	s.Reset(code)
	s.Stop(code)
}

// TestTrackAskerLeaves: a FIN behind the question, or a reset, does no harm; a
// released relay resets such a stream, we answer it.
func TestTrackAskerLeaves(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		p, s := w.publisher(v), w.client(v)
		q := s.question()
		q.Fin()
		gone := s.question()
		gone.Reset(1)
		gone.Stop(1)
		p.answer(p.infoHex())
		q.Want(p.infoHex())
		q.WantEOF()
		s.wantAlive()
	})
}

// TestTrackOfALeavingPublisher: a track that is asked about, and that nobody has
// subscribed, is waited for at rest, however short the linger, and known as long as
// that is after the answer although the publisher leaves.
func TestTrackOfALeavingPublisher(t *testing.T) {
	for _, linger := range []time.Duration{-1, 500 * time.Millisecond} {
		change := func(w *world) { w.Config.Linger = linger }
		each(t, withSetup, change, func(w *world, v wire.Version) {
			p, s := w.publisher(v), w.client(v)
			p.OpenStream("05 01 00").Fin() // GOAWAY
			settle()
			q := s.question()
			asked := p.Accept(trackHex)
			q.WantSilence(time.Second) // in a busy loop this second would not pass
			asked.Send(p.infoHex())
			if linger > 0 {
				q.Want(p.infoHex())
				q.WantEOF()
			}
			time.Sleep(time.Second)
			if live := w.session(0).Live(); len(live) > 0 {
				t.Errorf("%d tracks are left", len(live))
			}
		})
	}
}

// TestTrackRefusedLate: a track that goes on elsewhere does not end because the
// publisher that it came from does not answer for it.
func TestTrackRefusedLate(t *testing.T) {
	tests := []struct {
		name  string
		leave func(w *world, p *peer, up, asked *stream)
	}{
		{"given up", func(w *world, _ *peer, _, _ *stream) {
			w.session(0).GiveUp(moq.NewPath("cam"), 1000)
		}},
		{"the publisher leaves", func(_ *world, p *peer, up, _ *stream) {
			p.OpenStream("05 01 00").Fin()
			settle()
			p.refuse(up, wire.ResetSessionClosed)
		}},
		{"the publisher leaves and does not say so of the subscription", func(_ *world, p *peer, _, asked *stream) {
			p.OpenStream("05 01 00").Fin()
			settle()
			p.refuse(asked, wire.ResetSessionClosed)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parked := make(chan *moq.Track, 1)
			change := func(w *world) { w.Config.Park = func(track *moq.Track, _ origin.Hop) { parked <- track } }
			each(t, withSetup, change, func(w *world, v wire.Version) {
				p, s := w.publisher(v), w.client(v)
				s.subscribe(cam(0))
				asked, typ := p.next()
				up, _ := p.next()
				if typ != byte(wire.StreamTrack) {
					asked, up = up, asked
				}
				tt.leave(w, p, up, asked)
				settle()
				p.refuse(asked, wire.CodeNotFound)
				settle()
				select {
				case track := <-parked:
					if err := track.Err(); err != nil {
						t.Errorf("the track ended with %v", err)
					}
				default:
					t.Error("the track does not go on")
				}
			})
		})
	}
}
