package karp

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
)

func clipTracks(t testing.TB) []fmp4.Track {
	t.Helper()
	tracks, err := fmp4.NewReader(bytes.NewReader(clip.MP4)).Tracks()
	if err != nil {
		t.Fatal(err)
	}
	return tracks
}

// The catalog is what moq-karp 0.7.1 writes, with the codec as the string that
// later releases write, and mp4 added.
func TestEncodeCatalog(t *testing.T) {
	tracks, err := FromMP4(clipTracks(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Catalog{Tracks: tracks}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string][]map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, list := range got {
		for _, track := range list {
			entry := track["mp4"].(map[string]any)["sampleEntry"].(string)
			if len(entry) < 40 {
				t.Errorf("sample entry %q", entry)
			}
			delete(track["mp4"].(map[string]any), "sampleEntry")
		}
	}
	want := map[string][]map[string]any{
		"video": {{
			"track": map[string]any{"name": "video1", "priority": 2.0}, "codec": "avc1.4d401f",
			"description": "014d401fffe1001a674d401fa6110280bfe5c044000003000400000300f03c60c84601000668e843044b20",
			"resolution":  map[string]any{"width": 640.0, "height": 360.0},
			"mp4":         map[string]any{"timescale": 15360.0},
		}},
		"audio": {{
			"track": map[string]any{"name": "audio2", "priority": 1.0}, "codec": "mp4a.40.2",
			"sample_rate": 48000.0, "channel_count": 1.0, "bitrate": 48000.0,
			"mp4": map[string]any{"timescale": 48000.0},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("catalog (-want +got):\n%s", diff)
	}
}

func TestCatalogRoundTrip(t *testing.T) {
	in := clipTracks(t)
	in[0].Start, in[1].Delay = 1024, 1500*time.Millisecond
	in = append(in, fmp4.Track{ID: 3, Timescale: 1, Entry: []byte("\x00\x00\x00\x08text")}) // left out
	tracks, err := FromMP4(in)
	if err != nil {
		t.Fatal(err)
	}
	want := Catalog{Tracks: tracks, Start: time.UnixMicro(1730956818000001)}
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeCatalog(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tracks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]fmp4.Track{in[0], in[1]}, []fmp4.Track{got.Tracks[0].MP4, got.Tracks[1].MP4}); diff != "" {
		t.Errorf("MP4 tracks (-want +got):\n%s", diff)
	}
}

// What moq-karp 0.7.1 writes is enough for an MP4 that can be played.
func TestDecodeReferenceCatalog(t *testing.T) {
	const catalog = `{"video":[{"track":{"name":"video1","priority":2},"codec":"avc1.4d401e",
	  "description":"014d401effe0","resolution":{"width":640,"height":360}}],
	 "audio":[{"track":{"name":"audio2","priority":1},"codec":{"aac":{"profile":2}},
	  "sample_rate":44100,"channel_count":2,"bitrate":126997,"future":{"field":1}}]}`
	c, err := DecodeCatalog([]byte(catalog))
	if err != nil {
		t.Fatal(err)
	}
	got := c.Tracks
	for i := range got {
		f, err := got[i].MP4.Format()
		if err != nil {
			t.Fatal(err)
		}
		if f.Codec != got[i].Format.Codec || !bytes.Equal(f.Description, got[i].Format.Description) {
			t.Errorf("the sample entry says %+v, the catalog %+v", f, got[i].Format)
		}
		got[i].MP4.Entry = nil
	}
	want := []Track{{
		Name: "video1", Priority: 125,
		Format: fmp4.Format{
			Codec: "avc1.4d401e", Width: 640, Height: 360,
			Description: []byte{1, 0x4d, 0x40, 0x1e, 0xff, 0xe0}, Reorder: 4,
		},
		MP4: fmp4.Track{ID: 1, Kind: fmp4.Video, Timescale: 1_000_000},
	}, {
		Name: "audio2", Priority: 126,
		Format: fmp4.Format{
			Codec: "mp4a.40.2", SampleRate: 44100, Channels: 2, Bitrate: 126997,
			Description: []byte{0x12, 0x10},
		},
		MP4: fmp4.Track{ID: 2, Kind: fmp4.Audio, Timescale: 44100},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tracks (-want +got):\n%s", diff)
	}
}

func TestCatalogNumbers(t *testing.T) {
	const audio = `{"track":{"name":"NAME"},"codec":"mp4a.40.2","sample_rate":48000,"channel_count":2}`
	var entries []string
	for _, name := range []string{"commentary", "audio2", "audio02", "audio1"} {
		entries = append(entries, strings.Replace(audio, "NAME", name, 1))
	}
	c, err := DecodeCatalog([]byte(`{"audio":[` + strings.Join(entries, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []uint32
	for _, track := range c.Tracks {
		got = append(got, track.MP4.ID)
	}
	if diff := cmp.Diff([]uint32{3, 2, 4, 1}, got); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
}

func TestBadCatalogs(t *testing.T) {
	video := func(s string) string {
		return `{"video":[{"track":{"name":"v"},"codec":"avc1.4d401e","description":"014d401e",` + s + `}]}`
	}
	audio := func(s string) string { return `{"audio":[{"track":{"name":"a"},` + s + `}]}` }
	tests := map[string]string{
		"NotJSON":        "hello",
		"List":           "[]",
		"NoName":         `{"video":[{"codec":"avc1.4d401e","description":"01"}]}`,
		"Resolution":     video(`"resolution":{"width":70000,"height":1}`),
		"NotHex":         `{"video":[{"track":{"name":"v"},"codec":"avc1.4d401e","description":"xyz"}]}`,
		"UnknownCodec":   `{"video":[{"track":{"name":"v"},"codec":"xvid"}]}`,
		"CodecObject":    audio(`"codec":{"mp3":{}},"sample_rate":48000`),
		"CodecNumber":    audio(`"codec":7,"sample_rate":48000`),
		"NoRate":         audio(`"codec":"mp4a.40.2"`),
		"Channels":       audio(`"codec":"mp4a.40.2","sample_rate":48000,"channel_count":-1`),
		"NotBase64":      audio(`"codec":"mp4a.40.2","sample_rate":48000,"mp4":{"timescale":1,"sampleEntry":"?"}`),
		"Timescale":      audio(`"codec":"mp4a.40.2","sample_rate":48000,"mp4":{"sampleEntry":""}`),
		"EmptyEntry":     audio(`"codec":"mp4a.40.2","sample_rate":48000,"mp4":{"timescale":1,"sampleEntry":""}`),
		"NegativeDelay":  audio(`"codec":"mp4a.40.2","sample_rate":48000,"mp4":{"timescale":1,"delayMillis":-1}`),
		"Twice":          `{"audio":[{"track":{"name":"a"},"codec":"mp4a.40.2","sample_rate":1},{"track":{"name":"a"},"codec":"mp4a.40.2","sample_rate":1}]}`,
		"TooManyTracks":  `{"audio":[` + strings.Repeat(`{},`, 70) + `{}]}`,
		"PriorityTooBig": `{"audio":[{"track":{"name":"a","priority":300},"codec":"mp4a.40.2","sample_rate":1}]}`,
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			if tracks, err := DecodeCatalog([]byte(in)); err == nil {
				t.Errorf("accepted as %+v", tracks)
			}
		})
	}
}

func FuzzCatalog(f *testing.F) {
	tracks, err := FromMP4(clipTracks(f))
	if err != nil {
		f.Fatal(err)
	}
	b, err := Catalog{Tracks: tracks}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"audio":[{"track":{"name":"a"},"codec":{"aac":{"profile":2}},"sample_rate":48000}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := DecodeCatalog(in)
		if err != nil {
			return
		}
		for _, track := range c.Tracks {
			timeline := NewTimeline(track)
			for _, micros := range []uint64{0, 1, 1 << 61, 7} {
				timeline.Place(micros)
			}
		}
		b, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeCatalog(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Error(diff)
		}
	})
}
