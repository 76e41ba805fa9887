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
					return &peer{w, w.dial(func(c *transport.DialConfig) { c.WebTransport = kind == transport.WebTransport })}
				}
				p := dial()
				p.shake()
				p.accept(interestHex).write(activeClockHex)
				settle()

				s := dial()
				s.shake()
				s.accept(interestHex)
				sub := s.openStream(subscribeHex)
				up := p.accept(subscribeHex)
				up.write(infoHex)
				sub.want(infoHex)
				g := p.uni("00 00 01 01 61")
				g.fin()
				got := s.acceptUni("00 00 01 01 61")
				got.wantEOF()
				_ = s.conn.CloseWithError(0, "")
				_ = p.conn.CloseWithError(0, "")
				settle()
			})
		})
	}
}
