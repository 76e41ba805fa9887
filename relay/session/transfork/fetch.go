package transfork

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// serveFetch sends a group that is in the cache, from an offset on. What is not
// there is not fetched from elsewhere.
func (s *Session) serveFetch(stream transport.Stream, r *base.Reader) {
	ask, ok := base.Request(s.Base, stream, r, wire.ConsumeFetch)
	if !ok || !s.AdmitRequest(stream) {
		return
	}
	defer s.DoneRequest()
	group, err := s.cached(ask)
	if err != nil {
		s.Config.Metrics.CacheRequested(metrics.CacheMiss)
		refuse(stream, codeOf(err))
		return
	}
	s.Config.Metrics.CacheRequested(metrics.CacheHit)
	defer group.Close()
	stopped := make(chan struct{})
	defer func() { <-stopped }()
	defer stream.CancelRead(uint32(wire.CodeCancel))
	if !s.Spawn(func() { defer close(stopped); s.awaitStop(stream, r, group) }) {
		close(stopped)
		return
	}
	if err := s.sendFrom(stream, group, ask.Offset); err != nil {
		stream.CancelWrite(uint32(codeOf(err)))
		return
	}
	_ = stream.Close() // whoever has stopped reading does not mind
}

// cached returns a reader of the group that is asked for.
func (s *Session) cached(ask wire.Fetch) (*moq.GroupReader, error) {
	track, err := s.track(pathOf(ask.Path))
	if err != nil {
		return nil, err
	}
	group, ok := track.Group(ask.Group)
	if !ok {
		return nil, moq.ErrNotFound
	}
	return group, nil
}

// awaitStop gives up the group when the asker resets its side of the stream. Its
// FIN only says that it has asked.
func (s *Session) awaitStop(stream transport.Stream, r *base.Reader, group *moq.GroupReader) {
	if err := s.AwaitLeave(r); err != nil && !errors.Is(err, io.EOF) {
		if e, ok := errors.AsType[*transport.StreamError](err); ok && !e.Remote {
			return // serveFetch is done
		}
		stream.CancelWrite(uint32(wire.CodeCancel))
		group.Close()
	}
}

// sendFrom sends the bytes of the group's stream after its header, from an
// offset on.
func (s *Session) sendFrom(stream transport.Stream, group *moq.GroupReader, offset uint64) error {
	skip := offset
	for {
		chunk, err := group.Next(s.Conn.Context())
		if errors.Is(err, io.EOF) && skip > 0 {
			return &moq.EndError{Reason: moq.Overloaded, Detail: "offset is behind the end of the group"}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b := chunk.Prefixed()
		n := min(uint64(len(b)), skip)
		skip -= n
		if b = b[n:]; len(b) == 0 {
			continue
		}
		if _, err := stream.Write(b); err != nil {
			return err
		}
		s.Traffic.EgressBytes.Add(float64(len(b)))
	}
}

// serveInfo answers what is known of a track. Unless that is known already, the
// publisher is asked by way of a subscription.
func (s *Session) serveInfo(stream transport.Stream, r *base.Reader) {
	ask, ok := base.Request(s.Base, stream, r, wire.ConsumeInfoRequest)
	if !ok || !s.AdmitRequest(stream) {
		return
	}
	defer s.DoneRequest()
	info, err := s.info(pathOf(ask.Path))
	if err != nil {
		refuse(stream, codeOf(err))
		return
	}
	if _, err := stream.Write(info.Append(nil)); err != nil {
		refuse(stream, wire.CodeCancel)
		return
	}
	_ = stream.Close() // whoever has stopped reading does not mind
	stream.CancelRead(uint32(wire.CodeCancel))
}

// info returns what the publisher has said of a track.
func (s *Session) info(path moq.Path) (wire.Info, error) {
	track, err := s.track(path)
	if err != nil {
		return wire.Info{}, err
	}
	sub, err := track.Subscribe(moq.SubscribeOptions{Priority: moq.DefaultPriority})
	if err != nil {
		return wire.Info{}, err
	}
	defer sub.Close()
	timer := time.NewTimer(answerWait)
	defer timer.Stop()
	select {
	case <-track.Ready():
	case <-timer.C:
	case <-s.Conn.Context().Done():
		return wire.Info{}, context.Cause(s.Conn.Context())
	}
	if err := track.Err(); err != nil && !errors.Is(err, moq.ErrEnded) {
		return wire.Info{}, err
	}
	said := track.Info()
	largest, _ := track.Largest()
	return wire.Info{
		Priority: fromPriority(said.Priority),
		Order:    fromOrder(said.Order),
		Expires:  fromAge(said.MaxAge),
		Latest:   largest.Group,
	}, nil
}
