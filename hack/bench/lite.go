package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// lite is moq-lite, from the version on that a token settles.
type lite struct{ wire.Version }

// broadcast and track are the two parts that moq-lite has of the track's path.
func (lite) names() (broadcast []string, track string) {
	last := len(trackPath) - 1
	return trackPath[:last], trackPath[last]
}

func (l lite) token() string { return l.Token() }

func (l lite) greet(ctx context.Context, c *client) error {
	if !l.HasSetup() {
		return nil
	}
	stream, err := c.conn.OpenUniStream()
	if err != nil {
		return err
	}
	setup := wire.Setup{Hop: uint64(origin.NewHop())}
	_, err = stream.Write(setup.Append(wire.StreamSetup.Append(nil)))
	_ = stream.Close() // the relay may have stopped it: it has read what it wants
	return err
}

func (l lite) subscribe(ctx context.Context, c *client) (transport.Stream, error) {
	broadcast, track := l.names()
	ask := wire.Subscribe{Path: broadcast, Track: track, MaxAge: wire.NoMaxAge}
	stream, m, err := c.open(ctx, ask.Append(wire.StreamSubscribe.Append(nil), l.Version))
	if err != nil {
		return nil, err
	}
	_, err = next(m, l.ConsumeSubscribeReply)
	return stream, err
}

func (l lite) answer(p *publisher, stream transport.Stream) error {
	m := &messages{stream: stream}
	typ, err := next(m, wire.ConsumeStreamType)
	if err != nil {
		return err
	}
	switch typ {
	case wire.StreamAnnounce:
		return l.announce(stream, m)
	case wire.StreamTrack:
		if _, err := next(m, wire.ConsumeTrack); err != nil {
			return err
		}
		info := wire.TrackInfo{MaxAge: 10_000, Timescale: ticks}
		_, err := stream.Write(info.Append(nil, l.Version))
		_ = stream.Close() // as above
		return err
	case wire.StreamSubscribe:
		return l.subscribed(p, stream, m)
	case wire.StreamGoaway:
		return nil // the round is over
	default:
		return fmt.Errorf("stream of type %d", typ)
	}
}

func (l lite) announce(stream transport.Stream, m *messages) error {
	ask, err := next(m, l.ConsumeAnnounceRequest)
	if err != nil {
		return err
	}
	broadcast, _ := l.names()
	prefix := slices.DeleteFunc(ask.Prefix, func(part string) bool { return part == "" })
	if len(prefix) > len(broadcast) || !slices.Equal(prefix, broadcast[:len(prefix)]) {
		return fmt.Errorf("nothing under %s", strings.Join(prefix, "/"))
	}
	var b []byte
	if l.HasSetup() {
		b = wire.AnnounceOK{Active: 1}.Append(b)
	}
	a := wire.Announce{Kind: wire.AnnounceStart, Suffix: broadcast[len(prefix):]}
	if !l.HasSetup() {
		a.Hops = []uint64{uint64(origin.NewHop())} // its own
	}
	_, err = stream.Write(a.Append(b, l.Version))
	return err
}

func (l lite) subscribed(p *publisher, stream transport.Stream, m *messages) error {
	ask, err := next(m, l.ConsumeSubscribe)
	if err != nil {
		return err
	}
	if broadcast, track := l.names(); !slices.Equal(ask.Path, broadcast) || ask.Track != track {
		return errors.New("no such track")
	}
	return p.subscribed(ask.ID, func(latest uint64) error {
		_, err := stream.Write(wire.SubscribeReply{Type: wire.ReplyOK, Group: latest + 1}.Append(nil, l.Version))
		return err
	}, func() error {
		_, err := next(m, l.ConsumeSubscribeUpdate)
		return err
	})
}

func (l lite) appendGroup(b []byte, id, sequence uint64) []byte {
	return wire.Group{ID: id, Sequence: sequence}.Append(wire.StreamGroup.Append(b), l.Version)
}

func (l lite) appendFrame(b []byte, f frame) []byte {
	return wire.FrameHeader{Delta: f.delta, Size: uint64(f.size)}.Append(b, l.Version)
}

func (l lite) readGroup(r *groupReader) (uint64, error) {
	typ, err := consume(r, wire.ConsumeUniStreamType)
	if err != nil {
		return 0, err
	}
	if typ != wire.StreamGroup {
		_, _ = io.Copy(io.Discard, r.stream) // what the relay says of itself
		return 0, errNoGroup
	}
	group, err := consume(r, l.ConsumeGroup)
	return group.Sequence, err
}

func (l lite) readFrame(r *groupReader) (int, error) {
	header, err := consume(r, l.ConsumeFrameHeader)
	return int(header.Size), err
}
