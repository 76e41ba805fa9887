package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// speaker is a protocol on a transport.
type speaker struct {
	protocol     string
	webTransport bool
}

func (s speaker) String() string {
	if s.webTransport {
		return s.protocol + " over WebTransport"
	}
	return s.protocol
}

// config is how a client dials that speaks so.
func (s speaker) config() transport.DialConfig {
	offer := protocols.Only(s.protocol)
	if !s.webTransport {
		return transport.DialConfig{Protocols: offer.QUIC()}
	}
	return transport.DialConfig{WebTransport: true, WebTransportProtocols: offer.Subprotocols()}
}

func (s speaker) hasTimestamps() bool {
	return s.protocol == "moq-lite-05" || s.protocol == "moq-lite-06"
}

func speakers() []speaker {
	var all []speaker
	for _, name := range protocols.Names() {
		all = append(all, speaker{name, false}, speaker{name, true})
	}
	return all
}

// TestPairs walks every ordered pair of protocols and transports: what one
// publishes the other hears of and watches, byte for byte, until it ends well or
// badly.
func TestPairs(t *testing.T) {
	for _, from := range speakers() {
		for _, to := range speakers() {
			t.Run(fmt.Sprintf("%v to %v", from, to), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { playPair(t, from, to) })
			})
		}
	}
}

// frames are the payloads of the groups that a pair exchanges.
var frames = [][]string{
	{"key 0", "delta", ""},
	{strings.Repeat("large ", 20_000)},
	{"key 2", "\x00\x01\x02"},
}

func playPair(t *testing.T, from, to speaker) {
	n := relaytest.NewNetwork(t, 5*time.Millisecond)
	node := n.Start("relay", nil)
	publisher := n.DialSpeaking("publisher", node, from.config())
	watcher := n.DialSpeaking("watcher", node, to.config())
	play(t, publisher, watcher, func() { n.Vanish("publisher") }, from, to)
}

// play has one client publish and the other watch. vanish ends the connection of
// the publisher without a word.
func play(t *testing.T, publisher, watcher *relaytest.Client, vanish func(), from, to speaker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	path := []string{"demo", "cam", "video"}

	track := publisher.Publish(path...)
	track.SetInfo(moq.Info{Priority: 7, Timescale: 90_000, MaxAge: 20 * time.Second})
	wantAnnounced(t, watcher, true)
	sub, err := watcher.Subscribe(path...)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	time.Sleep(50 * time.Millisecond) // until the publisher has heard of it
	for i, group := range frames {
		publishGroup(t, track, group, uint64(i)*90_000)
		wantGroup(ctx, t, sub, uint64(i), group, func(frame int, timestamp uint64) {
			want := uint64(i)*90_000 + uint64(frame)*3000
			switch {
			case !to.hasTimestamps():
			case from.hasTimestamps() && timestamp != want:
				t.Errorf("group %d: frame %d is stamped %d, want %d", i, frame, timestamp, want)
			case !from.hasTimestamps() && (timestamp < uint64(start.UnixMilli()) || timestamp > uint64(time.Now().UnixMilli())):
				t.Errorf("group %d: frame %d is stamped %d, want the time of its arrival", i, frame, timestamp)
			}
		})
	}
	wantInfo(ctx, t, watcher, from, to)
	if to.hasTimestamps() {
		wantFetched(ctx, t, watcher, path)
	}

	track.Unpublish()
	if _, err := sub.Next(ctx); !errors.Is(err, moq.ErrEnded) {
		t.Errorf("the track ended well, and the watcher hears: %v", err)
	}
	sub.Close()
	wantAnnounced(t, watcher, false)

	track = publisher.Publish(path...)
	wantAnnounced(t, watcher, true)
	if sub, err = watcher.Subscribe(path...); err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	time.Sleep(50 * time.Millisecond)
	publishGroup(t, track, []string{"again"}, 0)
	wantGroup(ctx, t, sub, 0, []string{"again"}, func(int, uint64) {})
	vanish()
	if _, err := sub.Next(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, moq.ErrEnded) {
		t.Errorf("the publisher vanished, and the watcher hears: %v", err)
	}
	wantAnnounced(t, watcher, false)
}

func publishGroup(t *testing.T, track *relaytest.Publisher, payloads []string, timestamp uint64) {
	t.Helper()
	g, err := track.AppendGroup()
	if err != nil {
		t.Fatal(err)
	}
	for i, payload := range payloads {
		if err := g.WriteFrameAt([]byte(payload), timestamp+uint64(i)*3000); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Finish(); err != nil {
		t.Fatal(err)
	}
}

func wantGroup(ctx context.Context, t *testing.T, sub *moq.Subscription, sequence uint64, payloads []string, stamped func(frame int, timestamp uint64)) {
	t.Helper()
	group, err := sub.Next(ctx)
	if err != nil {
		t.Fatalf("group %d: %v", sequence, err)
	}
	defer group.Close()
	if group.Sequence() != sequence {
		t.Errorf("group %d comes, want %d", group.Sequence(), sequence)
	}
	var got []string
	for {
		chunk, err := group.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("group %d: %v", sequence, err)
		}
		if chunk.Start() {
			stamped(len(got), chunk.Timestamp())
			got = append(got, "")
		}
		got[len(got)-1] += string(chunk.Payload())
	}
	if len(got) != len(payloads) {
		t.Fatalf("group %d has %d frames, want %d", sequence, len(got), len(payloads))
	}
	for i := range got {
		if got[i] != payloads[i] {
			t.Errorf("group %d: frame %d has %d bytes, want %d as published", sequence, i, len(got[i]), len(payloads[i]))
		}
	}
}

// wantAnnounced waits until the broadcast is announced, or is not.
func wantAnnounced(t *testing.T, watcher *relaytest.Client, want bool) {
	t.Helper()
	for range 400 {
		_, asTrack := watcher.In.Route(moq.NewPath("demo", "cam", "video"), nil)
		_, asBroadcast := watcher.In.Route(moq.NewPath("demo", "cam"), nil) // as MoqTransfork tells a broadcast
		if (asTrack || asBroadcast) == want {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("announced: %t, want %t", !want, want)
}

// wantInfo holds what a watcher knows of the track beside its frames.
func wantInfo(ctx context.Context, t *testing.T, watcher *relaytest.Client, from, to speaker) {
	t.Helper()
	track, err := watcher.Track("demo", "cam", "video")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-track.Informed():
	case <-ctx.Done():
		t.Fatal("the track is never informed")
	}
	info := track.Info()
	switch {
	case !to.hasTimestamps():
	case from.hasTimestamps() && (info.Timescale != 90_000 || info.Priority != 7 || info.MaxAge != 20*time.Second):
		t.Errorf("info %+v, want that of the publisher", info)
	case !from.hasTimestamps() && info.Timescale != moq.ArrivalTimescale:
		t.Errorf("timescale %d, want %d", info.Timescale, moq.ArrivalTimescale)
	}
}

// wantFetched fetches a group that the relay has.
func wantFetched(ctx context.Context, t *testing.T, watcher *relaytest.Client, path []string) {
	t.Helper()
	track, err := watcher.Fetch(1, path...)
	if err != nil {
		t.Fatal(err)
	}
	first := uint64(1)
	sub, err := track.Subscribe(moq.SubscribeOptions{Start: &first, End: &first})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	wantGroup(ctx, t, sub, 1, frames[1], func(int, uint64) {})
}
