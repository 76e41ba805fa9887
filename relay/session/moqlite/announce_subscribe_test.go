package moqlite

import (
	"fmt"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// These tests hold what becomes of the announcements of a peer.

// TestAnnouncements: broadcasts come, go and come again.
func TestAnnouncements(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		p, announcements := w.announcer(v)
		w.WantAnnounced("cam")
		start := func(name string, id uint64) {
			announcements.SendBytes(wire.Announce{Kind: wire.AnnounceStart, ID: id, Suffix: []string{"x", name}, Hops: make([]uint64, 1)}.Append(nil, v))
		}
		end := func(name string, id uint64) {
			announcements.SendBytes(wire.Announce{Kind: wire.AnnounceEnd, ID: id, Suffix: []string{"x", name}}.Append(nil, v))
		}
		start("a", 1)
		start("b", 2)
		w.WantAnnounced("cam", "x/a", "x/b")
		end("a", 1)
		w.WantAnnounced("cam", "x/b")
		start("a", 3)
		end("b", 2)
		w.WantAnnounced("cam", "x/a")
		end("a", 3)
		w.WantAnnounced("cam")
		if got := w.session(0).Stats(); got != (session.Stats{Publishes: 1}) {
			t.Errorf("stats are %+v", got)
		}
		if v < wire.Version06 {
			end("never", 0) // ignored
			w.WantAnnounced("cam")
		}
		p.wantAlive()
	})
}

// TestEndOfAnnouncements: whatever ends the stream withdraws what was told on it.
func TestEndOfAnnouncements(t *testing.T) {
	ends := map[string]func(p *peer, s *stream){
		"FIN":               func(_ *peer, s *stream) { s.Fin(); s.WantEOF() },
		"reset":             func(p *peer, s *stream) { s.Reset(3); s.WantReset(p.cancelled()) },
		"end of connection": func(p *peer, _ *stream) { p.Leave() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			each(t, versions, nil, func(w *world, v wire.Version) {
				watch := w.client(v).OpenStream(watchHex(v, ""))
				p, announcements := w.announcer(v)
				w.WantAnnounced("cam")
				watch.Want(initialHex(v))
				end(p, announcements)
				w.WantAnnounced()
				if name != "end of connection" {
					p.wantAlive()
					p.WantNoStream(soon) // it is not asked again
				}
			})
		})
	}
}

// TestBrokenAnnouncements: what makes the state of the stream unknown closes the
// session.
func TestBrokenAnnouncements(t *testing.T) {
	tests := []struct {
		name     string
		versions []wire.Version
		bytes    string
	}{
		{"another status", []wire.Version{wire.Version01, wire.Version02}, "01 00  04 03 02 6162"},
		{"restart before lite-05", []wire.Version{wire.Version04}, "06 02 03 63616d 00"},
		{"another status", []wire.Version{wire.Version05}, "02 07 00  06 03 03 63616d 00"},
		{"no status", []wire.Version{wire.Version03, wire.Version04}, "00"},
		{"more suffixes than bytes", []wire.Version{wire.Version02}, "03 3f 01 61"},
		{"33 hops", []wire.Version{wire.Version05}, "02 07 00  27 01 03 63616d 21" + fmt.Sprintf("%066x", 0)},
		{"a path that is no text", []wire.Version{wire.Version04, wire.Version05}, "04 01 01ff 00"},
		{"inside a message", []wire.Version{wire.Version04}, "06 01 fin"},
		{"2^62-1 bytes", versions, "ffffffffffffffff"},
		{"before ANNOUNCE_OK", []wire.Version{wire.Version06}, "00 07 03 63616d 00 00 00"},
		{"another type", []wire.Version{wire.Version06}, "02 07 00  03 01 00"},
		{"an id that was never assigned", []wire.Version{wire.Version06}, "02 07 01 00 07 03 63616d 00 00 00  01 01 01"},
		{"an update of one", []wire.Version{wire.Version06}, "02 07 00  02 04 00 00 00 00"},
		{"an id that is retired", []wire.Version{wire.Version06}, "02 07 01 00 07 03 63616d 00 00 00  01 01 00  01 01 00"},
		{"an id that is retired, of a path that is back", []wire.Version{wire.Version06}, "02 07 01 00 07 03 63616d 00 00 00  01 01 00  00 07 03 63616d 00 00 00  02 04 00 00 00 00"},
		{"START of what is announced", []wire.Version{wire.Version06}, "02 07 01 00 07 03 63616d 00 00 00  00 07 03 63616d 01 07 00 00"},
		{"START of what is announced, written in another way", []wire.Version{wire.Version06}, "02 07 01 00 07 03 63616d 00 00 00  00 08 04 2f63616d 00 00 00"},
		{"a hop twice", []wire.Version{wire.Version06}, "02 07 01 00 09 03 63616d 02 07 07 00 00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, tt.versions, nil, func(w *world, v wire.Version) {
				p := w.connect(v)
				p.shake()
				announcements := p.Accept(askHex(v))
				if n := len(tt.bytes) - len("fin"); tt.bytes[max(n, 0):] == "fin" {
					announcements.Send(tt.bytes[:n])
					announcements.Fin()
				} else {
					announcements.Send(tt.bytes)
				}
				p.WantClosed(p.protocolError())
				w.WantAnnounced()
			})
		})
	}
}

// TestTolerated: hops of 0 may repeat, a count that is wrong does no harm, nor
// does an end of what is not announced.
func TestTolerated(t *testing.T) {
	tests := map[wire.Version]string{
		wire.Version04: "06 00 03 63616d 00  08 01 03 63616d 02 00 00",
		wire.Version05: "02 07 09  06 00 03 63616d 00  08 02 03 63616d 02 00 00", // restart is active
		wire.Version06: "02 00 09  00 09 03 63616d 02 00 00 00 00",
	}
	for v, bytes := range tests {
		t.Run(v.String(), func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				p := w.connect(v)
				p.shake()
				p.Accept(askHex(v)).Send(bytes)
				w.WantAnnounced("cam")
				p.wantAlive()
			})
		})
	}
}

// TestSecondActive: in lite-05 it is another way to the same publisher, whose
// subscriptions live, or another publisher, whose do not.
func TestSecondActive(t *testing.T) {
	tests := []struct {
		name, first, second string
		lives               bool
	}{
		{"the publisher itself", "06 01 03 63616d 00", "06 01 03 63616d 00", true},
		{"by another way", "08 01 03 63616d 02 07 08", "07 01 03 63616d 01 07", true},
		{"as restart", "08 01 03 63616d 02 07 08", "07 02 03 63616d 01 07", true},
		{"another", "07 01 03 63616d 01 07", "07 01 03 63616d 01 08", false},
		{"unknown", "07 01 03 63616d 01 00", "07 01 03 63616d 01 00", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				c := &chain{world: w, publisher: w.connect(wire.Version05), subscriber: w.client(wire.Version05)}
				c.publisher.shake()
				announcements := c.publisher.Accept(askHex(wire.Version05))
				announcements.Send("03 43e8 01" + tt.first)
				settle()
				watch := w.client(wire.Version06).OpenStream("01 01 00")
				m := readFirst(w, watch)
				sub := c.subscriber.subscribe(cam(0))
				up := c.publisher.serve(cam(0))
				up.Send("00 01 05")
				g := c.publisher.Uni(c.publisher.groupHex(0, 5, 'a'))
				c.subscriber.AcceptUni(c.subscriber.groupHex(0, 5, 'a'))
				sub.Want("00 01 05")
				announcements.Send(tt.second)
				settle()
				next := readAnnounce(w, watch)
				if tt.lives {
					if next.Kind != wire.AnnounceUpdate || next.ID != m.ID {
						t.Errorf("told %+v, want an update", next)
					}
					up.WantSilence(time.Second)
					c.publisher.Uni(c.publisher.groupHex(0, 6, 'b'))
					c.subscriber.AcceptUni(c.subscriber.groupHex(0, 6, 'b'))
					return
				}
				if next.Kind != wire.AnnounceEnd {
					t.Errorf("told %+v, want the end", next)
				}
				if next = readAnnounce(w, watch); next.Kind != wire.AnnounceStart {
					t.Errorf("told %+v, want a start", next)
				}
				g.Fin()
				sub.Want("01 01 06")
				sub.WantEOF()
				fresh := c.subscriber.subscribe(cam(1))
				c.publisher.serve(wire.Subscribe{ID: 1, Path: []string{"cam"}, Track: "v", Priority: 2, MaxAge: 250}) // and TRACK anew
				fresh.WantSilence(soon)
			})
		})
	}
}

// readFirst reads the first announcement of a stream of lite-06.
func readFirst(w *world, s *stream) wire.Announce {
	w.Helper()
	s.Want("02 09 01")
	return readAnnounce(w, s)
}

func readAnnounce(w *world, s *stream) wire.Announce {
	w.Helper()
	return readOne(w, wire.Version06, s)
}

// TestUpdateInPlace: UPDATE of lite-06 replaces hops and costs and says nothing of
// the content, whoever the publisher is then.
func TestUpdateInPlace(t *testing.T) {
	for _, hops := range []string{"02 06 00 02 07 06 01 02", "02 05 00 01 08 01 02", "02 05 00 01 00 01 02", "02 04 00 00 01 02"} {
		t.Run(hops, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				c := &chain{world: w, publisher: w.connect(wire.Version06), subscriber: w.client(wire.Version06)}
				c.publisher.shake()
				announcements := c.publisher.Accept(askHex(wire.Version06))
				announcements.Send("03 43e8 01 00 09 03 63616d 02 07 05 05 06")
				settle()
				watch := c.subscriber.OpenStream("01 01 00")
				first := readFirst(w, watch)
				sub := c.subscriber.subscribe(cam(0))
				up := c.publisher.serve(cam(0))
				announcements.Send(hops)
				next := readAnnounce(w, watch)
				if next.Kind != wire.AnnounceUpdate || next.ID != first.ID || next.Warm != 2 || next.Cold != 3 || next.Hops[len(next.Hops)-1] != 1000 {
					t.Errorf("told %+v, want an update", next)
				}
				up.WantSilence(time.Second)
				sub.WantSilence(soon)
				c.publisher.Uni(c.publisher.groupHex(0, 6, 'b'))
				c.subscriber.AcceptUni(c.subscriber.groupHex(0, 6, 'b'))
			})
		})
	}
	t.Run("one that loops is over until the next", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p, announcements := w.announcer(wire.Version06)
			announcements.Send("02 06 00 02 07 09 01 02")
			w.WantAnnounced()
			announcements.Send("02 05 00 01 07 01 02")
			w.WantAnnounced("cam")
			announcements.Send("01 01 00")
			w.WantAnnounced()
			p.wantAlive()
		})
	})
}

// TestLongestPath: the end of a broadcast leaves alone what belongs to a longer
// path.
func TestLongestPath(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		p := w.connect(v)
		p.shake()
		announcements := p.Accept(askHex(v))
		for _, name := range [][]string{{"a"}, {"a", "b"}} {
			if len(name) == 1 {
				announcements.Send("03 43e8 02")
			}
			announcements.SendBytes(wire.Announce{Kind: wire.AnnounceStart, Suffix: name}.Append(nil, v))
		}
		settle()
		s := w.client(v)
		long := s.subscribe(wire.Subscribe{ID: 0, Path: []string{"a", "b"}, Track: "v"})
		short := s.subscribe(wire.Subscribe{ID: 1, Path: []string{"a", "c"}, Track: "v"}) // below what is announced
		settle()
		announcements.SendBytes(wire.Announce{Kind: wire.AnnounceEnd, Suffix: []string{"a"}}.Append(nil, v))
		short.Want("01 01 00")
		short.WantEOF()
		long.WantSilence(time.Second)
	})
}

// TestAccept: what a peer may not announce stays out, and is not asked of it.
func TestAccept(t *testing.T) {
	each(t, versions, func(w *world) {
		w.Config.Accept = func(p moq.Path) error {
			if p.HasPrefix(moq.NewPath("no")) {
				return moq.ErrUnauthorized
			}
			return nil
		}
	}, func(w *world, v wire.Version) {
		_, announcements := w.announcer(v)
		announcements.SendBytes(wire.Announce{Kind: wire.AnnounceStart, Suffix: []string{"no"}, Hops: make([]uint64, 1)}.Append(nil, v))
		announcements.SendBytes(wire.Announce{Kind: wire.AnnounceStart, Hops: make([]uint64, 1)}.Append(nil, v)) // all there is
		w.WantAnnounced("", "cam")
		s := w.client(v)
		s.subscribe(wire.Subscribe{Path: []string{"no"}, Track: "v"}).WantReset(s.notFound())
		sub := s.subscribe(wire.Subscribe{Path: []string{"yes"}, Track: "v", Priority: 2})
		sub.Want(s.okHex())
		sub.WantSilence(soon)
		announcements.SendBytes(wire.Announce{Kind: wire.AnnounceEnd, ID: 1, Suffix: []string{"no"}}.Append(nil, v))
		w.WantAnnounced("", "cam")
	})
}

// TestInterest: the peer is asked for a prefix, and its suffixes stand behind it.
func TestInterest(t *testing.T) {
	each(t, versions, func(w *world) { w.Config.Interest = moq.NewPath("a", "b") }, func(w *world, v wire.Version) {
		p := w.connect(v)
		p.shake()
		ask := "01 04 03 612f62"
		if v.HasExclude() {
			ask = "01 05 03 612f62 09"
		}
		p.Accept(ask).Send(camHex(v))
		w.WantAnnounced("a/b/cam")
	})
}

// TestBurst: many announcements in one write reach another session once each.
func TestBurst(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		watch := w.client(v).OpenStream(watchHex(v, ""))
		watch.Want(initialHex(v))
		p := w.connect(v)
		p.shake()
		var burst []byte
		if v.HasSetup() {
			burst = unhex("02 07 00")
		}
		if v.IsInBand() {
			burst = unhex("01 00")
		}
		for i := range 200 {
			burst = wire.Announce{Kind: wire.AnnounceStart, Suffix: []string{fmt.Sprint(i)}}.Append(burst, v)
		}
		p.Accept(askHex(v)).SendBytes(burst)
		seen := make(map[string]bool)
		for range 200 {
			m := readOne(w, v, watch)
			if seen[m.Suffix[0]] {
				t.Errorf("told twice of %v", m.Suffix)
			}
			seen[m.Suffix[0]] = true
		}
		watch.WantSilence(soon)
	})
}

// readOne reads one announcement, byte by byte.
func readOne(w *world, v wire.Version, s *stream) wire.Announce {
	w.Helper()
	s.Deadline(soon)
	var b []byte
	for {
		next := make([]byte, 1)
		if _, err := s.Read(next); err != nil {
			w.Fatalf("read % x, %v; want an announcement", b, err)
		}
		b = append(b, next...)
		if m, _, err := v.ConsumeAnnounce(b); err == nil {
			return m
		}
	}
}
