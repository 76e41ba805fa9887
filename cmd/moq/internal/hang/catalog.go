package hang

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/karp"
)

// maxRenditions is how many tracks a catalog may name.
const maxRenditions = fmp4.MaxTracks

// A Track is one rendition that can be played.
type Track struct {
	karp.Track
	Container Container

	init       []byte // the movie header, of CMAF
	startCodes bool   // H.264 as annex B has it
}

// A Catalog is what a broadcast's catalog track says.
type Catalog struct {
	// Tracks are its renditions, the one to play first of each kind: that with the
	// most pixels, or bits.
	Tracks []Track
	// Start is when timestamp 0 was, by the publisher's clock. Zero if it does not say.
	Start time.Time
	// Whole says that nothing is to be expected of further catalogs: it is from a
	// publisher that writes one, or names both video and audio.
	Whole bool
	// Omitted says why renditions are left out.
	Omitted []string
}

// The JSON form. What is called mp4 is ours and skipped by others; clock is that
// of moq-cli 0.14.
type (
	catalogJSON struct {
		Video *videoJSON `json:"video,omitempty"`
		Audio *audioJSON `json:"audio,omitempty"`
		Clock *clockJSON `json:"clock,omitempty"`
	}
	videoJSON struct {
		Renditions map[string]renditionJSON `json:"renditions"`
	}
	audioJSON struct {
		Renditions map[string]renditionJSON `json:"renditions"`
	}
	renditionJSON struct {
		Broadcast        string         `json:"broadcast,omitempty"` // another one that has the track
		Codec            string         `json:"codec"`
		Container        *containerJSON `json:"container,omitempty"` // default legacy
		Description      string         `json:"description,omitempty"`
		CodedWidth       int            `json:"codedWidth,omitempty"`
		CodedHeight      int            `json:"codedHeight,omitempty"`
		SampleRate       int            `json:"sampleRate,omitempty"`
		NumberOfChannels int            `json:"numberOfChannels,omitempty"`
		Bitrate          int            `json:"bitrate,omitempty"`
		MP4              *mp4JSON       `json:"mp4,omitempty"`
	}
	containerJSON struct {
		Kind string `json:"kind"`
		Init string `json:"init,omitempty"` // base64
	}
	clockJSON struct {
		Wall      int64 `json:"wall"` // of timestamp 0, since 2020
		Timescale int64 `json:"timescale"`
	}
	// mp4JSON is what the rest does not tell about a track of fragmented MP4.
	mp4JSON struct {
		ID          uint32 `json:"id"`
		Timescale   uint32 `json:"timescale"`
		SampleEntry string `json:"sampleEntry"` // base64
		Start       uint64 `json:"start,omitempty"`
		DelayMillis int64  `json:"delayMillis,omitempty"`
	}
	// oldRenditionJSON is a track as catalogs of 2025 list them.
	oldRenditionJSON struct {
		Track struct {
			Name string `json:"name"`
		} `json:"track"`
		Config *renditionJSON `json:"config"`
	}
)

// UnmarshalJSON takes the present form and the one of 2025, a list.
func (v *videoJSON) UnmarshalJSON(b []byte) error {
	type plain videoJSON
	if !bytes.HasPrefix(b, []byte("[")) {
		return json.Unmarshal(b, (*plain)(v))
	}
	var list []oldRenditionJSON
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	v.Renditions = make(map[string]renditionJSON)
	for _, old := range list {
		if old.Config != nil {
			v.Renditions[old.Track.Name] = *old.Config
		}
	}
	return nil
}

// UnmarshalJSON takes the present form and the one of 2025, a track.
func (a *audioJSON) UnmarshalJSON(b []byte) error {
	type plain audioJSON
	if err := json.Unmarshal(b, (*plain)(a)); err != nil {
		return err
	}
	var old oldRenditionJSON
	if err := json.Unmarshal(b, &old); err != nil || old.Config == nil {
		return err
	}
	a.Renditions = map[string]renditionJSON{old.Track.Name: *old.Config}
	return nil
}

// Describes tells whether a catalog is of this layout and not of karp, whose has
// the same name but lists of tracks.
func Describes(catalog []byte) bool {
	var sections map[string]json.RawMessage
	if json.Unmarshal(catalog, &sections) != nil {
		return false
	}
	for _, name := range []string{"video", "audio"} {
		var list []map[string]json.RawMessage
		if json.Unmarshal(sections[name], &list) != nil || len(list) == 0 {
			continue
		}
		if _, isOld := list[0]["config"]; !isOld {
			return false
		}
	}
	return true
}

// FromKarp returns a catalog of karp as one of this layout.
func FromKarp(k karp.Catalog) Catalog {
	c := Catalog{Start: k.Start, Whole: !k.Start.IsZero()}
	for _, t := range k.Tracks {
		c.Tracks = append(c.Tracks, Track{Track: t})
	}
	return c
}

// FromMP4 returns the catalog of a broadcast with the tracks of an MP4, under the
// names that karp gives them: the frames are the same.
func FromMP4(tracks []fmp4.Track) (Catalog, error) {
	media, err := karp.FromMP4(tracks)
	c := Catalog{Whole: true}
	for _, t := range media {
		t.Priority = audioPriority
		if t.MP4.Kind == fmp4.Video {
			t.Priority = videoPriority
		}
		c.Tracks = append(c.Tracks, Track{Track: t})
	}
	return c, err
}

// Encode returns the JSON form of a catalog of FromMP4.
func (c Catalog) Encode() ([]byte, error) {
	var out catalogJSON
	if !c.Start.IsZero() {
		out.Clock = &clockJSON{Wall: c.Start.Sub(epoch).Microseconds(), Timescale: Timescale}
	}
	for _, t := range c.Tracks {
		f := t.Format
		r := renditionJSON{
			Codec: f.Codec, Container: &containerJSON{Kind: "legacy"}, Description: hex.EncodeToString(f.Description),
			CodedWidth: f.Width, CodedHeight: f.Height, SampleRate: f.SampleRate, NumberOfChannels: f.Channels, Bitrate: f.Bitrate,
			MP4: &mp4JSON{
				ID: t.MP4.ID, Timescale: t.MP4.Timescale, SampleEntry: base64.StdEncoding.EncodeToString(t.MP4.Entry),
				Start: t.MP4.Start, DelayMillis: t.MP4.Delay.Milliseconds(),
			},
		}
		switch t.MP4.Kind {
		case fmp4.Video:
			if out.Video == nil {
				out.Video = &videoJSON{Renditions: make(map[string]renditionJSON)}
			}
			out.Video.Renditions[t.Name] = r
		case fmp4.Audio:
			if out.Audio == nil {
				out.Audio = &audioJSON{Renditions: make(map[string]renditionJSON)}
			}
			out.Audio.Renditions[t.Name] = r
		default:
			return nil, fmt.Errorf("track %q is neither video nor audio", t.Name)
		}
	}
	return json.Marshal(out)
}

// Decode reads a catalog. Fields and sections that it does not know are ignored.
func Decode(b []byte) (Catalog, error) {
	var in catalogJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return Catalog{}, fmt.Errorf("catalog: %w", err)
	}
	var c Catalog
	var video, audio map[string]renditionJSON
	if in.Video != nil {
		video = in.Video.Renditions
	}
	if in.Audio != nil {
		audio = in.Audio.Renditions
	}
	if n := len(video) + len(audio); n > maxRenditions {
		return Catalog{}, fmt.Errorf("catalog: %d tracks, %d are allowed", n, maxRenditions)
	}
	c.Whole = len(video) > 0 && len(audio) > 0
	c.add(fmp4.Video, video)
	c.add(fmp4.Audio, audio)
	c.number()
	if k := in.Clock; k != nil && k.Timescale > 0 && k.Wall >= 0 {
		const most = math.MaxInt64 / float64(time.Second)
		if seconds := float64(k.Wall) / float64(k.Timescale); seconds < most {
			c.Start = epoch.Add(time.Duration(seconds * float64(time.Second))).Truncate(time.Microsecond)
		}
		if k.Timescale == Timescale {
			c.Start = epoch.Add(time.Duration(k.Wall) * time.Microsecond)
		}
	}
	return c, nil
}

// add adds the renditions of a kind that can be played, the best first.
func (c *Catalog) add(kind fmp4.Kind, renditions map[string]renditionJSON) {
	var tracks []Track
	for _, name := range slices.Sorted(maps.Keys(renditions)) {
		r := renditions[name]
		c.Whole = c.Whole || r.MP4 != nil
		t, err := r.track(name, kind)
		if err != nil {
			c.Omitted = append(c.Omitted, fmt.Sprintf("%q: %v", name, err))
			continue
		}
		tracks = append(tracks, t)
	}
	slices.SortStableFunc(tracks, func(a, b Track) int {
		return cmp.Or(
			cmp.Compare(b.Format.Width*b.Format.Height, a.Format.Width*a.Format.Height),
			cmp.Compare(b.Format.Bitrate, a.Format.Bitrate),
		)
	})
	c.Tracks = append(c.Tracks, tracks...)
}

// number gives the tracks their numbers in MP4, those that were published where
// that goes.
func (c *Catalog) number() {
	taken := make(map[uint32]bool)
	for i := range c.Tracks {
		t := &c.Tracks[i]
		if taken[t.MP4.ID] {
			t.MP4.ID = 0
		}
		if t.MP4.ID != 0 {
			taken[t.MP4.ID] = true
		}
	}
	next := uint32(1)
	for i := range c.Tracks {
		t := &c.Tracks[i]
		if t.MP4.ID != 0 {
			continue
		}
		for taken[next] {
			next++
		}
		t.MP4.ID, taken[next] = next, true
	}
}

// Choice returns what is to be played of a catalog: the first of each kind.
func (c Catalog) Choice() Catalog {
	seen := make(map[fmp4.Kind]bool)
	chosen := c
	chosen.Tracks = nil
	for _, t := range c.Tracks {
		if !seen[t.MP4.Kind] {
			chosen.Tracks = append(chosen.Tracks, t)
		}
		seen[t.MP4.Kind] = true
	}
	return chosen
}

// Bounds of what is believed of a rendition.
const (
	largestSide  = 1<<16 - 1
	highestRate  = 1 << 24
	mostChannels = 255
	mostBits     = 1<<31 - 1
	longestDelay = 1e9 // ms
)

// track returns what is played of a rendition.
func (r renditionJSON) track(name string, kind fmp4.Kind) (Track, error) {
	f := fmp4.Format{
		Codec: r.Codec, Width: r.CodedWidth, Height: r.CodedHeight,
		SampleRate: r.SampleRate, Channels: r.NumberOfChannels, Bitrate: r.Bitrate,
	}
	switch {
	case name == "":
		return Track{}, errors.New("no name")
	case r.Broadcast != "":
		return Track{}, errors.New("it is of another broadcast")
	case f.Width < 0 || f.Height < 0 || f.Width > largestSide || f.Height > largestSide:
		return Track{}, fmt.Errorf("wrong resolution %dx%d", f.Width, f.Height)
	case f.Channels < 0 || f.Channels > mostChannels || f.Bitrate < 0 || f.Bitrate > mostBits:
		return Track{}, fmt.Errorf("wrong number of channels, %d, or bits per second, %d", f.Channels, f.Bitrate)
	case kind == fmp4.Audio && (f.SampleRate <= 0 || f.SampleRate > highestRate):
		return Track{}, fmt.Errorf("wrong sample rate %d", f.SampleRate)
	}
	description, err := hex.DecodeString(r.Description)
	if err != nil {
		return Track{}, fmt.Errorf("description: %w", err)
	}
	f.Description = description
	t := Track{Track: karp.Track{Name: name, Priority: audioPriority, Format: f}}
	t.MP4 = fmp4.Track{Kind: kind, Timescale: uint32(f.SampleRate)}
	if kind == fmp4.Video {
		t.Priority, t.MP4.Timescale = videoPriority, Timescale
	}
	container := "legacy"
	if r.Container != nil {
		container = r.Container.Kind
	}
	switch container {
	case "legacy":
	case "loc":
		t.Container = LOC
	case "cmaf":
		return t.withInit(r.Container.Init)
	default:
		return Track{}, fmt.Errorf("container %q is not known", container)
	}
	if r.MP4 != nil {
		return t.withMP4(*r.MP4)
	}
	return t.withCodec()
}

// withInit returns the track of a movie header, which is that of CMAF.
func (t Track) withInit(base64Init string) (Track, error) {
	init, err := base64.StdEncoding.DecodeString(base64Init)
	if err != nil {
		return Track{}, fmt.Errorf("movie header: %w", err)
	}
	tracks, err := fmp4.NewReader(bytes.NewReader(init)).Tracks()
	if err != nil {
		return Track{}, err
	}
	for _, m := range tracks {
		if m.Kind == t.MP4.Kind {
			t.Container, t.init, t.MP4 = CMAF, init, m
			return t.checked()
		}
	}
	return Track{}, errors.New("its movie header has no such track")
}

// withMP4 returns the track as a publisher of ours tells it.
func (t Track) withMP4(m mp4JSON) (Track, error) {
	entry, err := base64.StdEncoding.DecodeString(m.SampleEntry)
	if err != nil {
		return Track{}, fmt.Errorf("sample entry: %w", err)
	}
	if m.Timescale == 0 || m.Start > 1<<62 || m.DelayMillis < 0 || m.DelayMillis > longestDelay {
		return Track{}, errors.New("wrong timescale, start or delay")
	}
	t.MP4.ID, t.MP4.Entry, t.MP4.Timescale, t.MP4.Start = m.ID, entry, m.Timescale, m.Start
	t.MP4.Delay = time.Duration(m.DelayMillis) * time.Millisecond
	return t.checked()
}

// withCodec returns the track as far as the codec and its description tell it.
func (t Track) withCodec() (Track, error) {
	var profile int
	isAVC := strings.HasPrefix(t.Format.Codec, "avc1.") || strings.HasPrefix(t.Format.Codec, "avc3.")
	n, _ := fmt.Sscanf(t.Format.Codec, "mp4a.40.%d", &profile)
	switch {
	case t.MP4.Kind == fmp4.Video && isAVC && len(t.Format.Description) > 0:
		t.MP4.Entry = fmp4.AVCEntry(t.Format.Width, t.Format.Height, t.Format.Description)
	case t.MP4.Kind == fmp4.Video && isAVC:
		t.startCodes = true
		return t, nil // the rest is in the keyframes
	case t.MP4.Kind == fmp4.Audio && n == 1:
		t.MP4.Entry = fmp4.AACEntry(profile, t.Format.SampleRate, t.Format.Channels, t.Format.Bitrate)
	default:
		return Track{}, fmt.Errorf("codec %q cannot be put into MP4 from what the catalog says", t.Format.Codec)
	}
	return t.checked()
}

// checked takes from the sample entry what decoders will go by.
func (t Track) checked() (Track, error) {
	f, err := t.MP4.Format()
	if err != nil {
		return Track{}, err
	}
	t.Format.Description, t.Format.Reorder = f.Description, f.Reorder
	return t, nil
}

// Merge applies a merge patch (RFC 7396) to a catalog.
func Merge(catalog, patch []byte) ([]byte, error) {
	var into, from any
	if err := errors.Join(unmarshal(catalog, &into), unmarshal(patch, &from)); err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	return json.Marshal(merge(into, from))
}

// unmarshal reads JSON with its numbers as they stand.
func unmarshal(b []byte, v *any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}

func merge(into, from any) any {
	patch, ok := from.(map[string]any)
	if !ok {
		return from
	}
	object, ok := into.(map[string]any)
	if !ok {
		object = make(map[string]any)
	}
	for key, value := range patch {
		if value == nil {
			delete(object, key)
		} else {
			object[key] = merge(object[key], value)
		}
	}
	return object
}
