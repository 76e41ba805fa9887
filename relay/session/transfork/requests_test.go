package transfork

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// TestRefusedStreams: what cannot be served ends its stream and no more.
func TestRefusedStreams(t *testing.T) {
	tests := []struct {
		name, bytes string
		code        wire.Code
	}{
		{"N1: unknown type", "09", wire.CodeDecode},
		{"N2: second Session stream", sessionClientHex, wire.CodeUnexpectedStream},
		{"N4: path that nobody announced", "02 00 01 01 78 80 01 00 00 00", wire.CodeNotFound},
		{"order 3", "02 00 01 01 78 80 03 00 00 00", wire.CodeDecode},
		{"path that is not UTF-8", "04 01 02 c328", wire.CodeDecode},
		{"path of 33 parts", "01 21", wire.CodeDecode},
		{"fetch of an unknown path", "03 01 01 78 80 14 12", wire.CodeNotFound},
		{"info of an unknown path", "04 01 01 78", wire.CodeNotFound},
	}
	bubble(t, nil, func(w *world) {
		p := w.client()
		for _, tt := range tests {
			s := p.OpenStream(tt.bytes)
			s.WantReset(tt.code)
			s.WantStop(tt.code)
		}
		p.wantAlive()
	})
}

func TestRefusedUniStreams(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.client()
		p.Uni("05").WantStop(wire.CodeDecode)           // N5
		p.Uni("00 07 01").WantStop(wire.CodeNotFound)   // N6
		p.Uni("00 0701 00").WantStop(wire.CodeNotFound) // with a frame behind it
		p.wantAlive()
	})
}

// TestB19DyingStreams: a stream that dies before its first byte is no one's
// fault; over WebTransport that includes its prefix.
func TestB19DyingStreams(t *testing.T) {
	for _, kind := range []transport.Kind{transport.QUIC, transport.WebTransport} {
		t.Run(kind.String(), func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				p := w.peer(w.Dial(func(c *transport.DialConfig) { c.WebTransport = kind == transport.WebTransport }))
				p.shake()
				p.Accept(interestHex)
				for _, end := range []func(*stream){(*stream).Fin, func(s *stream) { s.Reset(wire.CodeCancel) }} {
					end(p.OpenStream(""))
					end(p.Uni(""))
					end(p.OpenStream("02"))
					end(p.Uni("00"))
				}
				settle()
				p.wantAlive()
			})
		})
	}
}

// TestSlowStreams: a stream that does not say what it is for is given up.
func TestSlowStreams(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.client()
		s := p.OpenStream("02 00 01")
		u := p.Uni("00")
		s.WantReset(wire.CodeDecode)
		u.WantStop(wire.CodeDecode)
		p.wantAlive()
	})
}

// TestB25UnmappedCodes: peers whose library resets streams on its own send codes
// that are not mapped.
func TestB25UnmappedCodes(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.Publish("clock")
		w.Group(track, 0, "a")
		p := w.peer(w.Dial(func(c *transport.DialConfig) { c.Protocols = []transport.Protocol{{ALPN: "moqf-02"}} }))
		p.shake()
		p.Accept(interestHex)
		sub := p.OpenStream(subscribeHex)
		sub.Want(infoHex)
		p.AcceptUni("00 00 00 01 61").Stop(13) // raw 13: too early
		p.AcceptUni("00 00 00 01 61").WantEOF()
		sub.Reset(0)
		sub.WantReset(wire.CodeCancel)
		p.wantAlive()
	})
}

func TestLimitsOnRequests(t *testing.T) {
	bubble(t, func(w *world) { w.Config.Limits = session.Limits{Subscriptions: 2, Interests: 2} }, func(w *world) {
		w.Publish("clock")
		p := w.client()
		p.OpenStream(subscribeHex).Want(infoHex)
		second := p.OpenStream("02 01 01 05 636c6f636b 80 01 00 00 00")
		second.Want(infoHex)
		p.OpenStream("02 02 01 05 636c6f636b 80 01 00 00 00").WantReset(wire.CodeBounds)
		p.OpenStream("04 01 05 636c6f636b").WantReset(wire.CodeBounds)
		second.Fin()
		second.WantEOF()
		third := p.OpenStream("02 03 01 05 636c6f636b 80 01 00 00 00")
		third.Want(infoHex)
		third.Fin()
		third.WantEOF()
		for range 2 {
			p.OpenStream(interestHex).Want(activeClockHex)
		}
		p.OpenStream(interestHex).WantReset(wire.CodeBounds)
		p.wantAlive()
	})
}

// TestDuplicateSubscribeID: an id names one subscription at a time.
func TestDuplicateSubscribeID(t *testing.T) {
	bubble(t, nil, func(w *world) {
		w.Publish("clock")
		p := w.client()
		first := p.OpenStream(subscribeHex)
		first.Want(infoHex)
		p.OpenStream(subscribeHex).WantReset(wire.CodeDuplicate)
		first.Fin()
		first.WantEOF()
		p.OpenStream(subscribeHex).Want(infoHex)
	})
}

// TestControlRate: a peer that sends too many control messages is read more
// slowly, and closed if it does not stop.
func TestControlRate(t *testing.T) {
	limit := func(w *world) { w.Config.Limits = session.Limits{ControlRate: 200, ControlBurst: 1000} }
	t.Run("a burst passes", func(t *testing.T) {
		bubble(t, limit, func(w *world) {
			s := w.connect().shake()
			s.SendBytes(make([]byte, 1900)) // 1000 at once, the rest in 4.5 s
			settle()
			time.Sleep(20 * time.Second)
			w.connect().shake()
			w.WantMetric("sessions", "peer=client,protocol=moq-transfork,transport=quic", 2)
		})
	})
	t.Run("a flood ends the session", func(t *testing.T) {
		bubble(t, limit, func(w *world) {
			p := w.connect()
			p.shake().SendBytes(make([]byte, 100_000))
			start := time.Now()
			p.WantClosed(wire.CodeBounds)
			if took := time.Since(start); took < base.MaxOverrun-rtt || took > base.MaxOverrun+time.Second {
				t.Errorf("closed after %v, want about %v", took, base.MaxOverrun)
			}
			settle()
			w.WantMetric("sessions_closed_total", "reason=limit", 1)
		})
	})
}

// TestPanic: a bug ends the session it shows up in, is counted, and no more.
func TestPanic(t *testing.T) {
	session.PanicsAreFatal = false
	defer func() { session.PanicsAreFatal = true }()
	bubble(t, func(w *world) {
		w.Config.Accept = func(p moq.Path) error {
			if p == moq.NewPath("clock") {
				panic("BUG: a test")
			}
			return nil
		}
	}, func(w *world) {
		other := w.client()
		p := w.connect()
		p.shake()
		p.Accept(interestHex).Send(activeClockHex)
		p.WantClosed(wire.CodeTransport)
		settle()
		w.WantMetric("panics_total", "", 1)
		w.WantMetric("sessions_closed_total", "reason=panic", 1)
		other.wantAlive()
	})
}

// TestHostileBytes throws damaged messages at a session: it refuses streams, or
// ends, and serves others all the while.
func TestHostileBytes(t *testing.T) {
	messages := []string{
		interestHex, subscribeHex, "03 01 05 636c6f636b 80 14 12", "04 01 05 636c6f636b", sessionClientHex,
		"00 00 14 11 323032342d31312d30372030353a32303a 02 3138", "02 41 2c 02 03 62 62 62 06 76 69 64 65 6f 31 82 00 41 f4 08 40 65",
	}
	random := rand.New(rand.NewPCG(1, 2))
	bubble(t, nil, func(w *world) {
		w.Group(w.Publish("clock"), 20, "a")
		for range 20 {
			p, announcements := w.announcer()
			for range 50 {
				b := unhex(messages[random.IntN(len(messages))])
				for range random.IntN(4) {
					b[random.IntN(len(b))] ^= 1 << random.IntN(8)
				}
				b = b[:random.IntN(len(b)+1)]
				var str transport.SendStream
				var err error
				switch random.IntN(3) {
				case 0:
					str, err = p.Conn.OpenUniStream()
				case 1:
					str, err = p.Conn.OpenStream(w.Context())
				default:
					str = announcements
				}
				if err != nil {
					break // the session has ended
				}
				_, _ = str.Write(b)
				if random.IntN(2) == 0 && str != transport.SendStream(announcements) {
					_ = str.Close()
				}
			}
			settle()
			_ = p.Conn.CloseWithError(0, "")
		}
		w.client().wantAlive()
	})
}
