package moqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
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
		s.refuseRequest(stream, err)
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

// request reads the message that a stream begins with. If there is none, the
// stream is refused.
func request[T any](s *Session, stream transport.Stream, r *base.Reader, consume func([]byte) (T, int, error)) (T, bool) {
	message, err := base.Next(r, consume)
	if err != nil {
		s.refuseRequest(stream, err)
		return message, false
	}
	_ = stream.SetReadDeadline(time.Time{}) // a stream that is gone fails at the next use
	return message, true
}

// refuseRequest ends a stream that did not say what it is for. Streams that die
// before their first byte are no one's fault.
func (s *Session) refuseRequest(stream transport.Stream, err error) {
	if errors.Is(err, io.EOF) {
		_ = stream.Close() // nothing was asked for
		return
	}
	s.Log.Debug("stream refused", "error", err)
	if e, ok := errors.AsType[*transport.StreamError](err); ok && e.Remote {
		err = moq.ErrCancelled
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		err = moq.ErrTimeout
	}
	s.Refuse(stream, err)
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

// admitRequest counts a subscription, a fetch or a request for info, and
// refuses it if there are too many. Whoever is admitted calls DoneRequest.
func (s *Session) admitRequest(stream transport.Stream) bool {
	if s.AdmitRequest() {
		return true
	}
	s.Log.Debug("stream refused", "error", fmt.Errorf("more than %d subscriptions", s.Config.Limits.Subscriptions))
	s.Refuse(stream, moq.ErrOverloaded)
	return false
}
