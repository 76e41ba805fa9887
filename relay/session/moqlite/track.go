package moqlite

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// serveTrack answers what does not change about a track, from memory or as soon
// as its publisher has said so. The stream may be finished or reset by the asker
// right behind its question.
func (s *Session) serveTrack(stream transport.Stream, r *base.Reader) {
	ask, ok := base.Request(s.Base, stream, r, wire.ConsumeTrack)
	if !ok || !s.AdmitRequest(stream) {
		return
	}
	defer s.DoneRequest()
	info, err := s.info(ask)
	if err != nil {
		s.Refuse(stream, err)
		return
	}
	if _, err := stream.Write(info.Append(nil, s.version)); err != nil {
		s.Refuse(stream, moq.ErrCancelled)
		return
	}
	_ = stream.Close() // whoever has stopped reading does not mind
	stream.CancelRead(s.Codes.Stream(moq.ErrCancelled))
}

// info waits for what the publisher says of a track.
func (s *Session) info(ask wire.Track) (wire.TrackInfo, error) {
	path, err := s.pathOf(ask.Path, ask.Track)
	if err != nil {
		return wire.TrackInfo{}, err
	}
	track, err := s.lookup(path)
	if err != nil {
		return wire.TrackInfo{}, err
	}
	timer := time.NewTimer(base.AnswerTimeout)
	defer timer.Stop()
	select {
	case <-track.Informed():
	case <-timer.C:
		return wire.TrackInfo{}, base.ErrNoAnswer
	case <-s.Conn.Context().Done():
		return wire.TrackInfo{}, context.Cause(s.Conn.Context())
	}
	if err := track.Err(); err != nil && !errors.Is(err, moq.ErrEnded) {
		return wire.TrackInfo{}, err
	}
	said := track.Info()
	info := wire.TrackInfo{
		Priority: uint8(said.Priority), Ordered: said.Order == moq.Ascending,
		Timescale: said.Timescale, MaxAge: defaultMaxAge,
	}
	if said.MaxAge > 0 {
		info.MaxAge = fromAge(said.MaxAge)
	}
	if info.Timescale == 0 {
		info.Timescale = moq.ArrivalTimescale
	}
	return info, nil
}

// defaultMaxAge, in milliseconds, is told of a track whose publisher has not
// said how long its groups are worth having.
const defaultMaxAge = 5000

// Ages are milliseconds on the wire, where numbers from NoMaxAge on are no limit.
// In the relay that is zero, and no age at all is noAge.

// noAge stands for an age of 0: only the latest group is wanted.
const noAge = moq.Newest

func toAge(millis uint64) time.Duration {
	const most = uint64(math.MaxInt64 / time.Millisecond)
	switch {
	case millis >= wire.NoMaxAge:
		return 0
	case millis == 0:
		return noAge
	default:
		return time.Duration(min(millis, most)) * time.Millisecond
	}
}

func fromAge(d time.Duration) uint64 {
	switch d {
	case 0:
		return wire.NoMaxAge
	case noAge:
		return 0
	default:
		return uint64((d + time.Millisecond - 1) / time.Millisecond)
	}
}

// shorter returns the shorter of two ages.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	if b == 0 {
		return a
	}
	return min(a, b)
}
