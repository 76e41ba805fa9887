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
	in := &incoming{session: s, mayResume: u.mayResume}
	var resumed bool
	if in.group, in.skip, in.part, in.frame, resumed = u.Track.Resume(header.Sequence); !resumed {
		in.group, err = u.Track.CreateGroup(header.Sequence)
	}
	if err != nil {
		stream.CancelRead(s.Codes.Stream(err))
		return
	}
	s.Traffic.IngressGroups.Inc()
	if err := in.receive(r); err != nil {
		stream.CancelRead(s.Codes.Stream(err))
	}
}

// suspendWait bounds how long a group that was cut off may wait: what waits for it
// downstream keeps a relay from leaving.
const suspendWait = 6 * time.Second

// incoming is a group that is being received. One that another session has left in
// its middle is received from its beginning again, and what is there is skipped.
type incoming struct {
	session   *Session
	group     *moq.GroupWriter
	mayResume func(error) bool // after an error; nil: never

	skip  int              // whole frames that are there
	part  uint64           // bytes that are there of the payload of the frame after those
	frame *moq.FrameWriter // of that frame, nil if it has not begun
}

// receive reads frames until the stream ends. Only a FIN between two frames makes
// the group complete; in all other cases it is aborted, and so are its copies
// downstream, or suspended until its publisher is found again.
func (in *incoming) receive(r *base.Reader) error {
	s := in.session
	var timestamp int64
	for {
		header, err := base.Next(r, s.version.ConsumeFrameHeader)
		if errors.Is(err, io.EOF) {
			return in.group.Finish()
		}
		if err == nil {
			timestamp += header.Delta
			err = in.receiveFrame(r, header.Size, timestamp)
		}
		if err != nil {
			if in.mayResume != nil && in.mayResume(err) {
				in.group.Suspend(suspendWait)
			} else {
				in.group.Abort(s.EndOfGroup(err))
			}
			return err
		}
	}
}

// receiveFrame reads the payload of one frame straight into the buffer that
// subscribers share.
func (in *incoming) receiveFrame(r *base.Reader, size uint64, timestamp int64) error {
	s := in.session
	if in.skip > 0 {
		in.skip--
		return discard(r, size)
	}
	frame := in.frame
	in.frame = nil
	var err error
	if frame == nil {
		frame, err = s.newFrame(in.group, size, timestamp)
	} else {
		err = discard(r, in.part)
	}
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

func discard(r io.Reader, size uint64) error {
	_, err := io.CopyN(io.Discard, r, int64(min(size, math.MaxInt64)))
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// mayResume tells whether a group that broke off with err may be received again
// from elsewhere: its publisher is known, and was lost, or leaves, with the peer.
func (u *upstream) mayResume(err error) bool {
	s := u.session
	switch {
	case !u.mayPark():
		return false
	case u.HasLeft():
		return true
	}
	if e, ok := errors.AsType[*transport.StreamError](err); ok {
		return e.Remote && s.isLost() && errors.Is(s.Codes.Reason(e.Code), moq.ErrGoingAway)
	}
	_, isLost := errors.AsType[*transport.CloseError](err)
	return isLost
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
