package moqlite

import (
	"context"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// sendGoaway asks the peer to leave, for wherever its address leads it then. Up
// to lite-03 there is no word for that: such a peer comes back when its session
// has been closed.
func (s *Session) sendGoaway() {
	if !s.version.HasGoaway() {
		return
	}
	s.Spawn(func() {
		ctx, cancel := context.WithTimeout(s.Conn.Context(), base.RequestTimeout)
		defer cancel()
		stream, err := s.Conn.OpenStream(ctx)
		if err != nil {
			return
		}
		stream.SetPriority(base.ControlUrgency, false)
		if _, err := stream.Write(wire.Goaway{}.Append(wire.StreamGoaway.Append(nil))); err == nil {
			_ = stream.Close() // whoever has stopped reading knows
		}
		stream.CancelRead(s.Codes.Stream(moq.ErrCancelled))
	})
}

// receiveGoaway takes the peer's word that it leaves. An address that it gives
// is not followed: whoever dials goes by the one that it was told.
func (s *Session) receiveGoaway(stream transport.Stream, r *base.Reader) {
	goaway, ok := base.Request(s.Base, stream, r, wire.ConsumeGoaway)
	if !ok {
		return
	}
	if goaway.URI != "" && !s.IsClient && s.version.HasCosts() {
		s.Fail(&base.Violation{Fault: base.Protocol, Text: "GOAWAY of a client with an address"})
		return
	}
	s.Log.Debug("peer goes away", "uri", goaway.URI)
	s.PeerLeaves(true)
	_ = s.AwaitLeave(r)
	_ = stream.Close() // a FIN for a FIN
}
