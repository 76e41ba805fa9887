package transfork

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// announced returns the paths in the relay's table.
func (w *world) announced() []string {
	var paths []string
	for _, a := range w.table.Snapshot() {
		paths = append(paths, a.Path.String())
	}
	slices.Sort(paths)
	return paths
}

func (w *world) wantAnnounced(want ...string) {
	w.Helper()
	settle()
	if got := w.announced(); !cmp.Equal(got, want) {
		w.Errorf("announced are %q, want %q", got, want)
	}
}

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
				w.publish("demo", "video")
				w.publish("demonstration")
				s := w.client().openStream(tt.interest)
				s.want(tt.want)
				s.wantSilence(time.Second)
			})
		})
	}
}

func TestAnnounceChanges(t *testing.T) {
	bubble(t, nil, func(w *world) {
		watch := w.client().openStream(interestHex)
		publisher := w.connect()
		publisher.shake()
		announcements := publisher.accept(interestHex)
		for range 3 { // A4, A5
			announcements.write(activeClockHex)
			watch.want(activeClockHex)
			announcements.write("00 01 05 636c6f636b")
			watch.want("00 01 05 636c6f636b")
		}
		watch.wantSilence(time.Second)
	})
}

// TestB16Burst: many announcements in one write reach another session once each.
func TestB16Burst(t *testing.T) {
	bubble(t, nil, func(w *world) {
		watch := w.client().openStream(interestHex)
		publisher := w.connect()
		publisher.shake()
		announcements := publisher.accept(interestHex)
		var burst []byte
		for i := range 200 {
			burst = wire.Announce{Status: wire.Active, Suffix: []string{fmt.Sprint(i)}}.Append(burst)
		}
		announcements.writeBytes(burst)
		seen := make(map[string]bool)
		watch.deadline(time.Minute)
		r := base.NewReader(watch)
		for range 200 {
			m, err := base.Next(r, wire.ConsumeAnnounce)
			if err != nil || m.Status != wire.Active || seen[m.Suffix[0]] {
				t.Fatalf("told %v, %v; seen before: %t", m, err, seen[m.Suffix[0]])
			}
			seen[m.Suffix[0]] = true
		}
		watch.wantSilence(time.Second)
	})
}

// TestB16Tolerant: repeated announcements, unknown ends and the marker of later
// versions do no harm.
func TestB16Tolerant(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, announcements := w.announcer()
		announcements.write(activeClockHex + "00 01 01 78" + "02" + activeClockHex + "01 01 01 79")
		w.wantAnnounced("clock", "y")
		announcements.write("00 01 05 636c6f636b")
		w.wantAnnounced("y")
		p.wantAlive()
	})
}

func TestMalformedAnnouncements(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p, announcements := w.announcer()
		announcements.write("03")
		announcements.wantReset(wire.CodeDecode)
		announcements.wantStop(wire.CodeDecode)
		w.wantAnnounced()
		p.wantAlive()
	})
}

// TestEndOfAnnouncements: whatever ends the stream withdraws what was told on it.
func TestEndOfAnnouncements(t *testing.T) {
	t.Run("FIN", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p, announcements := w.announcer()
			w.wantAnnounced("clock")
			announcements.fin()
			announcements.wantEOF()
			w.wantAnnounced()
			p.wantAlive()
			p.wantNoStream(time.Second) // it is not asked again
		})
	})
	t.Run("reset", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p, announcements := w.announcer()
			announcements.reset(wire.CodeDuplicate)
			announcements.wantReset(wire.CodeCancel)
			w.wantAnnounced()
			p.wantAlive()
		})
	})
	t.Run("end of the connection", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			watch := w.client().openStream(interestHex)
			p := w.publisher()
			watch.want(activeClockHex)
			_ = p.conn.CloseWithError(0, "")
			watch.want("00 01 05 636c6f636b")
			w.wantAnnounced()
		})
	})
}

// TestB17TwoSources: an end is told when the last source of a path is gone.
func TestB17TwoSources(t *testing.T) {
	bubble(t, nil, func(w *world) {
		first, second := w.publisher(), w.publisher()
		watch := w.client().openStream(interestHex)
		watch.want(activeClockHex)
		_ = first.conn.CloseWithError(0, "")
		watch.wantSilence(time.Second)
		_ = second.conn.CloseWithError(0, "")
		watch.want("00 01 05 636c6f636b")
	})
}

// TestB34NoEcho: a session is not told what it has announced itself.
func TestB34NoEcho(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.publisher()
		own := p.openStream(interestHex)
		own.wantSilence(time.Second)
		w.publish("other")
		own.want("01 01 05 6f74686572")
	})
}

// TestB35AskerLeaves: the end of the asking direction ends the other at once,
// without waiting for the next announcement.
func TestB35AskerLeaves(t *testing.T) {
	bubble(t, func(w *world) { w.config.Limits.Interests = 1 }, func(w *world) {
		p := w.client()
		s := p.openStream(interestHex)
		settle()
		s.fin()
		s.wantEOF()
		s = p.openStream(interestHex)
		settle()
		s.reset(wire.CodeCancel)
		s.wantReset(wire.CodeCancel)
		p.wantAlive()
		s = p.openStream(interestHex) // the limit of one would refuse it if another was still served
		s.wantSilence(soon)
	})
}

// TestB20Gone: what a peer announced ends with its session, also over
// WebTransport, where the connection may live on.
func TestB20Gone(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := &peer{w, w.dial(func(c *transport.DialConfig) { c.WebTransport = true })}
		p.shake()
		p.accept(interestHex).write(activeClockHex)
		w.wantAnnounced("clock")
		_ = p.conn.CloseWithError(0, "")
		w.wantAnnounced()
	})
}

func TestVisible(t *testing.T) {
	bubble(t, func(w *world) {
		w.config.Visible = func(a origin.Announcement) bool { return !a.Path.HasPrefix(moq.NewPath("internal")) }
	}, func(w *world) {
		w.publish("internal", "x")
		w.publish("clock")
		p := w.client()
		s := p.openStream(interestHex)
		s.want(activeClockHex)
		s.wantSilence(time.Second)
		p.openStream("02 00 02 08 696e7465726e616c 01 78 80 01 00 00 00").wantReset(wire.CodeNotFound)
		p.openStream("04 02 08 696e7465726e616c 01 78").wantReset(wire.CodeNotFound)
		p.openStream("03 02 08 696e7465726e616c 01 78 80 00 00").wantReset(wire.CodeNotFound)
	})
}

func TestAccept(t *testing.T) {
	bubble(t, func(w *world) {
		w.config.Accept = func(p moq.Path) error {
			if p.Last() == "clock" {
				return errors.New("not yours")
			}
			return nil
		}
	}, func(w *world) {
		_, announcements := w.announcer()
		announcements.write("01 01 01 79 00 01 05 636c6f636b")
		w.wantAnnounced("y")
	})
}

// TestWhatOthersAnnounce: a broadcast of another protocol is told by its path,
// once even if there is a track of that path as well; paths that are no text have
// no form here.
func TestWhatOthersAnnounce(t *testing.T) {
	bubble(t, nil, func(w *world) {
		for _, a := range []origin.Announcement{
			{Path: moq.NewPath("clock"), Kind: origin.Broadcast, Source: local{}},
			{Path: moq.NewPath("\xff"), Kind: origin.Track, Source: local{}},
		} {
			if _, err := w.table.Announce(a); err != nil {
				t.Fatal(err)
			}
		}
		w.publish("clock")
		s := w.client().openStream(interestHex)
		s.want(activeClockHex)
		s.wantSilence(time.Second)
	})
}

// TestLimitOnPaths: a session that announces too many paths ends.
func TestLimitOnPaths(t *testing.T) {
	bubble(t, func(w *world) { w.config.Limits = session.Limits{Paths: 2} }, func(w *world) {
		p, announcements := w.announcer()
		announcements.write("01 01 01 78")
		w.wantAnnounced("clock", "x")
		announcements.write("00 01 01 78 01 01 01 79") // one goes, one comes
		w.wantAnnounced("clock", "y")
		announcements.write("01 01 01 7a")
		p.wantClosed(wire.CodeBounds)
		w.wantAnnounced()
	})
}

// TestInterest: the peer is asked for a prefix, and its suffixes are put behind it.
func TestInterest(t *testing.T) {
	bubble(t, func(w *world) { w.config.Interest = moq.NewPath("internal", "origins") }, func(w *world) {
		p := w.connect()
		p.shake()
		p.accept("01 02 08 696e7465726e616c 07 6f726967696e73").write("01 01 06 72656c617932") // A3, A6
		w.wantAnnounced("internal/origins/relay2")
	})
}
