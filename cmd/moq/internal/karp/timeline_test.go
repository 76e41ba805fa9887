package karp

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
)

func TestTimeline(t *testing.T) {
	type place struct {
		decode   uint64
		offset   int32
		duration uint32
	}
	video := func(reorder int) Track {
		return Track{Format: fmp4.Format{Reorder: reorder}, MP4: fmp4.Track{Kind: fmp4.Video, Timescale: 3000}}
	}
	const frame = 33_333 // microseconds; 100 ticks
	tests := map[string]struct {
		reason string
		track  Track
		micros []uint64
		want   []place
	}{
		"NoReorder": {
			reason: "Without B-frames the times are what was published.",
			track:  video(0),
			micros: []uint64{0, frame, 2 * frame, 4 * frame},
			want:   []place{{0, 0, 100}, {100, 0, 100}, {200, 0, 100}, {400, 0, 200}},
		},
		"Audio": {
			reason: "A frame of AAC has 1024 samples.",
			track:  Track{Format: fmp4.Format{SampleRate: 44100}, MP4: fmp4.Track{Kind: fmp4.Audio, Timescale: 44100}},
			micros: []uint64{23_219, 46_439},
			want:   []place{{1024, 0, 1024}, {2048, 0, 1024}},
		},
		"OneB": {
			reason: "I P B P B from 0: the second decode time is squeezed in, then they are a frame behind.",
			track:  video(1),
			micros: []uint64{0, 2 * frame, 1 * frame, 4 * frame, 3 * frame},
			want:   []place{{0, 0, 100}, {1, 199, 1}, {100, 0, 99}, {200, 200, 100}, {300, 0, 100}},
		},
		"Pyramid": {
			reason: "I P B b b P, joined late.",
			track:  video(2),
			micros: []uint64{30 * frame, 34 * frame, 32 * frame, 31 * frame, 33 * frame, 38 * frame},
			want:   []place{{2800, 200, 100}, {2900, 500, 100}, {3000, 200, 100}, {3100, 0, 100}, {3200, 100, 100}, {3300, 500, 100}},
		},
		"Gap": {
			reason: "After a loss decode times still rise and no picture is shown before it is decoded.",
			track:  video(1),
			micros: []uint64{0, 2 * frame, 1 * frame, 60 * frame, 62 * frame, 61 * frame},
			want:   []place{{0, 0, 100}, {1, 199, 1}, {100, 0, 99}, {200, 5800, 100}, {6000, 200, 5800}, {6100, 0, 100}},
		},
		"Backwards": {
			reason: "A publisher whose times fall is followed as far as decode times allow.",
			track:  video(0),
			micros: []uint64{10 * frame, 2 * frame, 3 * frame},
			want:   []place{{1000, 0, 100}, {1001, 0, 1}, {1002, 0, 1}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			timeline := NewTimeline(tt.track)
			var got []place
			for _, micros := range tt.micros {
				decode, offset, duration := timeline.Place(micros)
				got = append(got, place{decode, offset, duration})
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(place{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}
