package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// transfork is MoqTransfork.
type transfork struct{}

func (transfork) token() string { return protocols.MoqTransfork }

func (transfork) greet(ctx context.Context, c *client) error {
	hello := wire.SessionClient{Versions: []wire.Version{wire.Version02}}
	_, m, err := c.open(ctx, hello.Append(wire.StreamSession.Append(nil)))
	if err != nil {
		return err
	}
	_, err = next(m, wire.ConsumeSessionServer)
	return err
}

func (transfork) subscribe(ctx context.Context, c *client) (transport.Stream, error) {
	ask := wire.Subscribe{Path: trackPath, Order: wire.Descending}
	stream, m, err := c.open(ctx, ask.Append(wire.StreamSubscribe.Append(nil)))
	if err != nil {
		return nil, err
	}
	_, err = next(m, wire.ConsumeInfo)
	return stream, err
}

func (t transfork) answer(p *publisher, stream transport.Stream) error {
	m := &messages{stream: stream}
	typ, err := next(m, wire.ConsumeStreamType)
	if err != nil {
		return err
	}
	switch typ {
	case wire.StreamAnnounce:
		return t.announce(stream, m)
	case wire.StreamSubscribe:
		return t.subscribed(p, stream, m)
	default:
		return fmt.Errorf("stream of type %d", typ)
	}
}

func (transfork) announce(stream transport.Stream, m *messages) error {
	interest, err := next(m, wire.ConsumeAnnounceInterest)
	if err != nil {
		return err
	}
	n := len(interest.Prefix)
	if n <= len(trackPath) && slices.Equal(interest.Prefix, trackPath[:n]) {
		_, err = stream.Write(wire.Announce{Status: wire.Active, Suffix: trackPath[n:]}.Append(nil))
	}
	return err
}

func (transfork) subscribed(p *publisher, stream transport.Stream, m *messages) error {
	ask, err := next(m, wire.ConsumeSubscribe)
	if err != nil {
		return err
	}
	if !slices.Equal(ask.Path, trackPath) {
		return errors.New("no such track")
	}
	return p.subscribed(uint64(ask.ID), func(latest uint64) error {
		info := wire.Info{Priority: ask.Priority, Order: ask.Order, Expires: ask.Expires, Latest: latest}
		if _, err := stream.Write(info.Append(nil)); err != nil {
			return err
		}
		return nil
	}, func() error {
		_, err := next(m, wire.ConsumeSubscribeUpdate)
		return err
	})
}

func (transfork) appendGroup(b []byte, id, sequence uint64) []byte {
	return wire.Group{ID: wire.SubscribeID(id), Sequence: sequence}.Append(wire.StreamGroup.Append(b))
}

func (transfork) appendFrame(b []byte, f frame) []byte {
	return wire.FrameHeader{Size: uint64(f.size)}.Append(b)
}

func (transfork) readGroup(r *groupReader) (uint64, error) {
	if _, err := consume(r, wire.ConsumeUniStreamType); err != nil {
		return 0, err
	}
	group, err := consume(r, wire.ConsumeGroup)
	return group.Sequence, err
}

func (transfork) readFrame(r *groupReader) (int, error) {
	header, err := consume(r, wire.ConsumeFrameHeader)
	return int(header.Size), err
}
