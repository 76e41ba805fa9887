package moqlite

import (
	"errors"
	"io"
	"math"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// acceptUni receives the peer's unidirectional streams until the connection
// ends.
func (s *Session) acceptUni() {
	ctx := s.Conn.Context()
	for {
		stream, err := s.Conn.AcceptUniStream(ctx)
		if err != nil {
			return
		}
		if !s.Spawn(func() { s.receiveUni(stream) }) {
			return
		}
	}
}

// receiveUni reads what a stream is for and takes it.
func (s *Session) receiveUni(stream transport.ReceiveStream) {
	_ = stream.SetReadDeadline(time.Now().Add(base.RequestTimeout)) // a stream that is gone fails below
	r := base.NewReader(stream)
	typ, err := base.Next(r, wire.ConsumeUniStreamType)
	switch {
	case err != nil: // it died before it said anything, or did so too slowly
		stream.CancelRead(s.Codes.Stream(moq.ErrMalformed))
	case typ == wire.StreamGroup:
		s.receiveGroup(stream, r)
	case typ == wire.StreamSetup && s.version.HasSetup():
		s.takeSetup(stream, r)
	case s.AdmitControl():
		stream.CancelRead(s.Codes.Stream(errUnknownStream))
	}
}

// receiveGroup reads a group into the track of its subscription.
func (s *Session) receiveGroup(stream transport.ReceiveStream, r *base.Reader) {
	header, err := base.Next(r, s.version.ConsumeGroup)
	if err != nil {
		stream.CancelRead(s.Codes.Stream(moq.ErrMalformed))
		return
	}
	_ = stream.SetReadDeadline(time.Time{})

	s.mu.Lock()
	u := s.receiving[header.ID]
	s.mu.Unlock()
	if u == nil || !u.Begin(stream) {
		stream.CancelRead(s.Codes.Stream(moq.ErrCancelled)) // it happens after an unsubscribe
		return
	}
	defer u.Done(stream)
	defer u.Look() // it may have been the last one
	u.came(header.Sequence)
	if header.FrameStart > 0 { // never asked for
		stream.CancelRead(s.Codes.Stream(moq.ErrNotSupported))
		u.Track.Drop(header.Sequence, header.Sequence, moq.UpstreamReset)
		return
	}
	group, err := u.Track.CreateGroup(header.Sequence)
	if err != nil {
		stream.CancelRead(s.Codes.Stream(err))
		return
	}
	s.Traffic.IngressGroups.Inc()
	if err := s.receiveFrames(r, group); err != nil {
		stream.CancelRead(s.Codes.Stream(err))
	}
}

// receiveFrames reads frames until the stream ends. Only a FIN between two
// frames makes the group complete; in all other cases it is aborted, and so are
// its copies downstream.
func (s *Session) receiveFrames(r *base.Reader, group *moq.GroupWriter) error {
	var timestamp int64
	for {
		header, err := base.Next(r, s.version.ConsumeFrameHeader)
		if errors.Is(err, io.EOF) {
			return group.Finish()
		}
		if err == nil {
			timestamp += header.Delta
			err = s.receiveFrame(r, group, header.Size, timestamp)
		}
		if err != nil {
			group.Abort(s.EndOfGroup(err))
			return err
		}
	}
}

// receiveFrame reads the payload of one frame straight into the buffer that
// subscribers share.
func (s *Session) receiveFrame(r *base.Reader, group *moq.GroupWriter, size uint64, timestamp int64) error {
	frame, err := s.newFrame(group, size, timestamp)
	if err != nil {
		return err
	}
	n, err := frame.ReadFrom(r)
	s.Traffic.IngressBytes.Add(float64(n))
	if err != nil {
		return err
	}
	s.Traffic.IngressFrames.Inc()
	return nil
}

func (s *Session) newFrame(group *moq.GroupWriter, size uint64, timestamp int64) (*moq.FrameWriter, error) {
	if !s.version.HasTimestamps() {
		return group.NewFrame(size)
	}
	if timestamp < 0 {
		return group.NewFrameAt(size, math.MaxUint64) // it says what is wrong with it
	}
	return group.NewFrameAt(size, uint64(timestamp))
}
