package transfork

import (
	"errors"
	"io"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// receiveGroup reads a group into the track of its subscription.
func (s *Session) receiveGroup(stream transport.ReceiveStream) {
	_ = stream.SetReadDeadline(time.Now().Add(base.RequestTimeout)) // a stream that is gone fails below
	r := base.NewReader(stream)
	typ, err := base.Next(r, wire.ConsumeUniStreamType)
	if err == nil && typ != wire.StreamGroup {
		if s.AdmitControl() {
			stream.CancelRead(uint32(wire.CodeDecode))
		}
		return
	}
	var header wire.Group
	if err == nil {
		header, err = base.Next(r, wire.ConsumeGroup)
	}
	if err != nil { // it died before it said anything, or did so too slowly
		stream.CancelRead(uint32(wire.CodeDecode))
		return
	}
	_ = stream.SetReadDeadline(time.Time{})

	s.mu.Lock()
	u := s.receiving[header.ID]
	s.mu.Unlock()
	if u == nil || !u.Begin(stream) {
		stream.CancelRead(uint32(wire.CodeNotFound))
		return
	}
	defer u.Done(stream)
	group, err := u.Track.CreateGroup(header.Sequence)
	if err != nil {
		stream.CancelRead(uint32(codeOfGroup(err)))
		return
	}
	s.Traffic.IngressGroups.Inc()
	err = s.receiveFrames(r, group)
	if err != nil {
		stream.CancelRead(uint32(codeOfGroup(err)))
	}
}

// receiveFrames reads frames until the stream ends. Only a FIN between two
// frames makes the group complete; in all other cases it is aborted, and so are
// its copies downstream.
func (s *Session) receiveFrames(r *base.Reader, group *moq.GroupWriter) error {
	for {
		header, err := base.Next(r, wire.ConsumeFrameHeader)
		if errors.Is(err, io.EOF) {
			return group.Finish()
		}
		if err == nil {
			err = s.receiveFrame(r, group, header.Size)
		}
		if err != nil {
			group.Abort(s.EndOfGroup(err))
			return err
		}
	}
}

// receiveFrame reads the payload of one frame straight into the buffer that
// subscribers share.
func (s *Session) receiveFrame(r *base.Reader, group *moq.GroupWriter, size uint64) error {
	frame, err := group.NewFrame(size)
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

// codeOfGroup returns the code to stop a group with that we do not take. If it
// was its sender who ended it, nothing comes of it.
func codeOfGroup(err error) wire.Code {
	switch {
	case errors.Is(err, moq.ErrOverloaded), errors.Is(err, moq.ErrTooLarge):
		return wire.CodeBounds
	case errors.Is(err, moq.ErrDuplicate):
		return wire.CodeDuplicate
	case errors.Is(err, moq.ErrTooOld):
		return wire.CodeCancel
	default: // the track has ended
		return wire.CodeNotFound
	}
}
