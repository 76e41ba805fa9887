package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/hang"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/karp"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/reel"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/screen"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// Layouts of a broadcast, as --format names them.
const (
	formatHang = "hang"
	formatKarp = "karp"
)

// broadcast is what pub publishes: media tracks, and a catalog for each layout
// that they are announced in. It is the source of its announcements.
//
// Tracks are announced one by one, whatever is spoken: a session of moq-lite
// makes of them the broadcast that they are in.
type broadcast struct {
	// Static after construction.
	name    moq.Path
	path    moq.Path // of the first layout
	media   []karp.Track
	layouts []layout // the one to announce first at the front
	line    *line
	tracks  map[moq.Path]*moq.Track
	all     []*moq.Track
	outputs map[uint32]*output // by number in the MP4
	main    *output            // the one whose groups are shown

	// Owned by the player.
	began bool
	frame []byte // reused

	start  atomic.Int64 // when the first sample is due, in UNIX nanoseconds; 0: not yet
	frames atomic.Int64 // of video, else of audio
	bytes  atomic.Int64
	rate   *rate
}

// retention is how long groups are kept for relays that ask for those that they
// missed, while the one before was lost.
const retention = 5 * time.Second

// layout is one way in which the broadcast is announced. The media tracks are the
// same in all of them.
type layout struct {
	path    moq.Path
	catalog *moq.Track
	// encode returns the catalog of a broadcast whose timestamp 0 was at start.
	encode func(start time.Time) ([]byte, error)
}

// output is a media track being published. Owned by the player, but for groups.
type output struct {
	track     *moq.Track
	timescale uint32
	group     *moq.GroupWriter
	groups    atomic.Int64
}

// newBroadcast returns a broadcast with these tracks that starts now. What is laid
// out as karp does is there for clients of hang as well: its frames are the same.
func newBroadcast(name moq.Path, format string, tracks []fmp4.Track, l *line, now time.Time) (*broadcast, error) {
	media, err := karp.FromMP4(tracks)
	if err != nil {
		return nil, err
	}
	if len(media) == 0 {
		return nil, errors.New("it has neither video nor audio")
	}
	b := &broadcast{
		name: name, line: l, media: media,
		tracks:  make(map[moq.Path]*moq.Track),
		outputs: make(map[uint32]*output),
		rate:    newRate(now),
	}
	if format == formatKarp {
		b.addLayout(karp.Broadcast(name, now), karp.CatalogPriority, func(start time.Time) ([]byte, error) {
			return karp.Catalog{Tracks: media, Start: start}.Encode()
		})
	}
	catalog, err := hang.FromMP4(tracks)
	if err != nil {
		return nil, err
	}
	b.addLayout(name, hang.CatalogPriority, func(start time.Time) ([]byte, error) {
		c := catalog
		c.Start = start
		return c.Encode()
	})
	b.path = b.layouts[0].path
	mainIsVideo := false
	for _, t := range media {
		out := &output{track: b.newTrack(t.Name, t.Priority, hang.Timescale), timescale: t.MP4.Timescale}
		b.outputs[t.MP4.ID] = out
		for _, l := range b.layouts {
			b.tracks[l.path.Append(t.Name)] = out.track
		}
		if isVideo := t.MP4.Kind == fmp4.Video; b.main == nil || isVideo && !mainIsVideo {
			b.main, mainIsVideo = out, isVideo
		}
	}
	return b, nil
}

func (b *broadcast) addLayout(path moq.Path, priority moq.Priority, encode func(time.Time) ([]byte, error)) {
	l := layout{path: path, encode: encode}
	b.path = path
	l.catalog = b.newTrack(hang.CatalogTrack, priority, 0)
	b.tracks[path.Append(hang.CatalogTrack)] = l.catalog
	b.layouts = append(b.layouts, l)
}

func (b *broadcast) newTrack(name string, priority moq.Priority, timescale uint64) *moq.Track {
	info := moq.Info{Priority: priority, Timescale: timescale}
	t := moq.NewTrack(moq.TrackConfig{
		Path: b.path.Append(name), Info: info,
		Budget: b.line.budget, Limits: trackLimits(), Retention: retention,
	})
	t.SetInfo(info)
	b.all = append(b.all, t)
	return t
}

// Track returns a track of the broadcast.
func (b *broadcast) Track(path moq.Path) (*moq.Track, error) {
	if t, ok := b.tracks[path]; ok {
		return t, nil
	}
	return nil, moq.ErrNotFound
}

// begin writes the catalogs and announces everything, each catalog first. The
// first sample is due at start.
func (b *broadcast) begin(s reel.Sample, start time.Time) error {
	out := b.outputs[s.Track]
	if out == nil {
		return nil
	}
	b.began = true
	b.start.Store(start.UnixNano())
	zero := start.Add(-time.Duration(karp.Micros(s.Time, out.timescale)) * time.Microsecond)
	for _, l := range b.layouts {
		if err := b.announce(l, zero); err != nil {
			return err
		}
	}
	return nil
}

// announce writes the catalog of a layout and announces its tracks.
func (b *broadcast) announce(l layout, zero time.Time) error {
	encoded, err := l.encode(zero)
	if err != nil {
		return err
	}
	g, err := l.catalog.AppendGroup()
	if err != nil {
		return err
	}
	if err := errors.Join(g.WriteFrame(encoded), g.Finish()); err != nil {
		return err
	}
	names := []string{hang.CatalogTrack}
	for _, t := range b.media {
		names = append(names, t.Name)
	}
	for _, name := range names {
		_, err := b.line.out.Announce(origin.Announcement{
			Path: l.path.Append(name), Kind: origin.Track, Class: origin.Local, Source: b,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// wait returns when a sample is due.
func (b *broadcast) wait(ctx context.Context, at time.Duration) error {
	d := time.Until(time.Unix(0, b.start.Load()).Add(at))
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-b.line.done:
		return errSessionEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write publishes a sample. A group begins with each that can be decoded alone:
// of video the keyframes, of audio every one.
func (b *broadcast) write(s reel.Sample) error {
	out := b.outputs[s.Track]
	if out == nil {
		return nil // neither video nor audio
	}
	if s.Sync || out.group == nil {
		if err := out.nextGroup(); err != nil {
			return err
		}
	}
	show := max(0, int64(s.Time)+int64(s.Offset))
	micros := karp.Micros(uint64(show), out.timescale)
	b.frame = karp.AppendFrame(b.frame[:0], micros, s.Data)
	if err := out.group.WriteFrameAt(b.frame, micros); err != nil {
		return fmt.Errorf("publish %q: %w", out.track.Path(), err)
	}
	b.bytes.Add(int64(len(s.Data)))
	if out == b.main {
		b.frames.Add(1)
	}
	return nil
}

func (o *output) nextGroup() error {
	if o.group != nil {
		if err := o.group.Finish(); err != nil {
			return fmt.Errorf("publish %q: %w", o.track.Path(), err)
		}
	}
	g, err := o.track.AppendGroup()
	if err != nil {
		return fmt.Errorf("publish %q: %w", o.track.Path(), err)
	}
	o.group = g
	o.groups.Add(1)
	return nil
}

// finish ends all tracks and returns when the relay has what there is of them.
func (b *broadcast) finish(ctx context.Context) error {
	for _, out := range b.outputs {
		if out.group != nil {
			_ = out.group.Finish() // it was whole or is aborted already
		}
	}
	for _, t := range b.all {
		t.End(moq.ErrEnded)
	}
	return b.line.deliver(ctx, b.all, b.name)
}

// subscribers is how many subscriptions the tracks have, the catalog's aside.
func (b *broadcast) subscribers() int {
	n := 0
	for _, out := range b.outputs {
		d, _ := out.track.Demand()
		n += d.Subscribers
	}
	return n
}

// progress is what pub --json shows. Fields are only ever added.
type progress struct {
	Event         string  `json:"event"` // published, progress or ended
	Name          string  `json:"name"`
	Broadcast     string  `json:"broadcast"` // the path, with the broadcast's number
	Relay         string  `json:"relay"`
	Protocol      string  `json:"protocol"`
	Tracks        string  `json:"tracks"`
	Seconds       float64 `json:"seconds"`
	BitsPerSecond float64 `json:"bitsPerSecond"`
	FramesPerSec  float64 `json:"framesPerSecond"`
	Frames        int64   `json:"frames"`
	Groups        int64   `json:"groups"`
	Bytes         int64   `json:"bytes"`
	Subscriptions int     `json:"subscriptions"` // of media tracks
	RTTMillis     float64 `json:"rttMillis"`
}

func (b *broadcast) snapshot(event string) progress {
	now := time.Now()
	bits, frames := b.rate.per(now, b.bytes.Load(), b.frames.Load())
	p := progress{
		Event: event, Name: b.name.String(), Broadcast: b.path.String(),
		Relay: b.line.peer(), Protocol: b.line.carrier(), Tracks: b.describe(),
		BitsPerSecond: 8 * bits, FramesPerSec: frames,
		Frames: b.frames.Load(), Groups: b.main.groups.Load(), Bytes: b.bytes.Load(),
		Subscriptions: b.subscribers(),
		RTTMillis:     float64(b.line.current().conn.Stats().SmoothedRTT) / float64(time.Millisecond),
	}
	if start := b.start.Load(); start != 0 {
		p.Seconds = now.Sub(time.Unix(0, start)).Seconds()
	}
	return p
}

// status is the line that shows how it goes.
func (b *broadcast) status(show *screen.Screen) string {
	p := b.snapshot("")
	if b.start.Load() == 0 {
		return "waiting for media"
	}
	subscribed := "no"
	if p.Subscriptions > 0 {
		subscribed = "yes"
	}
	state := show.Good("live") + " " + screen.Elapsed(time.Duration(p.Seconds*float64(time.Second)))
	if lost, isLost := b.line.lostFor(time.Now()); isLost {
		state = show.Bad("reconnecting") + " " + screen.Elapsed(lost)
	}
	return strings.Join([]string{
		state,
		screen.Rate(p.BitsPerSecond),
		fmt.Sprintf("%.0f fps", p.FramesPerSec),
		screen.Count(int(p.Groups), "group"),
		"subscribed " + subscribed,
		"rtt " + screen.Millis(time.Duration(p.RTTMillis*float64(time.Millisecond))),
	}, "   ")
}
