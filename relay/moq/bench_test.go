package moq

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

// BenchmarkFanOut measures one frame, from the writer to the last reader, for
// readers that wait for it.
func BenchmarkFanOut(b *testing.B) {
	for _, size := range []int{160, 16_700, 41_700} {
		for _, readers := range []int{1, 50, 500} {
			b.Run(fmt.Sprintf("bytes=%d/readers=%d", size, readers), func(b *testing.B) {
				benchmarkFanOut(b, size, readers)
			})
		}
	}
}

func benchmarkFanOut(b *testing.B, size, readers int) {
	const framesPerGroup = 30
	track := newTrack(b, TrackConfig{})
	var running, frame sync.WaitGroup
	for range readers {
		s := subscribe(b, track, SubscribeOptions{})
		running.Go(func() {
			defer s.Close()
			for {
				r, err := s.Next(b.Context())
				if err != nil {
					return
				}
				for {
					c, err := r.Next(b.Context())
					if err != nil {
						break
					}
					if c.End() {
						frame.Done()
					}
				}
				r.Close()
			}
		})
	}
	payload := make([]byte, size)
	var g *GroupWriter
	written := 0
	b.ReportAllocs()
	for b.Loop() {
		if written%framesPerGroup == 0 {
			if g != nil {
				_ = g.Finish()
			}
			g = create(b, track, uint64(written/framesPerGroup))
		}
		written++
		frame.Add(readers)
		if err := g.WriteFrame(payload); err != nil {
			b.Fatal(err)
		}
		frame.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(readers), "ns/frame/reader")
	_ = g.Finish()
	track.End(ErrEnded)
	running.Wait()
}

// BenchmarkAudio measures a group of one small frame, from CreateGroup to the
// last reader's Close.
func BenchmarkAudio(b *testing.B) {
	for _, readers := range []int{1, 50, 500} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			track := newTrack(b, TrackConfig{})
			var running, group sync.WaitGroup
			for range readers {
				s := subscribe(b, track, SubscribeOptions{})
				running.Go(func() {
					defer s.Close()
					for {
						r, err := s.Next(b.Context())
						if err != nil {
							return
						}
						for err == nil {
							_, err = r.Next(b.Context())
						}
						r.Close()
						group.Done()
					}
				})
			}
			payload := make([]byte, 160)
			seq := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				group.Add(readers)
				g := create(b, track, seq)
				seq++
				if err := g.WriteFrame(payload); err != nil {
					b.Fatal(err)
				}
				_ = g.Finish()
				group.Wait()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(readers), "ns/group/reader")
			track.End(ErrEnded)
			running.Wait()
		})
	}
}

// BenchmarkRead measures frames that are there.
func BenchmarkRead(b *testing.B) {
	track := newTrack(b, TrackConfig{})
	g := create(b, track, 0)
	for range 10_000 {
		_ = g.WriteFrame([]byte("frame"))
	}
	r, _ := track.Group(0)
	left := 10_000
	b.ReportAllocs()
	for b.Loop() {
		if left == 0 {
			r.Close()
			r, _ = track.Group(0)
			left = 10_000
		}
		left--
		if _, err := r.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	r.Close()
}

// BenchmarkIngest measures a frame that arrives in packets and has no reader.
func BenchmarkIngest(b *testing.B) {
	const size = 41_700
	track := newTrack(b, TrackConfig{})
	payload := make([]byte, size)
	in := bytes.NewReader(nil)
	var g *GroupWriter
	written := uint64(0)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if written%30 == 0 {
			if g != nil {
				_ = g.Finish()
			}
			g = create(b, track, written/30)
		}
		written++
		in.Reset(payload)
		f, err := g.NewFrame(size)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.ReadFrom(&packets{in}); err != nil {
			b.Fatal(err)
		}
	}
	_ = g.Finish()
}
