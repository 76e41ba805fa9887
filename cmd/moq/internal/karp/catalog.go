package karp

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
	"github.com/moqrelay/moqrelay/relay/moq"
)

const (
	// maxTracks is how many tracks a catalog may name.
	maxTracks = fmp4.MaxTracks
	// videoTimescale is the timescale of video whose catalog names none: that of the
	// timestamps, so that they are written as they came.
	videoTimescale = 1_000_000
)

// A Track is one media track of a broadcast.
type Track struct {
	// Name is the last part of the track's path, such as video1.
	Name string
	// Priority is the one that the track is published with.
	Priority moq.Priority
	// Format is what the catalog tells about the media.
	Format fmp4.Format
	// MP4 is the track in fragmented MP4.
	MP4 fmp4.Track
}

// A Catalog is what a broadcast's catalog track says.
type Catalog struct {
	// Tracks are its media tracks.
	Tracks []Track
	// Start is when timestamp 0 was, by the publisher's clock. Zero if it does not say.
	Start time.Time
}

// FromMP4 returns the tracks of a broadcast for those of an MP4. What is neither
// video nor audio has no place in it and is left out.
func FromMP4(tracks []fmp4.Track) ([]Track, error) {
	var out []Track
	for _, t := range tracks {
		prefix, priority := "", 0
		switch t.Kind {
		case fmp4.Video:
			prefix, priority = "video", videoPriority
		case fmp4.Audio:
			prefix, priority = "audio", audioPriority
		default:
			continue
		}
		f, err := t.Format()
		if err != nil {
			return nil, err
		}
		name := prefix + strconv.FormatUint(uint64(t.ID), 10)
		out = append(out, Track{Name: name, Priority: moq.Priority(127 - priority), Format: f, MP4: t})
	}
	return out, nil
}

// The JSON form. The fields mp4 and startMicros are ours, everything else is of
// moq-karp 0.7.1.
type (
	catalogJSON struct {
		// StartMicros is the UNIX time of timestamp 0, in microseconds.
		StartMicros int64 `json:"startMicros,omitempty"`

		Video []videoJSON `json:"video,omitempty"`
		Audio []audioJSON `json:"audio,omitempty"`
	}
	trackJSON struct {
		Name     string `json:"name"`
		Priority int8   `json:"priority"`
	}
	videoJSON struct {
		Track       trackJSON      `json:"track"`
		Codec       codecJSON      `json:"codec"`
		Description string         `json:"description,omitempty"`
		Resolution  resolutionJSON `json:"resolution"`
		Bitrate     int            `json:"bitrate,omitempty"`
		MP4         *mp4JSON       `json:"mp4,omitempty"`
	}
	audioJSON struct {
		Track        trackJSON `json:"track"`
		Codec        codecJSON `json:"codec"`
		SampleRate   int       `json:"sample_rate"`
		ChannelCount int       `json:"channel_count"`
		Bitrate      int       `json:"bitrate,omitempty"`
		MP4          *mp4JSON  `json:"mp4,omitempty"`
	}
	resolutionJSON struct {
		Width  int `json:"width"`
		Height int `json:"height"`
	}
	// mp4JSON is what the rest does not tell about a track of fragmented MP4.
	mp4JSON struct {
		Timescale   uint32 `json:"timescale"`
		SampleEntry string `json:"sampleEntry"`           // base64
		Start       uint64 `json:"start,omitempty"`       // in ticks
		DelayMillis int64  `json:"delayMillis,omitempty"` // in milliseconds
	}
)

// codecJSON is a codec's string. moq-karp 0.7.1 writes AAC as {"aac":{"profile":2}}
// by mistake, later ones as mp4a.40.2.
type codecJSON string

func (c *codecJSON) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*c = codecJSON(s)
		return nil
	}
	var object struct {
		AAC *struct {
			Profile int `json:"profile"`
		} `json:"aac"`
	}
	if err := json.Unmarshal(b, &object); err != nil {
		return err
	}
	*c = "unknown"
	if object.AAC != nil {
		*c = codecJSON(fmt.Sprintf("mp4a.40.%d", object.AAC.Profile))
	}
	return nil
}

// Encode returns the JSON form.
func (c Catalog) Encode() ([]byte, error) {
	var out catalogJSON
	if !c.Start.IsZero() {
		out.StartMicros = c.Start.UnixMicro()
	}
	for _, t := range c.Tracks {
		track := trackJSON{Name: t.Name, Priority: int8(127 - int(t.Priority))}
		mp4 := &mp4JSON{
			Timescale:   t.MP4.Timescale,
			SampleEntry: base64.StdEncoding.EncodeToString(t.MP4.Entry),
			Start:       t.MP4.Start,
			DelayMillis: t.MP4.Delay.Milliseconds(),
		}
		f := t.Format
		switch t.MP4.Kind {
		case fmp4.Video:
			out.Video = append(out.Video, videoJSON{
				Track: track, Codec: codecJSON(f.Codec), Description: hex.EncodeToString(f.Description),
				Resolution: resolutionJSON{f.Width, f.Height}, Bitrate: f.Bitrate, MP4: mp4,
			})
		case fmp4.Audio:
			out.Audio = append(out.Audio, audioJSON{
				Track: track, Codec: codecJSON(f.Codec),
				SampleRate: f.SampleRate, ChannelCount: f.Channels, Bitrate: f.Bitrate, MP4: mp4,
			})
		default:
			return nil, fmt.Errorf("track %q is neither video nor audio", t.Name)
		}
	}
	return json.Marshal(out)
}

// DecodeCatalog reads a catalog, video first. Fields that it does not know are
// ignored. The tracks' MP4 numbers are different from each other and those of
// the names where they can be.
func DecodeCatalog(b []byte) (Catalog, error) {
	var in catalogJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return Catalog{}, fmt.Errorf("catalog: %w", err)
	}
	if n := len(in.Video) + len(in.Audio); n > maxTracks {
		return Catalog{}, fmt.Errorf("catalog: %d tracks, %d are allowed", n, maxTracks)
	}
	var tracks []Track
	for _, v := range in.Video {
		t, err := v.track()
		if err != nil {
			return Catalog{}, fmt.Errorf("catalog: track %q: %w", v.Track.Name, err)
		}
		tracks = append(tracks, t)
	}
	for _, a := range in.Audio {
		t, err := a.track()
		if err != nil {
			return Catalog{}, fmt.Errorf("catalog: track %q: %w", a.Track.Name, err)
		}
		tracks = append(tracks, t)
	}
	if err := number(tracks); err != nil {
		return Catalog{}, err
	}
	c := Catalog{Tracks: tracks}
	if in.StartMicros != 0 {
		c.Start = time.UnixMicro(in.StartMicros)
	}
	return c, nil
}

func (v videoJSON) track() (Track, error) {
	const largest = 1<<16 - 1
	f := fmp4.Format{Codec: string(v.Codec), Width: v.Resolution.Width, Height: v.Resolution.Height, Bitrate: v.Bitrate}
	if f.Width < 0 || f.Height < 0 || f.Width > largest || f.Height > largest {
		return Track{}, fmt.Errorf("wrong resolution %dx%d", f.Width, f.Height)
	}
	description, err := hex.DecodeString(v.Description)
	if err != nil {
		return Track{}, fmt.Errorf("description: %w", err)
	}
	t := fmp4.Track{Kind: fmp4.Video, Timescale: videoTimescale}
	if isAVC(f.Codec) && len(description) > 0 {
		t.Entry = fmp4.AVCEntry(f.Width, f.Height, description)
	}
	return v.Track.with(f, t, v.MP4)
}

func isAVC(codec string) bool {
	return len(codec) == len("avc1.4d401f") && (codec[:5] == "avc1." || codec[:5] == "avc3.")
}

func (a audioJSON) track() (Track, error) {
	const highestRate, mostChannels, mostBits = 1 << 24, 255, 1 << 31
	f := fmp4.Format{Codec: string(a.Codec), SampleRate: a.SampleRate, Channels: a.ChannelCount, Bitrate: a.Bitrate}
	if f.SampleRate <= 0 || f.SampleRate > highestRate {
		return Track{}, fmt.Errorf("wrong sample rate %d", f.SampleRate)
	}
	if f.Channels < 0 || f.Channels > mostChannels || f.Bitrate < 0 || f.Bitrate > mostBits {
		return Track{}, fmt.Errorf("wrong number of channels, %d, or bits per second, %d", f.Channels, f.Bitrate)
	}
	t := fmp4.Track{Kind: fmp4.Audio, Timescale: uint32(f.SampleRate)}
	var profile int
	if n, _ := fmt.Sscanf(f.Codec, "mp4a.40.%d", &profile); n == 1 {
		t.Entry = fmp4.AACEntry(profile, f.SampleRate, f.Channels, f.Bitrate)
	}
	return a.Track.with(f, t, a.MP4)
}

// with returns the track of a catalog entry: f and t say what its common part
// does, mp4 is nil if the publisher is not one of ours.
func (j trackJSON) with(f fmp4.Format, t fmp4.Track, mp4 *mp4JSON) (Track, error) {
	if j.Name == "" {
		return Track{}, fmt.Errorf("no name")
	}
	if mp4 != nil {
		entry, err := base64.StdEncoding.DecodeString(mp4.SampleEntry)
		if err != nil {
			return Track{}, fmt.Errorf("sample entry: %w", err)
		}
		const longestDelay = 1e9 // ms
		if mp4.Timescale == 0 || mp4.Start > 1<<62 || mp4.DelayMillis < 0 || mp4.DelayMillis > longestDelay {
			return Track{}, fmt.Errorf("wrong timescale, start or delay")
		}
		t.Entry, t.Timescale, t.Start = entry, mp4.Timescale, mp4.Start
		t.Delay = time.Duration(mp4.DelayMillis) * time.Millisecond
	}
	if t.Entry == nil {
		return Track{}, fmt.Errorf("codec %q cannot be put into MP4 from what the catalog says", f.Codec)
	}
	// What the entry says is what decoders will go by.
	fromEntry, err := t.Format()
	if err != nil {
		return Track{}, err
	}
	f.Description, f.Reorder = fromEntry.Description, fromEntry.Reorder
	return Track{Name: j.Name, Priority: moq.Priority(127 - int(j.Priority)), Format: f, MP4: t}, nil
}

// number gives the tracks their numbers in MP4.
func number(tracks []Track) error {
	names, taken := map[string]bool{}, map[uint32]bool{}
	for i := range tracks {
		t := &tracks[i]
		if names[t.Name] {
			return fmt.Errorf("catalog: two tracks are named %q", t.Name)
		}
		names[t.Name] = true
		for _, prefix := range []string{"video", "audio"} {
			if n, ok := trackNumber(t.Name, prefix); ok && !taken[n] {
				t.MP4.ID, taken[n] = n, true
			}
		}
	}
	next := uint32(1)
	for i := range tracks {
		t := &tracks[i]
		if t.MP4.ID != 0 {
			continue
		}
		for taken[next] {
			next++
		}
		t.MP4.ID, taken[next] = next, true
	}
	return nil
}
