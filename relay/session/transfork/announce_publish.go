package transfork

import (
	"context"
	"errors"
	"io"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// serveAnnounce tells the peer what is announced below a prefix, for as long as
// it wants to know.
func (s *Session) serveAnnounce(stream transport.Stream, r *base.Reader) {
	interest, ok := base.Request(s.Base, stream, r, wire.ConsumeAnnounceInterest)
	if !ok {
		return
	}
	if !s.AdmitInterest() {
		refuse(stream, wire.CodeBounds)
		return
	}
	defer s.DoneInterest()
	prefix := pathOf(interest.Prefix)
	s.Log.Debug("announcements asked for", "prefix", prefix)
	ctx, cancel := context.WithCancelCause(s.Conn.Context())
	defer cancel(nil)
	if !s.Spawn(func() { cancel(s.AwaitLeave(r)) }) {
		return
	}
	defer s.OnLeave(func() { cancel(base.ErrDraining) })()
	err := s.tell(ctx, stream, prefix)
	if errors.Is(err, io.EOF) && s.IsClient && s.Config.Class != origin.Peer {
		s.peerLeaves() // a relay that does not want to hear of us any more
	}
	if errors.Is(err, io.EOF) || errors.Is(err, base.ErrDraining) {
		_ = stream.Close() // the answer to a FIN, or all that there was
		stream.CancelRead(uint32(wire.CodeCancel))
		return
	}
	refuse(stream, wire.CodeCancel)
}

// tell writes what is announced below prefix, and what changes, until ctx is
// done or the peer does not read it any more.
func (s *Session) tell(ctx context.Context, stream transport.Stream, prefix moq.Path) error {
	if s.Config.Out == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	watch := s.Config.Out.Watch(prefix, s.mayTell)
	defer watch.Close()
	var buf []byte
	shown := make(map[moq.Path]int) // a path may be a track and a broadcast
	for ctx.Err() == nil {
		event, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		path := event.Announcement.Path
		message := wire.Announce{Status: wire.Active}
		switch event.Type {
		case origin.Active:
			if shown[path]++; shown[path] > 1 {
				continue
			}
		case origin.Ended:
			if shown[path]--; shown[path] > 0 {
				continue
			}
			delete(shown, path)
			message.Status = wire.Ended
		case origin.Updated, origin.Live:
			continue // there is no message for it
		}
		suffix, _ := path.TrimPrefix(prefix)
		message.Suffix = suffix.Parts()
		buf = message.Append(buf[:0])
		if _, err := stream.Write(buf); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// mayTell says which announcements the peer is told: not its own. A broadcast of
// another protocol is told by its path, as its tracks are known to nobody.
func (s *Session) mayTell(a origin.Announcement) bool {
	return a.Source != origin.Source(s) && hasWireForm(a.Path) && s.Config.Visible(a)
}
