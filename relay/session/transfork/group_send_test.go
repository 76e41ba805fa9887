package transfork

import (
	"fmt"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/session/base"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// TestB6RefusedGroup: what a subscriber refuses because it does not know the
// subscription yet is sent again.
func TestB6RefusedGroup(t *testing.T) {
	for _, code := range []wire.Code{wire.CodeNotFound, wire.CodeCancel} {
		t.Run(fmt.Sprintf("stopped with %d", code), func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				w.Group(w.Publish("clock"), 20, "a", "b")
				p := w.client()
				p.OpenStream(subscribeHex).Want("80 01 00 14")
				for range 2 {
					refused := p.AcceptUni("00 00 14 01 61") // complete, but its FIN is held back
					refused.Stop(code)
				}
				again := p.AcceptUni("00 00 14 01 61 01 62")
				again.WantEOF()
				p.WantNoUni(time.Second)
			})
		})
	}
	t.Run("between two frames that are far apart", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			g := w.Open(w.Publish("clock"), 20, "a")
			p := w.client()
			p.OpenStream(subscribeHex).Want("80 01 00 14")
			p.AcceptUni("00 00 14 01 61").Stop(wire.CodeNotFound)
			again := p.AcceptUni("00 00 14 01 61")
			time.Sleep(2 * time.Second)
			_ = g.WriteFrame([]byte("b"))
			again.Want("01 62")
		})
	})
	t.Run("not once it was given up", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			w.Open(w.Publish("clock"), 20, "a")
			p := w.client()
			sub := p.OpenStream(subscribeHex)
			sub.Want("80 01 00 14")
			s := p.AcceptUni("00 00 14 01 61")
			sub.Fin()
			s.WantReset(wire.CodeCancel)
			p.WantNoUni(time.Second)
			p.wantAlive()
		})
	})
	t.Run("not for ever", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			w.Group(w.Publish("clock"), 20, "a")
			p := w.client()
			p.OpenStream(subscribeHex).Want("80 01 00 14")
			for range 1 + len(base.RetryDelays) {
				p.AcceptUni("00 00 14 01 61").Stop(wire.CodeNotFound)
			}
			p.WantNoUni(time.Second)
			p.wantAlive()
		})
	})
	t.Run("not when the subscription is old", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			track := w.Publish("clock")
			p := w.client()
			p.OpenStream(subscribeHex).Want(infoHex)
			time.Sleep(time.Second)
			w.Open(track, 20, "a")
			p.AcceptUni("00 00 14 01 61").Stop(wire.CodeNotFound)
			_ = track
			p.WantNoUni(time.Second)
		})
	})
	t.Run("not to one of ours", func(t *testing.T) {
		bubble(t, withNode, func(w *world) {
			w.Group(w.Publish("clock"), 20, "a")
			p := w.connect()
			p.OpenStream(markedClient).Want(markedServer)
			start := time.Now()
			p.OpenStream(subscribeHex).Want("80 01 00 14")
			s := p.AcceptUni("00 00 14 01 61")
			s.WantEOF()
			if took := time.Since(start); took > 2*rtt {
				t.Errorf("the FIN came after %v, want it at once", took)
			}
		})
	})
}

// TestB6HeldFIN: the FIN of a young subscription's group waits for a refusal,
// the frames do not.
func TestB6HeldFIN(t *testing.T) {
	bubble(t, nil, func(w *world) {
		w.Group(w.Publish("clock"), 20, "a")
		p := w.client()
		p.OpenStream(subscribeHex).Want("80 01 00 14")
		s := p.AcceptUni("00 00 14 01 61")
		start := time.Now()
		s.WantEOF()
		if took := time.Since(start); took < base.WatchWindow || took > base.WatchWindow+2*rtt {
			t.Errorf("the FIN came after %v, want about %v", took, base.WatchWindow)
		}
	})
}
