package moqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// serveFetch sends the frames of one group, from the cache or, through it, from
// the publisher. The asker may finish its side of the stream right behind the
// question; a reset of it, and a stop of ours, give the group up.
func (s *Session) serveFetch(stream transport.Stream, r *base.Reader) {
	ask, ok := base.Request(s.Base, stream, r, s.version.ConsumeFetch)
	if !ok || !s.AdmitRequest(stream) {
		return
	}
	defer s.DoneRequest()
	ctx, cancel := context.WithCancelCause(s.Conn.Context())
	defer cancel(nil)
	stop := func(error) { cancel(moq.ErrCancelled) }
	if !s.onStop(ctx, stream, stop) || !s.Spawn(func() { s.awaitReset(r, stop) }) {
		return
	}
	group, err := s.group(ctx, ask)
	if err != nil {
		s.Refuse(stream, err)
		return
	}
	defer group.Close()
	defer stream.CancelRead(s.Codes.Stream(moq.ErrCancelled))
	if err := s.sendFrames(ctx, stream, group, ask); err != nil {
		stream.CancelWrite(s.Codes.Stream(err))
		return
	}
	_ = stream.Close() // whoever has stopped reading does not mind
}

// awaitReset calls stop when the asker resets its side of the stream.
func (s *Session) awaitReset(r *base.Reader, stop func(error)) {
	if err := s.AwaitLeave(r); !errors.Is(err, io.EOF) {
		stop(err) // or serveFetch is done, which then does not matter
	}
}

// group returns a reader of a group, from the cache if it is there.
func (s *Session) group(ctx context.Context, ask wire.Fetch) (*moq.GroupReader, error) {
	path, err := s.pathOf(ask.Path, ask.Track)
	switch {
	case err != nil:
		return nil, err
	case ask.FrameEnd != nil && *ask.FrameEnd < ask.FrameStart:
		return nil, errInverted
	case s.Config.Out == nil:
		return nil, moq.ErrNotFound
	}
	return s.Config.Out.Group(ctx, path, ask.Group, moq.Priority(ask.Priority), s.mayServe(path), func(cached bool) {
		result := metrics.CacheMiss
		if cached {
			result = metrics.CacheHit
		}
		s.Config.Metrics.CacheRequested(result)
	})
}

// sendFrames sends the frames that are asked for. The timestamp of the first one
// stands whole, that of each further one as its distance to the one before.
func (s *Session) sendFrames(ctx context.Context, stream transport.Stream, group *moq.GroupReader, ask wire.Fetch) error {
	var index uint64 // of the frame that comes, or is coming
	for {
		chunk, err := group.Next(ctx)
		switch {
		case errors.Is(err, io.EOF) && ask.FrameStart > 0 && index <= ask.FrameStart:
			return moq.ErrTooOld // nothing in the answer could say that it starts elsewhere
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if index >= ask.FrameStart {
			b := s.fetched(chunk, index == ask.FrameStart)
			if _, err := stream.Write(b); err != nil {
				return err
			}
			s.Traffic.EgressBytes.Add(float64(len(b)))
		}
		if !chunk.End() {
			continue
		}
		if ask.FrameEnd != nil && index >= *ask.FrameEnd {
			return nil
		}
		index++
	}
}

// fetched are the bytes of a chunk in the answer.
func (s *Session) fetched(chunk moq.Chunk, isFirstFrame bool) []byte {
	if !chunk.Start() || !isFirstFrame {
		return chunk.Stamped()
	}
	header := wire.FrameHeader{Delta: int64(chunk.Timestamp()), Size: chunk.Size()}
	return append(header.Append(nil, s.version), chunk.Payload()...)
}

// fetchKey names a group of a track.
type fetchKey struct {
	path  moq.Path
	group uint64
}

// fetch is a group that was asked for by itself, shared by all who ask for it
// while it comes and, for as long as the cache keeps groups, later.
type fetch struct {
	track *moq.Track
}

// Fetch asks the peer for a group by itself. It returns at once, with a track
// that has this group alone, and is the same for all who ask.
func (s *Session) Fetch(path moq.Path, sequence uint64, p moq.Priority) (*moq.Track, error) {
	broadcast, name, ok := s.nameOf(path)
	switch {
	case !ok || !s.mayPublish(path):
		return nil, base.NoPath(path, "moq-lite")
	case !s.IsReady() || !s.version.HasFetch():
		return nil, fmt.Errorf("fetch %q: %w", path, moq.ErrNotFound)
	}
	key := fetchKey{path, sequence}
	s.mu.Lock()
	if f, ok := s.fetches[key]; ok {
		s.mu.Unlock()
		return f.track, nil
	}
	if len(s.fetches) >= s.Config.Limits.Subscriptions {
		s.mu.Unlock()
		return nil, moq.ErrOverloaded
	}
	f := &fetch{track: moq.NewTrack(moq.TrackConfig{Path: path, Budget: s.Config.Budget, Limits: s.Config.TrackLimits, Retention: s.Config.Retention})}
	s.fetches[key] = f
	s.mu.Unlock()
	ask := wire.Fetch{Path: broadcast, Track: name, Priority: uint8(p), Group: sequence}
	if !s.Spawn(func() { s.runFetch(key, f, ask) }) {
		s.forget(key, f)
		return nil, moq.ErrGoingAway
	}
	return f.track, nil
}

func (s *Session) forget(key fetchKey, f *fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetches[key] == f { // it may have been forgotten already
		delete(s.fetches, key)
	}
}

// runFetch fetches the group, and keeps it for a while for others who want it.
func (s *Session) runFetch(key fetchKey, f *fetch, ask wire.Fetch) {
	defer s.forget(key, f)
	err := s.receiveFetch(f.track, ask)
	f.track.End(err)
	if err != nil {
		return
	}
	timer := time.NewTimer(s.Config.Retention)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.Conn.Context().Done():
	}
}

func (s *Session) receiveFetch(track *moq.Track, ask wire.Fetch) error {
	ctx, cancel := context.WithTimeoutCause(s.Conn.Context(), base.AnswerTimeout, base.ErrNoAnswer)
	defer cancel()
	stream, err := s.Conn.OpenStream(ctx)
	if err != nil {
		return s.EndOfStream(err)
	}
	defer stream.CancelRead(s.Codes.Stream(moq.ErrCancelled))
	stream.SetPriority(base.ControlUrgency, false)
	_ = stream.SetReadDeadline(time.Now().Add(base.AnswerTimeout)) // a stream that is gone fails below
	if _, err := stream.Write(ask.Append(wire.StreamFetch.Append(nil), s.version)); err != nil {
		return s.EndOfStream(err)
	}
	r := base.NewReader(stream)
	if err := r.Fill(); err != nil && !errors.Is(err, io.EOF) { // the answer begins, or there is none
		stream.CancelWrite(s.Codes.Stream(moq.ErrCancelled))
		return s.EndOfStream(err)
	}
	_ = stream.SetReadDeadline(time.Time{})
	group, err := track.CreateGroup(ask.Group)
	if err != nil {
		return err
	}
	if err := (&incoming{session: s, group: group}).receive(r); err != nil {
		stream.CancelWrite(s.Codes.Stream(moq.ErrCancelled))
		return s.EndOfGroup(err)
	}
	_ = stream.Close() // only now: a FIN behind the question takes it back
	return nil
}

var _ origin.Fetcher = (*Session)(nil)
