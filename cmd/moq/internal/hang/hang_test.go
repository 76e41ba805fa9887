package hang

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/karp"
	"github.com/moqrelay/moqrelay/relay/moq"
)

func clipTracks(t testing.TB) []fmp4.Track {
	t.Helper()
	tracks, err := fmp4.NewReader(bytes.NewReader(clip.MP4)).Tracks()
	if err != nil {
		t.Fatal(err)
	}
	return tracks
}

// The catalog is what other clients read, with mp4 added, which they skip.
func TestEncode(t *testing.T) {
	c, err := FromMP4(clipTracks(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Start = time.Date(2020, 1, 1, 0, 0, 1, 2000, time.UTC)
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, section := range []string{"video", "audio"} {
		for _, r := range got[section].(map[string]any)["renditions"].(map[string]any) {
			delete(r.(map[string]any), "mp4")
		}
	}
	legacy := map[string]any{"kind": "legacy"}
	want := map[string]any{
		"video": map[string]any{"renditions": map[string]any{"video1": map[string]any{
			"codec": "avc1.4d401f", "container": legacy, "codedWidth": 640.0, "codedHeight": 360.0,
			"description": "014d401fffe1001a674d401fa6110280bfe5c044000003000400000300f03c60c84601000668e843044b20",
		}}},
		"audio": map[string]any{"renditions": map[string]any{"audio2": map[string]any{
			"codec": "mp4a.40.2", "container": legacy, "sampleRate": 48000.0, "numberOfChannels": 1.0, "bitrate": 48000.0,
			"description": "118856e500",
		}}},
		"clock": map[string]any{"wall": 1000002.0, "timescale": 1000000.0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("catalog (-want +got):\n%s", diff)
	}
}

var opaque = cmp.AllowUnexported(Track{})

func TestRoundTrip(t *testing.T) {
	in := clipTracks(t)
	in[0].Start, in[1].Delay = 1024, 1500*time.Millisecond
	want, err := FromMP4(in)
	if err != nil {
		t.Fatal(err)
	}
	want.Start = time.Date(2026, 11, 29, 1, 2, 3, 4000, time.UTC)
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, opaque); diff != "" {
		t.Errorf("catalog (-want +got):\n%s", diff)
	}
}

// summary is what matters of a track that somebody else publishes.
type summary struct {
	Name      string
	Container Container
	ID        uint32
	Timescale uint32
	Codec     string
	Priority  moq.Priority
}

func summaries(c Catalog) []summary {
	var all []summary
	for _, t := range c.Tracks {
		all = append(all, summary{t.Name, t.Container, t.MP4.ID, t.MP4.Timescale, t.Format.Codec, t.Priority})
	}
	return all
}

// initOf is the movie header of one track of the clip.
func initOf(t testing.TB, track fmp4.Track) string {
	t.Helper()
	var b bytes.Buffer
	if err := fmp4.NewWriter(&b).WriteHeader([]fmp4.Track{track}); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func TestDecode(t *testing.T) {
	tracks := clipTracks(t)
	const audio = `"codec":"mp4a.40.2","sampleRate":48000,"numberOfChannels":2`
	tests := map[string]struct {
		reason  string
		catalog string
		want    []summary
		whole   bool
		omitted int
	}{
		"FromTS": {
			reason: "moq-cli makes this of MPEG-TS: H.264 has no description, other sections are many.",
			catalog: `{"video":{"renditions":{"0.avc3":{"codec":"avc3.4d401f","codedWidth":640,"codedHeight":360,"bitrate":309925,"container":{"kind":"legacy"}}}},
				"audio":{"renditions":{"1.aac":{` + audio + `,"bitrate":48422,"description":"1190","container":{"kind":"legacy"},"jitter":43}}},
				"archive":{"track":"timeline.z","timescale":1000},"mpegts":{"program":{"pmtPid":4096}}}`,
			want:  []summary{{"0.avc3", Legacy, 1, Timescale, "avc3.4d401f", 60}, {"1.aac", Legacy, 2, 48000, "mp4a.40.2", 80}},
			whole: true,
		},
		"FromMP4": {
			reason: "moq-cli passes MP4 on in fragments, with a movie header for each track.",
			catalog: fmt.Sprintf(`{"video":{"renditions":{"0.m4s":{"codec":"avc1.4d401f","description":"014d401f","container":{"kind":"cmaf","init":%q}}}},
				"audio":{"renditions":{"1.m4s":{%s,"container":{"kind":"cmaf","init":%q}}}}}`, initOf(t, tracks[0]), audio, initOf(t, tracks[1])),
			want:  []summary{{"0.m4s", CMAF, 1, 15360, "avc1.4d401f", 60}, {"1.m4s", CMAF, 2, 48000, "mp4a.40.2", 80}},
			whole: true,
		},
		"Browser": {
			reason: "@moq/publish writes no container where it is legacy, and first one kind alone.",
			catalog: `{"video":{"renditions":{"video/hd":{"codec":"avc1.640028","codedWidth":1280,"codedHeight":720,"optimizeForLatency":true},
				"video/sd":{"codec":"avc1.640028","codedWidth":320,"codedHeight":180,"container":{"kind":"loc"}}},"display":{"width":1280,"height":720}}}`,
			want: []summary{{"video/hd", Legacy, 1, Timescale, "avc1.640028", 60}, {"video/sd", LOC, 2, Timescale, "avc1.640028", 60}},
		},
		"Old": {
			reason: "Catalogs of 2025 have lists.",
			catalog: `{"video":[{"track":{"name":"v"},"config":{"codec":"avc1.4d401f","description":"014d401ffffe"}}],
				"audio":{"track":{"name":"a"},"config":{` + audio + `}}}`,
			want:  []summary{{"v", Legacy, 1, Timescale, "avc1.4d401f", 60}, {"a", Legacy, 2, 48000, "mp4a.40.2", 80}},
			whole: true,
		},
		"Omitted": {
			reason: "What cannot be played does not take the rest with it.",
			catalog: `{"video":{"renditions":{"a":{"codec":"av01.0.08M.08"},"b":{"codec":"avc1.4d401f","container":{"kind":"new"}},
				"c":{"codec":"avc1.4d401f","broadcast":"../other"},"d":{"codec":"avc1.4d401f","description":"xy"},
				"e":{"codec":"avc1.4d401f","codedWidth":70000},"":{"codec":"avc1.4d401f"},"f":{"codec":"avc1.4d401f","container":{"kind":"cmaf"}}}},
				"audio":{"renditions":{"opus":{"codec":"opus","sampleRate":48000,"numberOfChannels":2},"bits":{"codec":"mp4a.40.2","sampleRate":0},"aac":{` + audio + `}}}}`,
			want:    []summary{{"aac", Legacy, 1, 48000, "mp4a.40.2", 80}},
			whole:   true,
			omitted: 9,
		},
		"Empty": {reason: "A publisher may not know yet.", catalog: `{}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if !Describes([]byte(tt.catalog)) {
				t.Error("is taken for one of karp")
			}
			c, err := Decode([]byte(tt.catalog))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, summaries(c)); diff != "" || c.Whole != tt.whole || len(c.Omitted) != tt.omitted {
				t.Errorf("%s whole %v, omitted %q (-want +got):\n%s", tt.reason, c.Whole, c.Omitted, diff)
			}
		})
	}
	for _, bad := range []string{"", "hello", "[]", `{"video":7}`, `{"audio":[]}`} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("catalog %q is accepted", bad)
		}
	}
}

// A catalog of karp is told from one of this layout by what is in it.
func TestDescribes(t *testing.T) {
	c, err := karp.FromMP4(clipTracks(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := karp.Catalog{Tracks: c}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if Describes(b) {
		t.Error("a catalog of karp is taken for one of hang")
	}
	if got := summaries(FromKarp(karp.Catalog{Tracks: c})); len(got) != 2 || got[0].Name != "video1" {
		t.Errorf("tracks of karp: %v", got)
	}
}

// Of several renditions of a kind the one with the most pixels is played.
func TestChoice(t *testing.T) {
	c, err := Decode([]byte(`{"video":{"renditions":{"a":{"codec":"avc1.4d401f","codedWidth":320,"codedHeight":180},
		"b":{"codec":"avc1.4d401f","codedWidth":640,"codedHeight":360}}},
		"audio":{"renditions":{"x":{"codec":"mp4a.40.2","sampleRate":48000,"bitrate":1},"y":{"codec":"mp4a.40.2","sampleRate":48000,"bitrate":2}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, track := range c.Choice().Tracks {
		got = append(got, track.Name)
	}
	if diff := cmp.Diff([]string{"b", "y"}, got); diff != "" {
		t.Errorf("chosen (-want +got):\n%s", diff)
	}
}

// What changes in a catalog comes as a merge patch.
func TestMerge(t *testing.T) {
	got, err := Merge([]byte(`{"video":{"renditions":{"a":{"codec":"x"},"b":{"codec":"y"}}},"n":218148696258050}`),
		[]byte(`{"video":{"renditions":{"a":null,"c":{"codec":"z"}}},"audio":{"k":null,"l":1}}`))
	if want := `{"audio":{"l":1},"n":218148696258050,"video":{"renditions":{"b":{"codec":"y"},"c":{"codec":"z"}}}}`; string(got) != want || err != nil {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	if _, err := Merge([]byte(`{}`), []byte(`{`)); err == nil {
		t.Error("a broken patch is applied")
	}
}

// The samples of each container come out with their times.
func TestUnpack(t *testing.T) {
	tracks := clipTracks(t)
	cmaf, err := Decode(fmt.Appendf(nil, `{"video":{"renditions":{"v":{"codec":"avc1.4d401f","container":{"kind":"cmaf","init":%q}}}}}`, initOf(t, tracks[0])))
	if err != nil {
		t.Fatal(err)
	}
	var fragment bytes.Buffer
	w := fmp4.NewWriter(&fragment)
	if err := w.WriteSamples(
		fmp4.Sample{Track: 1, Time: 15360, Offset: 512, Duration: 512, Sync: true, Data: []byte("one")},
		fmp4.Sample{Track: 1, Time: 15872, Duration: 512, Data: []byte("two")},
	); err != nil {
		t.Fatal(err)
	}
	legacy, loc := Track{Container: Legacy}, Track{Container: LOC}
	tests := map[string]struct {
		track Track
		frame []byte
		want  []Sample
	}{
		"Legacy":     {legacy, karp.AppendFrame(nil, 1234567, []byte("data")), []Sample{{1234567, []byte("data")}}},
		"Marker":     {legacy, karp.AppendFrame(nil, 1234567, nil), nil},
		"CMAF":       {cmaf.Tracks[0], fragment.Bytes(), []Sample{{1033333, []byte("one")}, {1033333, []byte("two")}}},
		"LOC":        {loc, []byte("\x03\x10\x44\xd2data"), []Sample{{1234, []byte("data")}}},
		"LOCScale":   {loc, []byte("\x08\x08\x43\xe8\x05\x01x\x03\x07data"), []Sample{{7000, []byte("data")}}}, // 8 timescale, 13 a byte, 16 timestamp
		"LOCOld":     {loc, []byte("\x02\x06\x09d"), []Sample{{9, []byte("d")}}},
		"StartCodes": {Track{startCodes: true}, append([]byte{5}, "\x00\x00\x00\x01\x67abc\x00\x00\x01\x65\x01\x00\x02\x00"...), []Sample{{5, []byte("\x00\x00\x00\x04\x67abc\x00\x00\x00\x04\x65\x01\x00\x02")}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.track.Unpack(tt.frame)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("samples (-want +got):\n%s", diff)
			}
		})
	}
	for name, tt := range map[string]struct {
		track Track
		frame string
	}{
		"Short": {legacy, ""}, "NoFragment": {cmaf.Tracks[0], "hello, world"}, "LOCEmpty": {loc, ""}, "LOCLong": {loc, "\x09\x10"},
		"LOCNoTime": {loc, "\x02\x08\x01d"}, "LOCScale0": {loc, "\x04\x08\x00\x08\x01d"}, "LOCBytes": {loc, "\x02\x0d\x05d"},
	} {
		if got, err := tt.track.Unpack([]byte(tt.frame)); err == nil {
			t.Errorf("%s: frame %q gives %v", name, tt.frame, got)
		}
	}
}

// H.264 with start codes becomes what MP4 has: the sample entry is made of the
// parameter sets in a keyframe.
func TestStartCodes(t *testing.T) {
	c, err := Decode([]byte(`{"video":{"renditions":{"v":{"codec":"avc3.4d401f","codedWidth":640,"codedHeight":360}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	track := c.Tracks[0]
	if !track.NeedsKeyframe() {
		t.Fatal("the catalog alone suffices")
	}
	config := clipFormat(t).Description // version, profile, lengths; one SPS of 26 bytes, one PPS of 6
	sps, pps := config[8:8+26], config[8+26+3:8+26+3+6]
	frame := karp.AppendFrame(nil, 0, []byte(strings.Join([]string{"", string(sps), string(pps), "\x65slice"}, "\x00\x00\x00\x01")))
	track, err = track.WithKeyframe(frame)
	if err != nil || track.NeedsKeyframe() {
		t.Fatal(err)
	}
	f, err := track.MP4.Format()
	if err != nil {
		t.Fatal(err)
	}
	if f.Codec != "avc3.4d401f" || !bytes.Equal(f.Description, config) || track.Format.Reorder != clipFormat(t).Reorder {
		t.Errorf("format %+v\nwant the configuration %x", f, config)
	}
	for name, frame := range map[string][]byte{
		"NoSets": karp.AppendFrame(nil, 0, []byte("\x00\x00\x01\x65slice")), "Marker": karp.AppendFrame(nil, 0, nil), "Empty": nil,
	} {
		if _, err := c.Tracks[0].WithKeyframe(frame); err == nil {
			t.Errorf("%s: suffices", name)
		}
	}
}

func clipFormat(t testing.TB) fmp4.Format {
	t.Helper()
	f, err := clipTracks(t)[0].Format()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSplit(t *testing.T) {
	for path, want := range map[string]karp.Part{
		"demo/clip/catalog.json": karp.CatalogPart, "demo/clip/17/video1": karp.MediaPart, "a/audio2": karp.MediaPart,
		"demo/clip/chat": karp.NoPart, "catalog.json": karp.NoPart, "": karp.NoPart,
	} {
		p := moq.ParsePath(path)
		broadcast, part := Split(p)
		if part != want || part != karp.NoPart && broadcast != p.Parent() {
			t.Errorf("%q: %v, %v", path, broadcast, part)
		}
	}
}

// No frame makes a container panic.
func FuzzUnpack(f *testing.F) {
	cmaf, err := Decode(fmt.Appendf(nil, `{"video":{"renditions":{"v":{"codec":"avc1.4d401f","container":{"kind":"cmaf","init":%q}}}}}`, initOf(f, clipTracks(f)[0])))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("\x03\x10\x44\xd2data"))
	f.Add([]byte("\x05\x00\x00\x01\x67abc"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		for _, track := range []Track{{}, {startCodes: true}, {Container: LOC}, cmaf.Tracks[0]} {
			if _, err := track.Unpack(frame); err != nil && errors.Is(err, io.EOF) {
				t.Errorf("the end of a frame is the end of a track: %v", err)
			}
			_, _ = track.WithKeyframe(frame) // must not panic
		}
	})
}
