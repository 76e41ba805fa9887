package transfork

import (
	"testing"

	"github.com/moqrelay/moqrelay/relay/transport"
)

// TestExchange is the complete exchange of the protocol's reference, over both
// kinds of transport.
func TestExchange(t *testing.T) {
	for _, kind := range []transport.Kind{transport.QUIC, transport.WebTransport} {
		t.Run(kind.String(), func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				dial := func() *peer {
					return w.peer(w.Dial(func(c *transport.DialConfig) { c.WebTransport = kind == transport.WebTransport }))
				}
				p := dial()
				p.shake()
				p.Accept(interestHex).Send(activeClockHex)
				settle()

				s := dial()
				s.shake()
				s.Accept(interestHex)
				sub := s.OpenStream(subscribeHex)
				up := p.Accept(subscribeHex)
				up.Send(infoHex)
				sub.Want(infoHex)
				g := p.Uni("00 00 01 01 61")
				g.Fin()
				got := s.AcceptUni("00 00 01 01 61")
				got.WantEOF()
				_ = s.Conn.CloseWithError(0, "")
				_ = p.Conn.CloseWithError(0, "")
				settle()
			})
		})
	}
}

// TestCaptured plays what was captured of moq-clock, moq-karp and a subscriber
// with moq-relay 0.6.8 between them. Where we differ by intention the script
// says so.
func TestCaptured(t *testing.T) {
	t.Run("C1 and C2: moq-clock", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := w.publisher()
			s := w.client()
			sub := s.OpenStream(subscribeHex)
			up := p.Accept(subscribeHex)
			const minute39 = "00 00 27 11 323032362d31312d32322030383a33393a 02 3537 02 3538"
			g39 := p.Uni(minute39) // before INFO
			up.Send("80 01 00 27")
			sub.Want("80 01 00 27") // 0.6.8 says 0: it does not wait for the publisher
			s39 := s.AcceptUni(minute39)
			g39.Send("02 3539")
			s39.Want("02 3539")
			const minute40 = "00 00 28 11 323032362d31312d32322030383a34303a 02 3030"
			g40 := p.Uni(minute40)
			s40 := s.AcceptUni(minute40)
			g39.Fin()
			s39.WantEOF()
			g40.Send("02 3031")
			s40.Want("02 3031")
		})
	})
	t.Run("C3: moq-karp", func(t *testing.T) {
		const (
			prefix  = "03 03 626262 0a 31373935343233323138"
			catalog = prefix + "0c 636174616c6f672e6a736f6e"
			video   = prefix + "06 766964656f31"
			audio   = prefix + "06 617564696f32"
		)
		bubble(t, nil, func(w *world) {
			p := w.connect()
			p.shake()
			p.Accept(interestHex).Send("01" + catalog + "01" + video + "01" + audio)
			settle()
			s := w.client()
			s.OpenStream(interestHex).Want("01" + catalog + "01" + video + "01" + audio)

			sub := s.OpenStream("02 00" + catalog + "80 01 00 00 00")
			up := p.Accept("02 00" + catalog + "80 01 00 00 00")
			json := append(unhex("00 00 01 415d"), make([]byte, 349)...)
			g := p.Uni("")
			g.SendBytes(json)
			g.Fin()
			up.Send("7f 01 00 01")
			sub.Want("80 01 00 01") // the asker's priority, not the publisher's
			c := s.NextUni()
			c.WantBytes(json)
			c.WantEOF()

			sub = s.OpenStream("02 01" + video + "80 01 00 00 00")
			up = p.Accept("02 01" + video + "80 01 00 00 00")
			up.Send("82 01 00 00")
			sub.Want(infoHex)
			frame := append(unhex("00 01 00 6062 00 000002"), make([]byte, 8286)...)
			p.Uni("").SendBytes(frame)
			s.NextUni().WantBytes(frame)

			sub = s.OpenStream("02 02" + audio + "80 01 00 00 00")
			up = p.Accept("02 02" + audio + "80 01 00 00 00")
			up.Send("81 01 00 02")
			sub.Want("80 01 00 02")
			frame = append(unhex("00 02 02 410a 8001101b"), make([]byte, 262)...)
			a := p.Uni("")
			a.SendBytes(frame)
			a.Fin()
			got := s.NextUni()
			got.WantBytes(frame)
			got.WantEOF()
		})
	})
}
