package transfork

import (
	"context"
	"errors"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

const (
	// answerWait is how long INFO waits for the publisher's word on the newest
	// group. moq-relay 0.6.8 does not wait and says 0.
	answerWait = time.Second
	// updateGap is the silence after which four fields are a whole
	// SUBSCRIBE_UPDATE, as some writers omit one.
	updateGap = 200 * time.Millisecond
)

// subscriber is how a subscription of the peer looks on the wire.
type subscriber struct{ id wire.SubscribeID }

// AppendHeader adds the header of a group.
func (s subscriber) AppendHeader(b []byte, sequence uint64) []byte {
	return wire.Group{ID: s.id, Sequence: sequence}.Append(wire.StreamGroup.Append(b))
}

// Bytes are a frame's length and payload.
func (subscriber) Bytes(chunk moq.Chunk) []byte { return chunk.Prefixed() }

// AppendStart adds nothing: INFO has said what is the newest group.
func (subscriber) AppendStart(b []byte, _ uint64) []byte { return b }

// AppendEnd adds nothing: the FIN is all there is.
func (subscriber) AppendEnd(b []byte, _ uint64) []byte { return b }

// AppendDrop adds GROUP_DROP.
func (subscriber) AppendDrop(b []byte, first, last uint64, code uint32) []byte {
	return wire.GroupDrop{First: first, Extra: last - first, Code: wire.Code(code)}.Append(b)
}

// TooEarly knows that releases from 0.6.14 on use 0 for what they do not know;
// but that is also what a subscriber says who has seen enough, so it counts only
// for the newest group.
func (subscriber) TooEarly(code uint32, newest bool) bool {
	return wire.Code(code) == wire.CodeNotFound || wire.Code(code) == wire.CodeCancel && newest
}

// serveSubscribe serves one subscription of the peer.
func (s *Session) serveSubscribe(stream transport.Stream, r *base.Reader) {
	ask, ok := base.Request(s.Base, stream, r, wire.ConsumeSubscribe)
	if !ok || !s.AdmitRequest(stream) {
		return
	}
	defer s.DoneRequest()
	path := pathOf(ask.Path)
	d := s.NewDelivery(uint64(ask.ID), stream, subscriber{ask.ID})
	err := d.Subscribe(func() (*moq.Track, error) { return s.track(path) }, moq.SubscribeOptions{
		Priority: toPriority(ask.Priority),
		Order:    toOrder(ask.Order),
		MaxAge:   toAge(ask.Expires),
		Start:    ask.Min,
		End:      ask.Max,
	})
	if err != nil {
		s.Failed(path, err)
		refuse(stream, codeOf(err))
		return
	}
	if !s.Add(d) {
		d.Close()
		refuse(stream, wire.CodeDuplicate)
		return
	}
	defer s.Remove(d)

	ctx, cancel := context.WithCancelCause(s.Conn.Context())
	defer cancel(nil)
	if !s.Spawn(func() { cancel(s.listen(d, stream, r)) }) {
		return
	}
	defer s.OnDrain(func() { cancel(base.ErrDraining) })()
	if err = s.answer(ctx, d, stream, ask); err != nil {
		d.Leave(err)
	} else {
		err = d.Feed(ctx)
		d.Finish(err)
	}
	if !s.IsOrdinary(err) {
		s.Failed(path, err)
	}
}

// answer writes INFO: the asker's own parameters, and the newest group if that
// is known soon.
func (s *Session) answer(ctx context.Context, d *base.Delivery, stream transport.Stream, ask wire.Subscribe) error {
	defer d.DoneWriting()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	track := d.Track()
	timer := time.NewTimer(answerWait)
	defer timer.Stop()
	select {
	case <-track.Ready():
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := track.Err(); err != nil && !errors.Is(err, moq.ErrEnded) {
		return err
	}
	newest, _ := track.Newest()
	info := wire.Info{Priority: ask.Priority, Order: ask.Order, Expires: ask.Expires, Latest: newest}
	if _, err := stream.Write(info.Append(nil)); err != nil {
		return err
	}
	if !s.marked { // moq-relay 0.6.8 refuses groups until it has handled INFO
		d.StartYouth()
	}
	return nil
}

// listen reads what the subscriber sends after SUBSCRIBE, and returns how it
// left: with [io.EOF] for a FIN, which unsubscribes as well as a reset.
func (s *Session) listen(d *base.Delivery, stream transport.Stream, r *base.Reader) error {
	for {
		update, err := nextUpdate(stream, r)
		if err != nil {
			d.StopSenders()
			return &base.LeaveError{Err: err}
		}
		if !s.AdmitControl() {
			return base.ErrClosed
		}
		d.Update(moq.SubscribeOptions{
			Priority: toPriority(update.Priority),
			Order:    toOrder(update.Order),
			MaxAge:   toAge(update.Expires),
			Start:    update.Min,
			End:      update.Max,
		})
	}
}

// nextUpdate reads a SUBSCRIBE_UPDATE. Four fields are one if nothing follows.
func nextUpdate(stream transport.Stream, r *base.Reader) (wire.SubscribeUpdate, error) {
	if len(r.Buffered()) == 0 {
		if err := r.Fill(); err != nil {
			return wire.SubscribeUpdate{}, err
		}
	}
	_ = stream.SetReadDeadline(time.Now().Add(updateGap)) // a stream that is gone fails below
	defer func() { _ = stream.SetReadDeadline(time.Time{}) }()
	update, err := base.Next(r, wire.ConsumeSubscribeUpdate)
	if err == nil || errors.Is(err, wire.ErrMalformed) {
		return update, err
	}
	short, n, shortErr := wire.ConsumeShortSubscribeUpdate(r.Buffered())
	if shortErr != nil || n < len(r.Buffered()) {
		return update, err
	}
	r.Skip(n)
	return short, nil
}
