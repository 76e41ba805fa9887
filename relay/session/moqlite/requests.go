package moqlite

import (
	"context"
	"errors"
	"time"

	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// errUnknownStream is why a stream is refused whose type this version lacks.
var errUnknownStream = errors.New("unknown type of stream")

// serveRequest reads what a stream is for and serves it.
func (s *Session) serveRequest(stream transport.Stream) {
	stream.SetPriority(base.ControlUrgency, false)
	_ = stream.SetReadDeadline(time.Now().Add(base.RequestTimeout)) // a stream that is gone fails below
	r := base.NewReader(stream)
	typ, err := base.Next(r, wire.ConsumeStreamType)
	if err != nil {
		s.RefuseRequest(stream, err)
		return
	}
	if !s.AdmitControl() {
		return
	}
	v := s.version
	switch {
	case typ == wire.StreamAnnounce:
		s.serveAnnounce(stream, r)
	case typ == wire.StreamSubscribe:
		s.serveSubscribe(stream, r)
	case typ == wire.StreamFetch && v.HasFetch():
		s.serveFetch(stream, r)
	case typ == wire.StreamProbe && v.HasProbe():
		s.serveProbe(stream, r)
	case typ == wire.StreamGoaway && v.HasGoaway():
		s.receiveGoaway(stream, r)
	case typ == wire.StreamTrack && v.HasTrack():
		s.serveTrack(stream, r)
	default:
		s.Refuse(stream, errUnknownStream)
	}
}

// onStop calls f when the peer does not read a stream any more, unless ctx ends
// before, and reports whether it can.
func (s *Session) onStop(ctx context.Context, stream transport.SendStream, f func(error)) bool {
	return s.Spawn(func() {
		select {
		case <-stream.Stopped():
			f(stream.StopCode())
		case <-ctx.Done():
		}
	})
}
