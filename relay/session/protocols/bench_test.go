package protocols

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/sessiontest"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// BenchmarkFanOut sends frames to subscribers on loopback, the clients in the
// same process: compare with itself only, and one protocol with another.
func BenchmarkFanOut(b *testing.B) {
	for _, c := range []struct{ subscribers, frame int }{{1, 41_700}, {50, 41_700}, {50, 16_700}, {50, 200}} {
		for _, protocol := range []string{MoqTransfork, "moq-lite-06", "moq-lite-04"} {
			b.Run(fmt.Sprintf("subscribers=%d/frame=%d/protocol=%s", c.subscribers, c.frame, protocol), func(b *testing.B) {
				benchmarkFanOut(b, Only(protocol), c.subscribers, c.frame)
			})
		}
	}
}

func benchmarkFanOut(b *testing.B, offer Offer, subscribers, size int) {
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	defer func() { cancel(); running.Wait() }()
	endpoint := loopback(b, offer, &tls.Config{Certificates: []tls.Certificate{sessiontest.Cert}})
	out := origin.NewTable()
	path := moq.NewPath("clock", "seconds")
	track := moq.NewTrack(moq.TrackConfig{Path: path})
	track.SetInfo(moq.Info{})
	if _, err := out.Announce(origin.Announcement{Path: path, Source: sessiontest.Local{path: track}}); err != nil {
		b.Fatal(err)
	}
	running.Go(func() {
		for {
			conn, err := endpoint.Accept(ctx)
			if err != nil {
				return
			}
			running.Go(func() { _ = Server(conn, session.Config{Out: out, Node: "relay"}).Run(ctx) })
		}
	})

	var got sync.WaitGroup // readers that have yet to take the frame
	for range subscribers {
		conn, err := transport.Dial(ctx, endpoint.Addr().String(), transport.DialConfig{TLS: &tls.Config{InsecureSkipVerify: true}, Protocols: offer.QUIC()})
		if err != nil {
			b.Fatal(err)
		}
		s := Client(conn, session.Config{Node: "client"})
		running.Go(func() { _ = s.Run(ctx) })
		<-s.Ready()
		sub := subscribed(b, s, path)
		running.Go(func() { readFrames(ctx, sub, got.Done) })
	}
	frame := make([]byte, size)
	b.SetBytes(int64(size * subscribers))
	b.ReportAllocs()
	for b.Loop() {
		got.Add(subscribers)
		g, err := track.AppendGroup()
		if err != nil {
			b.Fatal(err)
		}
		_ = g.WriteFrame(frame)
		_ = g.Finish()
		got.Wait()
	}
}

// subscribed returns a subscription of a track that the other end has answered for.
func subscribed(b *testing.B, s session.Session, path moq.Path) *moq.Subscription {
	b.Helper()
	track, err := s.Track(path)
	if err != nil {
		b.Fatal(err)
	}
	sub, err := track.Subscribe(moq.SubscribeOptions{Priority: moq.DefaultPriority})
	if err != nil {
		b.Fatal(err)
	}
	<-track.Informed()
	return sub
}

// readFrames takes one frame of each group.
func readFrames(ctx context.Context, sub *moq.Subscription, done func()) {
	defer sub.Close()
	for {
		group, err := sub.Next(ctx)
		if err != nil {
			return
		}
		_, err = group.NextFrame(ctx)
		group.Close()
		if err != nil {
			return
		}
		done()
	}
}

func loopback(b *testing.B, offer Offer, c *tls.Config) *transport.Endpoint {
	b.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	endpoint, err := transport.Listen(pc, transport.ServerConfig{TLS: c, Protocols: offer.QUIC()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = endpoint.Close(); _ = pc.Close() })
	return endpoint
}
