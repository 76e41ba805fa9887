package transfork

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/session/sessiontest"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// These tests hold the publisher half: what the relay does for a subscriber.

// TestInfo: INFO goes first and carries the asker's own parameters (B12).
func TestB12Info(t *testing.T) {
	const catalog = "03 03 626262 0a 31373330393536383138 0c 636174616c6f672e6a736f6e"
	tests := []struct{ name, subscribe, info string }{
		{"U2", "02 01 " + catalog + " 7f 01 00 00 00", "7f 01 00 07"},
		{"U11, as the JavaScript client asks", "02 00 " + catalog + " 00 00 00 00 00", "00 00 00 07"},
		{"N3, order 2 is descending", "02 00 " + catalog + " 80 02 00 00 00", "80 01 00 07"},
		{"ascending, 500 ms", "02 00 " + catalog + " 82 00 41f4 00 00", "82 00 41f4 07"},
	}
	bubble(t, nil, func(w *world) {
		track := w.Publish("bbb", "1730956818", "catalog.json")
		w.Group(track, 7, "x")
		for _, tt := range tests {
			p := w.client()
			p.OpenStream(tt.subscribe).Want(tt.info)
			p.NextUni()
		}
	})
}

// TestB12InfoWaits: INFO tells the newest group when the publisher has answered
// soon enough, and 0 if not.
func TestB12InfoWaits(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.publisher()
		s := w.client()
		sub := s.OpenStream(subscribeHex)
		up := p.Accept(subscribeHex)
		sub.WantSilence(answerWait / 2)
		up.Send("80 01 00 14") // U4
		sub.Want("80 01 00 14")
		w.client().OpenStream(subscribeHex).Want("80 01 00 14") // and then at once
	})
	bubble(t, nil, func(w *world) {
		p := w.publisher()
		sub := w.client().OpenStream(subscribeHex)
		p.Accept(subscribeHex)
		start := time.Now()
		sub.Want(infoHex)
		if took := time.Since(start); took > answerWait+rtt {
			t.Errorf("INFO took %v, want about %v", took, answerWait)
		}
	})
}

// TestNewcomer: the newest group from its first frame, then whatever comes.
func TestNewcomer(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.Publish("clock")
		w.Group(track, 19, "old")
		g := w.Open(track, 20, "2024-11-07 05:20:", "18")
		p := w.client()
		p.OpenStream(subscribeHex).Want("80 01 00 14")
		live := p.AcceptUni("00 00 14 11 323032342d31312d30372030353a32303a 02 3138")
		if err := g.WriteFrame([]byte("19")); err != nil {
			t.Fatal(err)
		}
		live.Want("02 3139")
		_ = g.Finish()
		live.WantEOF() // G3
		w.Group(track, 21, "", "z")
		next := p.AcceptUni("00 00 15 00 01 7a")
		next.WantEOF()
		w.Group(track, 22)
		p.AcceptUni("00 00 16").WantEOF() // a group without frames
	})
}

// TestLargeFrames: payloads of all sizes around the limits of what is written at
// once arrive as they are.
func TestLargeFrames(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.Publish("clock")
		p := w.client()
		p.OpenStream(subscribeHex).Want(infoHex)
		for i, size := range []int{1, 63, 64, 1100, 1150, 1200, 2038, 2048, 2049, 20_000, 400_000} {
			frame := strings.Repeat("x", size)
			w.Group(track, uint64(i), frame, "y")
			want := wire.Group{Sequence: uint64(i)}.Append([]byte{0})
			want = append(wire.FrameHeader{Size: uint64(size)}.Append(want), frame...)
			s := p.NextUni()
			s.WantBytes(append(want, 1, 'y'))
			s.WantEOF()
		}
	})
}

// TestB7EndOfTrack: the groups, then FIN, late enough not to overtake them.
func TestB7EndOfTrack(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.Publish("clock")
		g := w.Open(track, 20, "a")
		p := w.client()
		sub := p.OpenStream(subscribeHex)
		sub.Want("80 01 00 14")
		last := p.AcceptUni("00 00 14 01 61")
		time.Sleep(2 * time.Second)
		track.End(moq.ErrEnded)
		sub.WantSilence(time.Second) // the group is still open
		_ = g.WriteFrame([]byte("b"))
		_ = g.Finish()
		last.Want("01 62")
		last.WantEOF()
		start := time.Now()
		sub.WantEOF()
		if took := time.Since(start); took < 2*rtt+25*time.Millisecond-time.Millisecond || took > 200*time.Millisecond {
			t.Errorf("the FIN came %v after the last group", took)
		}
		p.OpenStream("02 01 01 05 636c6f636b 80 01 00 00 00").Want("80 01 00 14") // what is cached is still there
	})
}

func TestB7EndWithError(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code wire.Code
	}{
		{"not found", moq.ErrNotFound, wire.CodeNotFound},
		{"publisher lost", moq.ErrGoingAway, wire.CodeTransport},
		{"application", &moq.EndError{Reason: moq.Cancelled, App: 6}, wire.AppCode(5)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				track := w.Publish("clock")
				w.Open(track, 20, "a")
				p := w.client()
				sub := p.OpenStream(subscribeHex)
				sub.Want("80 01 00 14")
				last := p.AcceptUni("00 00 14 01 61")
				track.End(tt.err)
				last.WantReset(tt.code)
				sub.WantResetAfterData(tt.code) // a GROUP_DROP, unless the reset overtakes it
				sub.WantStop(tt.code)
			})
		})
	}
}

// TestB8Unsubscribe: FIN and reset both end the subscription at once, and what
// is being sent with it.
func TestB8Unsubscribe(t *testing.T) {
	leave := map[string]func(*stream){
		"FIN":   func(s *stream) { s.Fin(); s.WantEOF() },
		"reset": func(s *stream) { s.Reset(wire.CodeCancel); s.WantReset(wire.CodeCancel) },
	}
	for name, leave := range leave {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				track := w.Publish("clock")
				g := w.Open(track, 20, "a")
				p := w.client()
				sub := p.OpenStream(subscribeHex)
				sub.Want("80 01 00 14")
				s := p.AcceptUni("00 00 14 01 61")
				w.WantMetric("subscriptions", "side=down", 1)
				leave(sub)
				s.WantReset(wire.CodeCancel)
				_ = g.WriteFrame([]byte("b"))
				w.Group(track, 21, "c")
				p.WantNoUni(time.Second)
				w.WantMetric("subscriptions", "side=down", 0)
				if d, _ := track.Demand(); d.Subscribers != 0 {
					t.Errorf("%d subscribers are left", d.Subscribers)
				}
			})
		})
	}
}

// TestB9Truncated: a group that stops in the middle is reset and reported, not
// finished.
func TestB9Truncated(t *testing.T) {
	tests := []struct {
		name  string
		abort func(g *moq.GroupWriter)
		code  wire.Code
	}{
		{"between two frames", func(g *moq.GroupWriter) { g.Abort(moq.ErrTruncated) }, wire.CodeWrongSize},
		{"inside a frame", func(g *moq.GroupWriter) {
			f, _ := g.NewFrame(10)
			_, _ = f.Write([]byte("half"))
			settle()
			_ = g.Finish()
		}, wire.CodeWrongSize},
		{"by the application", func(g *moq.GroupWriter) { g.Abort(&moq.EndError{Reason: moq.Cancelled, App: 3}) }, wire.AppCode(2)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				track := w.Publish("clock")
				g := w.Open(track, 20, "a")
				p := w.client()
				sub := p.OpenStream(subscribeHex)
				sub.Want("80 01 00 14")
				s := p.AcceptUni("00 00 14 01 61")
				tt.abort(g)
				if tt.name == "inside a frame" {
					s.Want("0a 68616c66")
				}
				s.WantReset(tt.code)
				drop := wire.GroupDrop{First: 20, Code: tt.code}
				sub.WantBytes(drop.Append(nil))
				w.Group(track, 21, "c")
				p.AcceptUni("00 00 15 01 63").WantEOF()
				w.WantMetric("groups_dropped_total", "reason=upstream_reset", 1)
			})
		})
	}
}

// TestB10LateGroups: a group that arrives after a newer one is delivered, one
// that never comes is reported.
func TestB10LateGroups(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.Publish("clock")
		w.Group(track, 5, "five")
		p := w.client()
		sub := p.OpenStream(subscribeHex)
		sub.Want("80 01 00 05")
		p.AcceptUni("00 00 05 04 66697665")
		w.Group(track, 8, "8")
		p.AcceptUni("00 00 08 01 38")
		w.Group(track, 7, "7")
		p.AcceptUni("00 00 07 01 37")
		track.Drop(6, 6, moq.UpstreamReset)
		sub.Want("06 00 0e")
		track.Drop(70, 72, moq.UpstreamReset)
		sub.Want("4046 02 0e")
	})
}

// TestB10Range: the first and the last group that are asked for.
func TestB10Range(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.Publish("clock")
		for seq := range uint64(5) {
			w.Group(track, seq, fmt.Sprint(seq))
		}
		p := w.client()
		sub := p.OpenStream("02 00 01 05 636c6f636b 80 00 00 03 06") // ascending, groups 2 to 5
		sub.Want("80 00 00 04")
		for seq := 2; seq <= 4; seq++ {
			p.AcceptUni(fmt.Sprintf("00 00 %02x 01 3%d", seq, seq))
		}
		w.Group(track, 6, "6")
		w.Group(track, 5, "5")
		p.AcceptUni("00 00 05 01 35")
		sub.WantEOF()
		p.WantNoUni(time.Second)

		sub = p.OpenStream("02 01 01 05 636c6f636b 80 00 00 00 02") // only group 1, newest first
		sub.Want("80 00 00 06")
		sub.WantEOF()
	})
}

// TestB10SubscribeUpdate: five fields, or four, change a running subscription.
func TestB15SubscribeUpdate(t *testing.T) {
	for name, update := range map[string]string{"U6, five fields": "02 01 41f4 00 0a", "four fields": "02 01 00 0a"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				track := w.Publish("clock")
				w.Group(track, 8, "8")
				p := w.client()
				sub := p.OpenStream(subscribeHex)
				sub.Want("80 01 00 08")
				p.AcceptUni("00 00 08 01 38")
				sub.Send(update) // priority 2, no group after 9
				time.Sleep(updateGap + soon)
				if d, _ := track.Demand(); d.Priority != toPriority(2) {
					t.Errorf("priority is %d, want %d", d.Priority, toPriority(2))
				}
				w.Group(track, 9, "9")
				w.Group(track, 10, "a")
				p.AcceptUni("00 00 09 01 39").WantEOF()
				sub.WantEOF()
				p.WantNoUni(time.Second)
			})
		})
	}
	t.Run("malformed", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			w.Publish("clock")
			p := w.client()
			sub := p.OpenStream(subscribeHex)
			sub.Want(infoHex)
			sub.Send("02 07 00 00 00")
			sub.WantReset(wire.CodeDecode)
			p.wantAlive()
		})
	})
}

// TestB22SlowSubscriber: who does not read loses old groups, is told so, and
// harms nobody.
func TestB22SlowSubscriber(t *testing.T) {
	bubble(t, func(w *world) { w.Config.TrackLimits = moq.Limits{QueuedBytes: 1 << 20} }, func(w *world) {
		track := w.Publish("clock")
		slow := w.peer(w.Dial(func(c *transport.DialConfig) {
			c.Limits = transport.Limits{StreamWindow: 8 << 10, ConnWindow: 12 << 10}
		}))
		slow.shake()
		slow.Accept(interestHex)
		sub := slow.OpenStream(subscribeHex)
		sub.Want(infoHex)
		good := w.client()
		good.OpenStream(subscribeHex).Want(infoHex)
		frame := bytes.Repeat([]byte("x"), 300_000)
		for seq := range uint64(8) {
			w.Group(track, seq, string(frame))
			s := good.NextUni()
			s.WantBytes(append(wire.Group{Sequence: seq}.Append([]byte{0}), wire.FrameHeader{Size: 300_000}.Append(nil)...))
			s.WantBytes(frame)
		}
		sub.Deadline(time.Minute)
		drop, err := base.Next(base.NewReader(sub), wire.ConsumeGroupDrop)
		if err != nil || drop.First != 0 || drop.Code != wire.CodeBounds {
			t.Errorf("told %+v, %v; want the drop of group 0", drop, err)
		}
		slow.NextUni().WantResetAfterData(wire.CodeBounds)
		settle()
		if dropped := sessiontest.Metric(w.Metrics.Registry(), "groups_dropped_total", "reason=slow_subscriber"); dropped < 4 || dropped > 7 {
			t.Errorf("%v groups were dropped of 8, want those beyond a megabyte", dropped)
		}
		if q := w.session(0).Stats().QueuedBytes; q > 2<<20 {
			t.Errorf("%d bytes are queued", q)
		}
	})
}

// TestB23StreamCredit: a subscriber that allows few streams skips to the newest
// group, is told what it missed, and holds up nobody.
func TestB23StreamCredit(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.Publish("clock")
		p := w.peer(w.Dial(func(c *transport.DialConfig) { c.Limits = transport.Limits{MaxUniStreams: 2} }))
		p.shake()
		p.Accept(interestHex)
		sub := p.OpenStream(subscribeHex)
		sub.Want(infoHex)
		time.Sleep(time.Second)
		good := w.client()
		good.OpenStream(subscribeHex).Want(infoHex)
		for seq := range uint64(6) {
			w.Group(track, seq, fmt.Sprint(seq))
			good.AcceptUni(fmt.Sprintf("00 00 %02x 01 3%d", seq, seq))
			time.Sleep(time.Second)
		}
		p.AcceptUni("00 00 00 01 30").WantEOF()
		p.AcceptUni("00 00 01 01 31").WantEOF()
		p.AcceptUni("00 00 05 01 35").WantEOF()
		sub.Want("02 00 0b 03 00 0b 04 00 0b")
		w.WantMetric("groups_dropped_total", "reason=stream_credit", 3)
	})
}

// TestDrain: no further groups; those under way to their end, then a reset.
func TestDrain(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.Publish("clock")
		g := w.Open(track, 20, "a")
		p := w.client()
		announcements := p.OpenStream(interestHex)
		announcements.Want(activeClockHex)
		sub := p.OpenStream(subscribeHex)
		sub.Want("80 01 00 14")
		last := p.AcceptUni("00 00 14 01 61")
		drained := make(chan struct{})
		go func() { defer close(drained); w.session(0).Drain(w.Context()) }()
		announcements.WantEOF()
		w.Group(track, 21, "never")
		_ = g.WriteFrame([]byte("b"))
		_ = g.Finish()
		last.Want("01 62")
		last.WantEOF()
		sub.WantReset(wire.CodeCancel)
		<-drained
		p.WantNoUni(time.Second)
		p.OpenStream("02 01 01 05 636c6f636b 80 01 00 00 00").WantReset(wire.CodeCancel)
		p.OpenStream(interestHex).WantEOF()
	})
}

func TestStats(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.publisher()
		w.Publish("other")
		p.OpenStream("02 00 01 05 6f74686572 80 01 00 00 00").Want(infoHex)
		if got, want := w.session(0).Stats(), (session.Stats{Subscriptions: 1, Publishes: 1}); got != want {
			t.Errorf("stats are %+v, want %+v", got, want)
		}
	})
}

// TestMetrics: what is counted on the way through.
func TestMetrics(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.publisher()
		s := w.client()
		sub := s.OpenStream(subscribeHex)
		p.Accept(subscribeHex).Send(infoHex)
		sub.Want(infoHex)
		p.Uni("00 00 01 01 61 02 6262").Fin()
		s.AcceptUni("00 00 01 01 61 02 6262").WantEOF()
		time.Sleep(2 * base.SampleInterval)
		for _, m := range []struct {
			name, labels string
			want         float64
		}{
			{"ingress_bytes_total", "peer=client", 3},
			{"ingress_frames_total", "peer=client", 2},
			{"ingress_groups_total", "peer=client", 1},
			{"egress_bytes_total", "peer=client", 3},
			{"egress_frames_total", "peer=client", 2},
			{"egress_groups_total", "peer=client", 1},
			{"join_seconds", "", 1},
			{"subscribe_seconds", "", 1},
			{"group_age_seconds", "peer=client", 1},
			{"subscriptions", "side=up", 1},
			{"subscriptions", "side=down", 1},
			{"announcements_total", "action=announce", 1},
			{"handshake_seconds", "transport=quic", 2},
			{"quic_rtt_seconds", "peer=client", 4},
		} {
			w.WantMetric(m.name, m.labels, m.want)
		}
	})
}
