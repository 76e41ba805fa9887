package fmp4

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
)

func readAll(t testing.TB, in io.Reader) ([]Track, []Sample) {
	t.Helper()
	r := NewReader(in)
	tracks, err := r.Tracks()
	if err != nil {
		t.Fatal(err)
	}
	var samples []Sample
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return tracks, samples
		}
		if err != nil {
			t.Fatal(err)
		}
		samples = append(samples, s)
	}
}

func TestReadClip(t *testing.T) {
	tracks, samples := readAll(t, iotest.OneByteReader(bytes.NewReader(clip.MP4)))

	var formats []Format
	for i, track := range tracks {
		f, err := track.Format()
		if err != nil {
			t.Fatal(err)
		}
		if f.Description == nil {
			t.Errorf("track %d has no description", track.ID)
		}
		f.Description, tracks[i].Entry = nil, nil
		formats = append(formats, f)
	}
	wantTracks := []Track{{ID: 1, Kind: Video, Timescale: 15360}, {ID: 2, Kind: Audio, Timescale: 48000}}
	if diff := cmp.Diff(wantTracks, tracks); diff != "" {
		t.Errorf("tracks (-want +got):\n%s", diff)
	}
	wantFormats := []Format{
		{Codec: "avc1.4d401f", Width: 640, Height: 360},
		{Codec: "mp4a.40.2", SampleRate: 48000, Channels: 1, Bitrate: 48000},
	}
	if diff := cmp.Diff(wantFormats, formats); diff != "" {
		t.Errorf("formats (-want +got):\n%s", diff)
	}

	next := map[uint32]uint64{}
	count, syncs := map[uint32]int{}, map[uint32]int{}
	for _, s := range samples {
		if s.Time != next[s.Track] || s.Offset != 0 || len(s.Data) == 0 {
			t.Fatalf("track %d: sample at %d with offset %d and %d bytes, want time %d", s.Track, s.Time, s.Offset, len(s.Data), next[s.Track])
		}
		next[s.Track] += uint64(s.Duration)
		count[s.Track]++
		if s.Sync {
			syncs[s.Track]++
		}
	}
	if diff := cmp.Diff(map[uint32]int{1: 144, 2: 225}, count); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[uint32]int{1: 6, 2: 225}, syncs); diff != "" {
		t.Errorf("sync samples (-want +got):\n%s", diff)
	}
	// Both tracks end at once, so that a loop has no seam.
	if diff := cmp.Diff(map[uint32]uint64{1: 48 * 15360 / 10, 2: 48 * 48000 / 10}, next); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
}

func TestRoundTrip(t *testing.T) {
	tracks := []Track{
		{ID: 1, Kind: Video, Timescale: 90000, Entry: AVCEntry(320, 180, []byte{1, 77, 64, 31, 255, 224, 0}), Start: 6000, Delay: 1500 * time.Millisecond},
		{ID: 7, Kind: Audio, Timescale: 44100, Entry: AACEntry(2, 44100, 2, 96000)},
		{ID: 9, Timescale: 1000, Entry: appendBox(nil, "stpp", nothing)},
	}
	fragments := [][]Sample{
		{
			{Track: 1, Time: 1 << 40, Offset: 6000, Duration: 3000, Sync: true, Data: []byte("I0")},
			{Track: 1, Time: 1<<40 + 3000, Offset: 9000, Duration: 3001, Data: []byte("P3")},
			{Track: 1, Time: 1<<40 + 6001, Offset: -3000, Duration: 2999, Data: []byte("B1")},
		},
		{{Track: 7, Time: 7, Duration: 1024, Sync: true, Data: []byte("a")}},
		{{Track: 7, Time: 2000, Duration: 1024, Sync: true, Data: []byte{}}}, // an empty sample, and a gap before it
		{{Track: 9, Duration: 1, Sync: true, Data: bytes.Repeat([]byte("x"), 300<<10)}},
	}
	var file bytes.Buffer
	w := NewWriter(&file)
	if err := w.WriteHeader(tracks); err != nil {
		t.Fatal(err)
	}
	var want []Sample
	for _, f := range fragments {
		if err := w.WriteSamples(f...); err != nil {
			t.Fatal(err)
		}
		want = append(want, f...)
	}
	gotTracks, got := readAll(t, &file)
	if diff := cmp.Diff(tracks, gotTracks); diff != "" {
		t.Errorf("tracks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

// testHeader is the movie header of two tracks, of which track 1 has defaults.
func testHeader(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	err := NewWriter(&b).WriteHeader([]Track{
		{ID: 1, Kind: Video, Timescale: 1000, Entry: AVCEntry(16, 16, nil)},
		{ID: 2, Kind: Audio, Timescale: 1000, Entry: AACEntry(2, 48000, 1, 0)},
	})
	if err != nil {
		t.Fatal(err)
	}
	header := b.Bytes()
	i := bytes.Index(header, []byte("trex")) + 4 + 12 // behind version, track and description
	copy(header[i:], u32s(nil, 40, 2, sampleNotSync))
	return header
}

// traf appends a track fragment of version 0 boxes made of 32-bit numbers.
func traf(b []byte, tfhd []uint32, tfdt int, truns ...[]uint32) []byte {
	return appendBox(b, "traf", func(b []byte) []byte {
		b = appendBox(b, "tfhd", func(b []byte) []byte { return u32s(b, tfhd...) })
		if tfdt >= 0 {
			b = appendBox(b, "tfdt", func(b []byte) []byte { return u32s(b, 0, uint32(tfdt)) })
		}
		for _, run := range truns {
			b = appendBox(b, "trun", func(b []byte) []byte { return u32s(b, run...) })
		}
		return b
	})
}

func mdat(b []byte, data string) []byte {
	return appendBox(b, "mdat", func(b []byte) []byte { return append(b, data...) })
}

func TestFragments(t *testing.T) {
	header := testHeader(t)
	type sample struct {
		Track    uint32
		Time     uint64
		Duration uint32
		Sync     bool
		Data     string
	}
	// f gets the offset of an mdat's data that follow the moof.
	moof := func(f func(b []byte, data uint32) []byte) []byte {
		size := len(appendBox(nil, "moof", func(b []byte) []byte { return f(b, 0) }))
		return appendBox(nil, "moof", func(b []byte) []byte { return f(b, uint32(size)+8) })
	}
	tests := map[string]struct {
		reason string
		media  []byte
		want   []sample
	}{
		"Defaults": {
			reason: "What the fragment does not say comes from the movie header; data offsets count from the moof.",
			media: mdat(moof(func(b []byte, data uint32) []byte {
				return traf(b, []uint32{headerBaseIsMoof, 1}, 80, []uint32{runDataOffset | runFirstFlags, 2, data, 0})
			}), "aabb"),
			want: []sample{{1, 80, 40, true, "aa"}, {1, 120, 40, false, "bb"}},
		},
		"OwnDefaults": {
			reason: "A track fragment's defaults beat those of the movie.",
			media: mdat(moof(func(b []byte, data uint32) []byte {
				return traf(b, []uint32{headerBaseIsMoof | headerDescription | headerDuration | headerSize | headerFlags, 1, 1, 10, 1, 0}, 0,
					[]uint32{runDataOffset, 2, data})
			}), "ab"),
			want: []sample{{1, 0, 10, true, "a"}, {1, 10, 10, true, "b"}},
		},
		"NoOffsets": {
			reason: "Without data offsets the data of runs and tracks follow each other.",
			media: mdat(moof(func(b []byte, data uint32) []byte {
				b = traf(b, []uint32{0, 1}, 0, []uint32{runDataOffset | runSize, 1, data, 1}, []uint32{runSize, 1, 2})
				return traf(b, []uint32{0, 2}, 0, []uint32{runSize | runDuration, 1, 5, 3})
			}), "vwwaaa"),
			want: []sample{{1, 0, 40, false, "v"}, {1, 40, 40, false, "ww"}, {2, 0, 5, true, "aaa"}},
		},
		"BaseOffset": {
			reason: "A base offset counts from the start of the file.",
			media: mdat(moof(func(b []byte, data uint32) []byte {
				return traf(b, []uint32{headerBaseOffset, 1, 0, uint32(len(header))}, 0, []uint32{runDataOffset, 1, data})
			}), "aa"),
			want: []sample{{1, 0, 40, false, "aa"}},
		},
		"Interleaved": {
			reason: "Samples come in the order of their data, whatever the order of their tracks.",
			media: mdat(moof(func(b []byte, data uint32) []byte {
				b = traf(b, []uint32{headerBaseIsMoof, 1}, 0, []uint32{runDataOffset, 1, data + 1})
				return traf(b, []uint32{headerBaseIsMoof, 2}, 0, []uint32{runDataOffset | runSize | runDuration, 1, data, 7, 1})
			}), "avv"),
			want: []sample{{2, 0, 7, true, "a"}, {1, 0, 40, false, "vv"}},
		},
		"ImplicitTime": {
			reason: "Without tfdt a fragment goes on where the track's last one ended.",
			media: append(
				mdat(moof(func(b []byte, data uint32) []byte {
					return traf(b, []uint32{headerBaseIsMoof, 1}, 500, []uint32{runDataOffset, 1, data})
				}), "aa"),
				mdat(moof(func(b []byte, data uint32) []byte {
					return traf(b, []uint32{headerBaseIsMoof, 1}, -1, []uint32{runDataOffset, 1, data})
				}), "bb")...),
			want: []sample{{1, 500, 40, false, "aa"}, {1, 540, 40, false, "bb"}},
		},
		"OtherBoxes": {
			reason: "Boxes that are not known are skipped, data may be spread over two mdat, the last may have no size.",
			media: func() []byte {
				b := appendBox(nil, "styp", nothing)
				b = append(b, moof(func(b []byte, data uint32) []byte {
					return traf(b, []uint32{headerBaseIsMoof, 1}, 0,
						[]uint32{runDataOffset, 1, data}, []uint32{runDataOffset, 1, data + 2 + 12 + 8})
				})...)
				b = mdat(b, "aa")
				b = appendBox(b, "free", func(b []byte) []byte { return append(b, "1234"...) })
				return append(b, "\x00\x00\x00\x00mdatbbxxx"...)
			}(),
			want: []sample{{1, 0, 40, false, "aa"}, {1, 40, 40, false, "bb"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, samples := readAll(t, bytes.NewReader(append(bytes.Clone(header), tt.media...)))
			var got []sample
			for _, s := range samples {
				got = append(got, sample{s.Track, s.Time, s.Duration, s.Sync, string(s.Data)})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}
