package transfork

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/session/sessiontest"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// TestAnnouncePrefix: what is told, by the parts of the prefix.
func TestAnnouncePrefix(t *testing.T) {
	tests := []struct{ name, interest, want string }{
		{"A2: parts, not characters", "01 01 04 64656d6f", "01 01 05 766964656f"},
		{"the path itself has the empty suffix (A8)", "01 02 04 64656d6f 05 766964656f", "01 00"},
		{"half a part matches nothing", "01 01 03 64656d", ""},
		{"a part more matches nothing", "01 03 04 64656d6f 05 766964656f 01 78", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				w.Publish("demo", "video")
				w.Publish("demonstration")
				s := w.client().OpenStream(tt.interest)
				s.Want(tt.want)
				s.WantSilence(time.Second)
			})
		})
	}
}

func TestAnnounceChanges(t *testing.T) {
	bubble(t, nil, func(w *world) {
		watch := w.client().OpenStream(interestHex)
		publisher := w.connect()
		publisher.shake()
		announcements := publisher.Accept(interestHex)
		for range 3 { // A4, A5
			announcements.Send(activeClockHex)
			watch.Want(activeClockHex)
			announcements.Send("00 01 05 636c6f636b")
			watch.Want("00 01 05 636c6f636b")
		}
		watch.WantSilence(time.Second)
	})
}

// TestB16Burst: many announcements in one write reach another session once each.
func TestB16Burst(t *testing.T) {
	bubble(t, nil, func(w *world) {
		watch := w.client().OpenStream(interestHex)
		publisher := w.connect()
		publisher.shake()
		announcements := publisher.Accept(interestHex)
		var burst []byte
		for i := range 200 {
			burst = wire.Announce{Status: wire.Active, Suffix: []string{fmt.Sprint(i)}}.Append(burst)
		}
		announcements.SendBytes(burst)
		seen := make(map[string]bool)
		watch.Deadline(time.Minute)
		r := base.NewReader(watch)
		for range 200 {
			m, err := base.Next(r, wire.ConsumeAnnounce)
			if err != nil || m.Status != wire.Active || seen[m.Suffix[0]] {
				t.Fatalf("told %v, %v; seen before: %t", m, err, seen[m.Suffix[0]])
			}
			seen[m.Suffix[0]] = true
		}
		watch.WantSilence(time.Second)
	})
}

// TestB16Tolerant: repeated announcements, unknown ends and the marker of later
// versions do no harm.
func TestB16Tolerant(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, announcements := w.announcer()
		announcements.Send(activeClockHex + "00 01 01 78" + "02" + activeClockHex + "01 01 01 79")
		w.WantAnnounced("clock", "y")
		announcements.Send("00 01 05 636c6f636b")
		w.WantAnnounced("y")
		p.wantAlive()
	})
}

func TestMalformedAnnouncements(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, announcements := w.announcer()
		announcements.Send("03")
		announcements.WantReset(wire.CodeDecode)
		announcements.WantStop(wire.CodeDecode)
		w.WantAnnounced()
		p.wantAlive()
	})
}

// TestEndOfAnnouncements: whatever ends the stream withdraws what was told on it.
func TestEndOfAnnouncements(t *testing.T) {
	t.Run("FIN", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p, announcements := w.announcer()
			w.WantAnnounced("clock")
			announcements.Fin()
			announcements.WantEOF()
			w.WantAnnounced()
			p.wantAlive()
			p.WantNoStream(time.Second) // it is not asked again
		})
	})
	t.Run("reset", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p, announcements := w.announcer()
			announcements.Reset(wire.CodeDuplicate)
			announcements.WantReset(wire.CodeCancel)
			w.WantAnnounced()
			p.wantAlive()
		})
	})
	t.Run("end of the connection", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			watch := w.client().OpenStream(interestHex)
			p := w.publisher()
			watch.Want(activeClockHex)
			_ = p.Conn.CloseWithError(0, "")
			watch.Want("00 01 05 636c6f636b")
			w.WantAnnounced()
		})
	})
}

// TestB17TwoSources: an end is told when the last source of a path is gone.
func TestB17TwoSources(t *testing.T) {
	bubble(t, nil, func(w *world) {
		first, second := w.publisher(), w.publisher()
		watch := w.client().OpenStream(interestHex)
		watch.Want(activeClockHex)
		_ = first.Conn.CloseWithError(0, "")
		watch.WantSilence(time.Second)
		_ = second.Conn.CloseWithError(0, "")
		watch.Want("00 01 05 636c6f636b")
	})
}

// TestB34NoEcho: a session is not told what it has announced itself.
func TestB34NoEcho(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.publisher()
		own := p.OpenStream(interestHex)
		own.WantSilence(time.Second)
		w.Publish("other")
		own.Want("01 01 05 6f74686572")
	})
}

// TestB35AskerLeaves: the end of the asking direction ends the other at once,
// without waiting for the next announcement.
func TestB35AskerLeaves(t *testing.T) {
	bubble(t, func(w *world) { w.Config.Limits.Interests = 1 }, func(w *world) {
		p := w.client()
		s := p.OpenStream(interestHex)
		settle()
		s.Fin()
		s.WantEOF()
		s = p.OpenStream(interestHex)
		settle()
		s.Reset(wire.CodeCancel)
		s.WantReset(wire.CodeCancel)
		p.wantAlive()
		s = p.OpenStream(interestHex) // the limit of one would refuse it if another was still served
		s.WantSilence(soon)
	})
}

// TestB20Gone: what a peer announced ends with its session, also over
// WebTransport, where the connection may live on.
func TestB20Gone(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.peer(w.Dial(func(c *transport.DialConfig) { c.WebTransport = true }))
		p.shake()
		p.Accept(interestHex).Send(activeClockHex)
		w.WantAnnounced("clock")
		_ = p.Conn.CloseWithError(0, "")
		w.WantAnnounced()
	})
}

func TestVisible(t *testing.T) {
	bubble(t, func(w *world) {
		w.Config.Visible = func(a origin.Announcement) bool { return !a.Path.HasPrefix(moq.NewPath("internal")) }
	}, func(w *world) {
		w.Publish("internal", "x")
		w.Publish("clock")
		p := w.client()
		s := p.OpenStream(interestHex)
		s.Want(activeClockHex)
		s.WantSilence(time.Second)
		p.OpenStream("02 00 02 08 696e7465726e616c 01 78 80 01 00 00 00").WantReset(wire.CodeNotFound)
		p.OpenStream("04 02 08 696e7465726e616c 01 78").WantReset(wire.CodeNotFound)
		p.OpenStream("03 02 08 696e7465726e616c 01 78 80 00 00").WantReset(wire.CodeNotFound)
	})
}

func TestAccept(t *testing.T) {
	bubble(t, func(w *world) {
		w.Config.Accept = func(p moq.Path) error {
			if p.Last() == "clock" {
				return errors.New("not yours")
			}
			return nil
		}
	}, func(w *world) {
		_, announcements := w.announcer()
		announcements.Send("01 01 01 79 00 01 05 636c6f636b")
		w.WantAnnounced("y")
	})
}

// TestWhatOthersAnnounce: a broadcast of another protocol is told by its path,
// once even if there is a track of that path as well; paths that are no text have
// no form here.
func TestWhatOthersAnnounce(t *testing.T) {
	bubble(t, nil, func(w *world) {
		for _, a := range []origin.Announcement{
			{Path: moq.NewPath("clock"), Kind: origin.Broadcast, Source: sessiontest.Local{}},
			{Path: moq.NewPath("\xff"), Kind: origin.Track, Source: sessiontest.Local{}},
		} {
			if _, err := w.Table.Announce(a); err != nil {
				t.Fatal(err)
			}
		}
		w.Publish("clock")
		s := w.client().OpenStream(interestHex)
		s.Want(activeClockHex)
		s.WantSilence(time.Second)
	})
}

// TestLimitOnPaths: a session that announces too many paths ends.
func TestLimitOnPaths(t *testing.T) {
	bubble(t, func(w *world) { w.Config.Limits = session.Limits{Paths: 2} }, func(w *world) {
		p, announcements := w.announcer()
		announcements.Send("01 01 01 78")
		w.WantAnnounced("clock", "x")
		announcements.Send("00 01 01 78 01 01 01 79") // one goes, one comes
		w.WantAnnounced("clock", "y")
		announcements.Send("01 01 01 7a")
		p.WantClosed(wire.CodeBounds)
		w.WantAnnounced()
	})
}

// TestInterest: the peer is asked for a prefix, and its suffixes are put behind it.
func TestInterest(t *testing.T) {
	bubble(t, func(w *world) { w.Config.Interest = moq.NewPath("internal", "origins") }, func(w *world) {
		p := w.connect()
		p.shake()
		p.Accept("01 02 08 696e7465726e616c 07 6f726967696e73").Send("01 01 06 72656c617932") // A3, A6
		w.WantAnnounced("internal/origins/relay2")
	})
}
