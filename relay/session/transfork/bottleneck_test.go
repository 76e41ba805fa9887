package transfork

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// bottleneck is a link of limited rate with a queue of limited length, which
// drops what does not fit.
func bottleneck(bitsPerSecond float64, queue time.Duration) simnet.NodeBiDiLinkSettings {
	const never = 1e6 * time.Hour
	var mu sync.Mutex
	var free time.Time
	return simnet.NodeBiDiLinkSettings{LatencyFunc: func(p simnet.Packet) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		if free.Sub(now) > queue {
			return never
		}
		free = free.Add(time.Duration(float64(8*len(p.Data)) / bitsPerSecond * float64(time.Second)))
		return free.Sub(now) + latency
	}}
}

// TestHalfTheBandwidth: when video needs twice what a subscriber can take, every
// frame of audio and the newest group of the video are on time still. Without
// priorities both are twice as late, and the video ever later.
func TestHalfTheBandwidth(t *testing.T) {
	const (
		duration   = 15 * time.Second
		rate       = 2e6
		videoFrame = 16_700 // 4 Mb/s at 30 frames per second
		audioFrame = 200    // at 50 per second, a group each
	)
	bubble(t, nil, func(w *world) {
		video, audio := w.Publish("video"), w.Publish("audio")
		pc := w.SocketBehind(&net.UDPAddr{IP: net.IPv4(1, 0, 2, 1).To4(), Port: 4000}, bottleneck(rate, 100*time.Millisecond))
		p := w.peer(w.Dial(func(c *transport.DialConfig) { c.PacketConn = pc }))
		p.shake()
		p.Accept(interestHex)
		p.OpenStream("02 00 01 05 617564696f 81 01 00 00 00").Want("81 01 00 00") // audio, priority 1
		p.OpenStream("02 01 01 05 766964656f 82 01 00 00 00").Want("82 01 00 00") // video, priority 2

		var mu sync.Mutex
		var audioAges []time.Duration
		var newest time.Time // when the newest video frame that has arrived was published
		var readers sync.WaitGroup
		readers.Go(func() {
			for {
				str, err := p.Conn.AcceptUniStream(p.Conn.Context())
				if err != nil {
					return
				}
				readers.Go(func() {
					r := base.NewReader(str)
					if _, err := base.Next(r, wire.ConsumeUniStreamType); err != nil {
						return
					}
					g, err := base.Next(r, wire.ConsumeGroup)
					for err == nil {
						var h wire.FrameHeader
						if h, err = base.Next(r, wire.ConsumeFrameHeader); err != nil {
							return
						}
						frame := make([]byte, h.Size)
						if _, err = io.ReadFull(r, frame); err != nil {
							return
						}
						sent := time.Unix(0, int64(binary.BigEndian.Uint64(frame)))
						mu.Lock()
						if g.ID == 0 {
							audioAges = append(audioAges, time.Since(sent))
						} else if sent.After(newest) {
							newest = sent
						}
						mu.Unlock()
					}
				})
			}
		})

		stamped := func(size int) string {
			b := make([]byte, size)
			binary.BigEndian.PutUint64(b, uint64(time.Now().UnixNano()))
			return string(b)
		}
		var staleness []time.Duration
		var group *moq.GroupWriter
		start := time.Now()
		for tick, frames := 0, 0; time.Since(start) < duration; tick++ { // 100 per second
			if tick%2 == 0 {
				w.Group(audio, uint64(tick/2), stamped(audioFrame))
			}
			if time.Since(start) >= time.Duration(frames)*time.Second/30 {
				if frames%30 == 0 {
					if group != nil {
						_ = group.Finish()
					}
					group = w.Open(video, uint64(frames/30))
				}
				if err := group.WriteFrame([]byte(stamped(videoFrame))); err != nil {
					t.Fatal(err)
				}
				frames++
			}
			if tick%10 == 0 && time.Since(start) > 2*time.Second {
				mu.Lock()
				staleness = append(staleness, time.Since(newest))
				mu.Unlock()
			}
			time.Sleep(10 * time.Millisecond)
		}
		_ = p.Conn.CloseWithError(0, "")
		readers.Wait()

		slices.Sort(audioAges)
		slices.Sort(staleness)
		at := func(d []time.Duration, q int) time.Duration { return d[(len(d)-1)*q/100].Round(time.Millisecond) }
		t.Logf("%d audio frames, p50 %v p99 %v; newest video frame p50 %v p90 %v old", len(audioAges), at(audioAges, 50), at(audioAges, 99), at(staleness, 50), at(staleness, 90))
		if n := len(audioAges); n < 700 {
			t.Errorf("%d audio frames of 750 arrived", n)
		}
		if p99 := at(audioAges, 99); p99 > 200*time.Millisecond {
			t.Errorf("audio is %v late at p99", p99)
		}
		if p90 := at(staleness, 90); p90 > time.Second {
			t.Errorf("the newest video frame is %v old at p90", p90)
		}
	})
}
