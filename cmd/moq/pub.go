package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/follow"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/karp"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/reel"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/screen"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
)

// pub is the command that publishes.
type pub struct {
	*environment
	dialFlags
	name   string
	format string // "" goes by the protocol
	loop   bool
	json   bool
	file   string // "" is the sample clip, "-" standard input
}

func newPub(env *environment) *cobra.Command {
	p := &pub{environment: env}
	cmd := &cobra.Command{
		Use:   "pub URL --name NAME [FILE]",
		Short: "Publish a fragmented MP4 as a live broadcast",
		Long: `Publish a fragmented MP4 as a live broadcast, until it ends or for ever.

FILE is played in real time; without one it is a sample clip. "-" is standard
input, which is published as it comes. If the relay leaves or is lost, the
broadcast goes on at the next one that answers at the URL.

The layout hang is that of today's clients: browser players, moq-cli and ffmpeg
behind it. In the layout karp the broadcast is announced in both, as the frames are
the same; old clients of MoqTransfork find it by the number behind its name.

Other MP4 files become fragmented with
  ffmpeg -i FILE -c copy -movflags cmaf+delay_moov+skip_trailer+frag_keyframe -f mp4 NEW`,
		Example: `  moq pub http://localhost:4443 --name demo/clip --loop
  ffmpeg -re -i in.mp4 -c copy -movflags cmaf+delay_moov+skip_trailer+frag_every_frame -f mp4 - |
    moq pub https://relay.example.com --name demo/live -`,
		Args: wantArgs(2, "URL and FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				p.file = args[1]
			}
			return p.run(cmd.Context(), args[0])
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&p.name, "name", "", "publish as `NAME`, parts separated by /")
	fs.StringVar(&p.format, "format", "", "lay the broadcast out as `NAME`: hang, for today's clients, or karp, for clients of MoqTransfork and hang's"+
		" (default hang, and karp where MoqTransfork is spoken)")
	fs.BoolVar(&p.loop, "loop", false, "start over at the end, with times that go on rising")
	fs.BoolVar(&p.json, "json", false, "show progress as JSON, an object per line")
	p.register(fs)
	p.registerFollow(fs)
	return cmd
}

func (p *pub) run(ctx context.Context, url string) error {
	name := moq.ParsePath(p.name)
	if name.Len() == 0 {
		return misused("add --name, such as --name demo/clip", "no name to publish under")
	}
	if p.file == "-" && p.loop {
		return misused("give a FILE, or leave --loop out", "standard input cannot be played twice")
	}
	if p.format != "" && p.format != formatHang && p.format != formatKarp {
		return misused("there are hang and karp; without the flag the protocol decides", "--format %s: there is no such layout", p.format)
	}
	if _, err := parseEndpoint(url, p.protocol); err != nil {
		return err
	}
	film, err := p.open()
	if err != nil {
		return err
	}
	defer film.Close()
	show := p.screen()
	var events *eventLog
	if p.json {
		events = newEventLog(p.stderr)
	}
	l, hangUp, err := p.follow(ctx, url, false, moq.Path{}, func(e follow.Event) { tellOf(e, url, events, show) })
	if err != nil {
		return err
	}
	defer hangUp()
	b, err := newBroadcast(name, p.layout(l), film.Tracks(), l, time.Now())
	if err != nil {
		return p.fileFailure(err)
	}
	return p.publish(ctx, b, film, show, events)
}

// layout is the format of a broadcast that begins on a line.
func (p *pub) layout(l *line) string {
	switch {
	case p.format != "":
		return p.format
	case l.current().endpoint.spoken == protocols.MoqTransfork:
		return formatKarp
	default:
		return formatHang
	}
}

// open opens what is to be published.
func (p *pub) open() (*reel.Reel, error) {
	config := reel.Config{Loop: p.loop, Sort: true}
	switch p.file {
	case "":
		config.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(clip.MP4)), nil }
	case "-":
		config.Sort = false
		config.Open = func() (io.ReadCloser, error) { return io.NopCloser(p.stdin), nil }
	default:
		config.Open = func() (io.ReadCloser, error) { return os.Open(p.file) }
	}
	film, err := reel.Open(config)
	if err != nil {
		return nil, p.fileFailure(err)
	}
	return film, nil
}

// fileFailure says what an error of the input means for the user.
func (p *pub) fileFailure(err error) error {
	file := p.file
	if file == "-" {
		file = "standard input"
	}
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return failed(err, "is the name of the file right? without one the sample clip is published")
	}
	hint := "does the file play elsewhere? ffprobe shows what is wrong with it"
	if errors.Is(err, fmp4.ErrNotMP4) || errors.Is(err, fmp4.ErrNotFragmented) {
		hint = fmt.Sprintf("ffmpeg -i %s -c copy -movflags cmaf+delay_moov+skip_trailer+frag_keyframe -f mp4 NEW.mp4 makes one that can be published", filepath.Base(file))
	}
	if errors.Is(err, fmp4.ErrTruncated) {
		hint = "what came before has been published; was the program that writes it killed?"
	}
	return failed(fmt.Errorf("%s: %w", file, err), "%s", hint)
}

// publish plays the film into the broadcast and shows how it goes.
func (p *pub) publish(ctx context.Context, b *broadcast, film *reel.Reel, show *screen.Screen, events *eventLog) error {
	shown, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	if p.json {
		go func() { defer close(done); b.report(shown, events) }()
	} else {
		show.Note("%s > %s   %s   %s", show.Strong(b.name.String()), b.line.peer(), b.line.way(), b.describe())
		go func() { defer close(done); show.Run(shown, func() string { return b.status(show) }) }()
	}
	err := p.play(ctx, b, film)
	switch {
	case errors.Is(err, errSessionEnded):
		err = b.line.lostFailure()
	case err == nil, errors.Is(err, context.Canceled):
		err = b.finish(ctx)
	default:
		err = errors.Join(p.fileFailure(err), b.finish(ctx))
	}
	stop()
	<-done
	return err
}

var errSessionEnded = errors.New("session ended")

// play publishes sample by sample, each when it is due.
func (p *pub) play(ctx context.Context, b *broadcast, film *reel.Reel) error {
	next := film.Next
	if p.file == "-" {
		var stop func()
		next, stop = interruptible(ctx, b.line, film.Next)
		defer stop()
	}
	for {
		s, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !b.began {
			if err := b.begin(s, time.Now().Add(p.lead())); err != nil {
				return err
			}
		}
		if p.file != "-" && b.began {
			if err := b.wait(ctx, s.At); err != nil {
				return err
			}
		}
		if err := b.write(s); err != nil {
			return err
		}
	}
}

// lead is how long before its first sample a broadcast is announced, so that
// subscribers who wait for it have it from the start. What comes from standard
// input is live already.
func (p *pub) lead() time.Duration {
	if p.file == "-" {
		return 0
	}
	return leadTime
}

const leadTime = 500 * time.Millisecond

// interruptible lets ctx and the end of the session interrupt reads of standard
// input. The read itself goes on until the input or the process ends.
func interruptible(ctx context.Context, l *line, next func() (reel.Sample, error)) (_ func() (reel.Sample, error), stop func()) {
	type read struct {
		sample reel.Sample
		err    error
	}
	reads, stopped := make(chan read), make(chan struct{})
	go func() { // see above
		for {
			s, err := next()
			select {
			case reads <- read{s, err}:
			case <-stopped:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return func() (reel.Sample, error) {
		select {
		case r := <-reads:
			return r.sample, r.err
		case <-l.done:
			return reel.Sample{}, errSessionEnded
		case <-ctx.Done():
			return reel.Sample{}, context.Cause(ctx)
		}
	}, func() { close(stopped) }
}

// report writes the progress as JSON, every second and at the end.
func (b *broadcast) report(ctx context.Context, events *eventLog) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	events.write(b.snapshot("published"))
	for {
		select {
		case <-ticker.C:
			events.write(b.snapshot("progress"))
		case <-ctx.Done():
			events.write(b.snapshot("ended"))
			return
		}
	}
}

// describe names the tracks, as in "avc1 1280x720, mp4a 48k".
func (b *broadcast) describe() string {
	var parts []string
	for _, t := range b.media {
		parts = append(parts, describeTrack(t))
	}
	return strings.Join(parts, ", ")
}

func describeTrack(t karp.Track) string {
	codec, _, _ := strings.Cut(t.Format.Codec, ".")
	switch t.MP4.Kind {
	case fmp4.Video:
		return fmt.Sprintf("%s %dx%d", codec, t.Format.Width, t.Format.Height)
	default:
		return fmt.Sprintf("%s %gk", codec, float64(t.Format.SampleRate)/1000)
	}
}

var _ origin.Source = (*broadcast)(nil)
