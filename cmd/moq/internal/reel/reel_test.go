package reel

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
)

func opener(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// The clip holds 0.8 s of video, then 0.8 s of audio, and so on: sorted, a reel
// never goes back.
func TestSorted(t *testing.T) {
	r, err := Open(Config{Open: opener(clip.MP4), Sort: true})
	if err != nil {
		t.Fatal(err)
	}
	count := map[uint32]int{}
	for last := time.Duration(0); ; {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if s.At < last {
			t.Fatalf("track %d goes back from %v to %v", s.Track, last, s.At)
		}
		last = s.At
		count[s.Track]++
	}
	if diff := cmp.Diff(map[uint32]int{1: 144, 2: 225}, count); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

// Ticks go on without a seam over rounds, in each track's own timescale.
func TestLoop(t *testing.T) {
	r, err := Open(Config{Open: opener(clip.MP4), Sort: true, Loop: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	next := map[uint32]uint64{}
	last := time.Duration(0)
	for last < 5*time.Minute {
		s, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if s.Time != next[s.Track] || s.At < last {
			t.Fatalf("track %d: time %d, want %d; at %v after %v", s.Track, s.Time, next[s.Track], s.At, last)
		}
		next[s.Track] += uint64(s.Duration)
		last = s.At
	}
}

func file(t *testing.T, samples ...fmp4.Sample) []byte {
	t.Helper()
	var b bytes.Buffer
	w := fmp4.NewWriter(&b)
	err := w.WriteHeader([]fmp4.Track{
		{ID: 1, Kind: fmp4.Video, Timescale: 1000, Entry: fmp4.AVCEntry(16, 16, nil)},
		{ID: 2, Kind: fmp4.Audio, Timescale: 8000, Entry: fmp4.AACEntry(2, 8000, 1, 0)},
	})
	for _, s := range samples {
		err = errors.Join(err, w.WriteSamples(s))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOrder(t *testing.T) {
	type step struct {
		Track uint32
		Time  uint64
		At    time.Duration
	}
	video := func(at uint64) fmp4.Sample { return fmp4.Sample{Track: 1, Time: at, Duration: 100, Data: []byte("v")} }
	audio := func(at uint64) fmp4.Sample { return fmp4.Sample{Track: 2, Time: at, Duration: 800, Data: []byte("a")} }
	tests := map[string]struct {
		reason  string
		samples []fmp4.Sample
		config  Config
		steps   int
		want    []step
	}{
		"AsRead": {
			reason:  "Without sorting nothing is read ahead.",
			samples: []fmp4.Sample{video(0), video(100), audio(0)},
			want:    []step{{1, 0, 0}, {1, 100, 100e6}, {2, 0, 0}},
		},
		"Sorted": {
			samples: []fmp4.Sample{video(0), video(100), audio(0), audio(800)},
			config:  Config{Sort: true},
			want:    []step{{1, 0, 0}, {2, 0, 0}, {1, 100, 100e6}, {2, 800, 100e6}},
		},
		"OneTrackOnly": {
			reason:  "A track that has nothing is not waited for beyond what is read ahead.",
			samples: []fmp4.Sample{video(0), video(2000), video(4000), video(6000)},
			config:  Config{Sort: true},
			want:    []step{{1, 0, 0}, {1, 2000, 2e9}, {1, 4000, 4e9}, {1, 6000, 6e9}},
		},
		"LateStart": {
			reason:  "A recording that starts late starts at once, and keeps its times; a round is as long as the longest track.",
			samples: []fmp4.Sample{video(5000), video(5100), audio(40000)},
			config:  Config{Sort: true, Loop: true},
			steps:   6,
			want:    []step{{1, 5000, 0}, {2, 40000, 0}, {1, 5100, 100e6}, {1, 5200, 200e6}, {2, 41600, 200e6}, {1, 5300, 300e6}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.config.Open = opener(file(t, tt.samples...))
			r, err := Open(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			var got []step
			for tt.steps == 0 || len(got) < tt.steps {
				s, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, step{s.Track, s.Time, s.At})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	if _, err := Open(Config{Open: opener([]byte("not a movie"))}); !errors.Is(err, fmp4.ErrNotMP4) {
		t.Errorf("error %v", err)
	}
	missing := errors.New("missing")
	if _, err := Open(Config{Open: func() (io.ReadCloser, error) { return nil, missing }}); !errors.Is(err, missing) {
		t.Errorf("error %v", err)
	}
	for name, b := range map[string][]byte{
		"Truncated":  clip.MP4[:5000],
		"NoDuration": file(t, fmp4.Sample{Track: 1, Data: []byte("v")}),
	} {
		r, err := Open(Config{Open: opener(b), Loop: true, Sort: true})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		if errors.Is(err, io.EOF) {
			t.Errorf("%s: no error", name)
		}
	}
	r, err := Open(Config{Open: opener(file(t)), Loop: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("an empty loop: %v", err)
	}
}
