package moqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	common "github.com/moqrelay/moqrelay/relay/wire"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// subscriber is how a subscription of the peer looks on the wire.
type subscriber struct {
	version wire.Version
	id      uint64
}

// AppendHeader adds the header of a group.
func (s subscriber) AppendHeader(b []byte, sequence uint64) []byte {
	return wire.Group{ID: s.id, Sequence: sequence}.Append(wire.StreamGroup.Append(b), s.version)
}

// Bytes are a frame's timestamp, where the version has one, length and payload.
func (s subscriber) Bytes(chunk moq.Chunk) []byte {
	if s.version.HasTimestamps() {
		return chunk.Stamped()
	}
	return chunk.Prefixed()
}

// AppendStart adds SUBSCRIBE_OK where it says which group is the first.
func (s subscriber) AppendStart(b []byte, sequence uint64) []byte {
	if !s.version.HasSetup() {
		return b
	}
	return wire.SubscribeReply{Type: wire.ReplyOK, Group: sequence}.Append(b, s.version)
}

// AppendDrop adds SUBSCRIBE_DROP.
func (s subscriber) AppendDrop(b []byte, first, last uint64, code uint32) []byte {
	if !s.version.HasUpdate() {
		return b
	}
	return wire.SubscribeReply{Type: wire.ReplyDrop, First: first, Last: last, Code: wire.Code(code)}.Append(b, s.version)
}

// AppendEnd adds SUBSCRIBE_END, which says that no group from end on will come.
func (s subscriber) AppendEnd(b []byte, end uint64) []byte {
	if !s.version.HasSetup() {
		return b
	}
	return wire.SubscribeReply{Type: wire.ReplyEnd, Group: end}.Append(b, s.version)
}

// TooEarly does not happen: peers know a subscription before they ask for it.
func (subscriber) TooEarly(uint32, bool) bool { return false }

// serveSubscribe serves one subscription of the peer.
func (s *Session) serveSubscribe(stream transport.Stream, r *base.Reader) {
	ask, ok := base.Request(s.Base, stream, r, s.version.ConsumeSubscribe)
	if !ok || !s.AdmitRequest(stream) {
		return
	}
	defer s.DoneRequest()
	d := s.NewDelivery(ask.ID, stream, subscriber{s.version, ask.ID})
	path, err := s.subscribeTo(d, ask)
	if err == nil && !s.Add(d) {
		d.Close()
		err = moq.ErrDuplicate
	}
	if err != nil {
		s.Failed(path, err)
		s.Refuse(stream, err)
		return
	}
	defer s.Remove(d)
	if s.mailbox != nil {
		d.TakeDatagrams(s.mailbox)
	}

	ctx, cancel := context.WithCancelCause(s.Conn.Context())
	defer cancel(nil)
	leave := func(err error) { cancel(&base.LeaveError{Err: err}) }
	updated := make(chan struct{}, 1)
	if !s.Spawn(func() { cancel(s.listen(d, r, updated)) }) || !s.onStop(ctx, stream, leave) {
		return
	}
	defer s.OnDrain(func() { cancel(base.ErrDraining) })()
	err = s.accept(d, stream, ask)
	if err != nil {
		d.Leave(err)
	} else {
		err = s.feed(ctx, d, updated)
		d.Finish(err)
	}
	if !s.IsOrdinary(err) {
		s.Failed(path, err)
	}
}

// subscribeTo has d take hold of the track that is asked for, and returns its
// path.
func (s *Session) subscribeTo(d *base.Delivery, ask wire.Subscribe) (moq.Path, error) {
	path, err := s.pathOf(ask.Path, ask.Track)
	if err != nil {
		return path, err
	}
	wish := wire.SubscribeUpdate{
		Priority: ask.Priority, Ordered: ask.Ordered, MaxAge: ask.MaxAge,
		Start: ask.Start, End: ask.End, FrameStart: ask.FrameStart, FrameEnd: ask.FrameEnd,
	}
	if isInverted(wish) {
		return path, errInverted
	}
	d.Cut(lastFrame(wish))
	return path, d.Subscribe(func() (*moq.Track, error) { return s.lookup(path) }, s.options(wish))
}

// errInverted is why a subscription is refused that ends before it begins.
var errInverted error = &moq.EndError{Reason: moq.Malformed, Detail: "a range that ends before it begins"}

func isInverted(m wire.SubscribeUpdate) bool {
	var start uint64
	if m.Start != nil {
		start = *m.Start
	}
	if m.End == nil || *m.End > start {
		return false
	}
	return *m.End < start || m.FrameEnd != nil && *m.FrameEnd < m.FrameStart
}

// lastFrame is the last frame that is wanted of the last group, nil for all of
// it.
func lastFrame(m wire.SubscribeUpdate) *moq.Location {
	if m.End == nil || m.FrameEnd == nil {
		return nil
	}
	return &moq.Location{Group: *m.End, Frame: *m.FrameEnd}
}

// accept writes SUBSCRIBE_OK up to lite-04, where it goes before all else and
// says nothing. Later versions accept without a word.
func (s *Session) accept(d *base.Delivery, stream transport.Stream, ask wire.Subscribe) error {
	defer d.DoneWriting()
	if s.version.HasSetup() {
		return nil
	}
	ok := wire.SubscribeReply{Type: wire.ReplyOK, Priority: ask.Priority}
	_, err := stream.Write(ok.Append(nil, s.version))
	return err
}

// feed sends groups until the track or the subscription is over. At the last
// group that the subscriber has asked for the subscription waits: that is a cap
// which may be raised.
func (s *Session) feed(ctx context.Context, d *base.Delivery, updated <-chan struct{}) error {
	track := d.Track()
	for {
		err := d.Feed(ctx)
		if !errors.Is(err, moq.ErrEnded) {
			return err
		}
		if track.Err() != nil {
			return err
		}
		select {
		case <-updated:
		case <-track.Ended():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// listen reads what the subscriber sends after SUBSCRIBE, and returns how it
// left: with [io.EOF] for a FIN, which unsubscribes as well as a reset.
func (s *Session) listen(d *base.Delivery, r *base.Reader, updated chan<- struct{}) error {
	for {
		var update wire.SubscribeUpdate
		var err error
		if s.version.HasUpdate() {
			update, err = base.Next(r, s.version.ConsumeSubscribeUpdate)
		} else {
			err = s.AwaitLeave(r)
		}
		if err == nil && isInverted(update) {
			err = fmt.Errorf("%w: %w", common.ErrMalformed, errInverted)
		}
		if err != nil {
			d.StopSenders()
			return &base.LeaveError{Err: err}
		}
		if !s.AdmitControl() {
			return base.ErrClosed
		}
		d.Cut(lastFrame(update))
		d.Update(s.options(update))
		select {
		case updated <- struct{}{}:
		default:
		}
	}
}

// options are what the subscriber wants, in the relay's terms.
//
// Up to lite-05 a client that states nothing writes an age of 0; to be strict
// about that would cut every group as soon as the next one starts. From lite-06
// on it is meant, and the age decides where to start as well.
func (s *Session) options(m wire.SubscribeUpdate) moq.SubscribeOptions {
	o := moq.SubscribeOptions{Priority: moq.Priority(m.Priority), Start: m.Start, End: m.End}
	if m.MaxAge > 0 || s.version.HasCosts() {
		o.MaxAge = toAge(m.MaxAge)
	}
	if m.Ordered {
		o.Order = moq.Ascending
	}
	if !s.version.HasCosts() {
		return o
	}
	o.Recent = true
	if m.FrameStart > 0 {
		// A group whose first frames are not wanted is left out, so that what is
		// wanted begins with the next.
		var next uint64 = 1
		if m.Start != nil {
			next = *m.Start + 1
		}
		o.Start = &next
	}
	return o
}
