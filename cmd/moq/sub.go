package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/follow"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/hang"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/screen"
	"github.com/moqrelay/moqrelay/relay/moq"
)

// sub is the command that plays.
type sub struct {
	*environment
	dialFlags
	name     string
	track    string
	output   string
	duration time.Duration
	wait     time.Duration
	json     bool
	events   bool // standard output is for events, not for media
}

func newSub(env *environment) *cobra.Command {
	s := &sub{environment: env}
	cmd := &cobra.Command{
		Use:   "sub URL --name NAME",
		Short: "Play a live broadcast into a fragmented MP4",
		Long: `Play a live broadcast into a fragmented MP4 that players and ffmpeg take, with the
samples and times as they were published, until the broadcast ends.

If the publisher comes back with the same media, the MP4 goes on; with other
media it has to end, because it has one header. Groups that do not come in time
are left out and counted. "age" is how old frames are when they come, by the
publisher's clock; "jitter" is how much later than the earliest; "stalls" is how
often nothing came for half a second.

Both layouts of pub are read, and what moq-cli and browsers publish, as far as it
is H.264 and AAC, or anything else that comes as MP4; of several renditions the one
with the most pixels. H.264 with start codes gets lengths, as MP4 has them.

With --track the frames of that one track are written as they were published, one
after the other, with nothing in between.

If the relay leaves, another one is dialled at the same URL and the media go on
from there; if it is lost, until one answers. With --json and without --output,
standard output tells of that, of every group that comes and of tracks that end,
instead of media.`,
		Example: `  moq sub http://localhost:4443 --name demo/clip -o - | ffplay -
  moq sub https://relay.example.com --name demo/live -o out.mp4 --duration 30s
  moq sub wss://relay.example.com --name demo/live -o out.mp4   # where no UDP gets through`,
		Args: wantArgs(1, "the URL of a relay"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.events = s.json && !cmd.Flags().Changed("output")
			return s.run(cmd.Context(), args[0])
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&s.name, "name", "", "play what is published as `NAME`, parts separated by /")
	fs.StringVar(&s.track, "track", "", "write the raw frames of this `TRACK` alone, such as video1 or catalog.json")
	fs.StringVarP(&s.output, "output", "o", "-", "write to `FILE`, - is standard output")
	fs.DurationVar(&s.duration, "duration", 0, "stop after this time")
	fs.DurationVar(&s.wait, "jitter", 500*time.Millisecond, "wait at most this long for what is missing")
	fs.BoolVar(&s.json, "json", false, "show progress as JSON, an object per line")
	s.register(fs)
	s.registerFollow(fs)
	return cmd
}

func (s *sub) run(ctx context.Context, url string) error {
	name := moq.ParsePath(s.name)
	switch {
	case name.Len() == 0:
		return misused(fmt.Sprintf("\"moq announced %s\" lists what there is", url), "add --name: nothing to play is named")
	case s.duration < 0 || s.wait < 0:
		return misused("give times such as 30s", "--duration and --jitter cannot be negative")
	}
	if _, err := parseEndpoint(url, s.protocol); err != nil {
		return err
	}
	out, err := s.open()
	if err != nil {
		return err
	}
	err = s.subscribe(ctx, url, name, out)
	if closeErr := out.Close(); err == nil && closeErr != nil {
		err = failed(closeErr, "is there space left?")
	}
	return err
}

// open opens the output.
func (s *sub) open() (io.WriteCloser, error) {
	if s.events {
		return nopCloser{io.Discard}, nil
	}
	if s.output != "-" {
		f, err := os.Create(s.output)
		if err != nil {
			return nil, failed(fmt.Errorf("--output: %w", err), "give a file in a folder that exists and can be written")
		}
		return f, nil
	}
	if f, ok := s.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return nil, misused("add -o FILE, or | ffplay -", "media would be written to the terminal")
	}
	return nopCloser{s.stdout}, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// subscribe connects and plays broadcast after broadcast of the name.
func (s *sub) subscribe(ctx context.Context, url string, name moq.Path, out io.Writer) error {
	v := &viewing{sub: s, show: s.screen(), finder: newFinder(name, s.track), progress: newEventLog(s.stderr)}
	switch {
	case s.events:
		v.events = newEventLog(s.stdout)
	case s.json:
		v.events = v.progress
	}
	var err error
	var hangUp func()
	began := time.Now()
	v.line, hangUp, err = s.follow(ctx, url, true, name, func(e follow.Event) { tellOf(e, url, v.events, v.show) })
	if err != nil {
		return err
	}
	defer hangUp()
	v.stats = newPlayStats(time.Since(began))
	v.player = &player{
		from: v.line.follower, lost: v.line.done, events: v.events,
		out: out, wait: s.wait, limit: s.duration, stats: v.stats,
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finding, shown := make(chan struct{}), make(chan struct{})
	go func() { defer close(finding); v.finder.run(ctx, v.line.follower.Announced()) }()
	showing, hide := context.WithCancel(context.WithoutCancel(ctx))
	go func() { defer close(shown); v.run(showing) }()
	err = v.watch(ctx)
	hide()
	<-shown
	cancel()
	<-finding
	return err
}

// viewing is one run of sub.
type viewing struct {
	*sub
	line     *line
	events   *eventLog // of sessions and groups; nil without --json
	progress *eventLog
	show     *screen.Screen
	finder   *finder
	player   *player
	stats    *playStats
}

// watch plays until the broadcast has ended, the time is over or ctx is done.
func (v *viewing) watch(ctx context.Context) error {
	for {
		next, err := v.find(ctx)
		if err != nil {
			return err
		}
		result, err := v.play(ctx, next)
		switch {
		case ctx.Err() != nil:
			if v.player.first.IsZero() {
				return errInterrupted
			}
			return nil
		case follow.IsRestart(err):
		case errors.Is(err, errOtherMedia):
			return failed(fmt.Errorf("%q: %w", v.finder.name, err), "start again to play these")
		case err != nil:
			return failed(err, "\"moq announced %s\" lists what there is", v.line.url)
		case isClosed(v.line.done):
			return v.line.lostFailure()
		case result == limited:
			return nil
		case result == hasEnded:
			if later, _ := v.finder.newer(next); !later {
				return nil
			}
		case result == brokeOff && follow.IsRestart(v.stats.whyBrokeOff()):
		case result == brokeOff:
			if later, _ := v.finder.newer(next); !later {
				return v.brokenOff()
			}
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// find waits until the broadcast, or the track, is announced.
func (v *viewing) find(ctx context.Context) (target, error) {
	return v.await(ctx, v.finder.newest, func() error {
		what := fmt.Sprintf("subscribe %q", v.finder.name)
		if v.track != "" {
			what = fmt.Sprintf("subscribe %q of %q", v.track, v.finder.name)
		}
		return failed(fmt.Errorf("%s: not announced at %s within %v", what, v.line.peer(), v.timeout),
			"\"moq announced %s\" lists what is", v.line.url)
	})
}

// brokenOff is the failure of a broadcast that did not come back.
func (v *viewing) brokenOff() error {
	v.stats.mu.Lock()
	defer v.stats.mu.Unlock()
	return failed(fmt.Errorf("%q broke off and did not come back within %v: %w", v.finder.name, v.timeout, v.stats.failure),
		"what came before is in the output; is the publisher running?")
}

func (v *viewing) await(
	ctx context.Context, look func() (target, bool, <-chan struct{}), late func() error,
) (target, error) {
	timer := time.NewTimer(v.timeout)
	defer timer.Stop()
	for {
		t, found, changed := look()
		if found {
			return t, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return target{}, late()
		case <-v.line.done:
			return target{}, v.line.lostFailure()
		case <-ctx.Done():
			if v.player.first.IsZero() {
				return target{}, errInterrupted
			}
			return target{}, nil
		}
	}
}

// play plays a broadcast, or the wanted track.
func (v *viewing) play(ctx context.Context, t target) (outcome, error) {
	found := time.Now()
	newer, stop := v.watchNewer(ctx, t)
	defer stop()
	if v.track != "" {
		v.stats.begin(t.broadcast(), hang.Catalog{}, found)
		return v.player.playRaw(ctx, t.path, newer)
	}
	catalog, err := v.player.loadCatalog(ctx, t.path, v.timeout)
	if err != nil {
		return brokeOff, fmt.Errorf("subscribe %q: %w", v.finder.name, err)
	}
	if len(catalog.Tracks) == 0 && len(catalog.Omitted) > 0 {
		return brokeOff, fmt.Errorf("subscribe %q: none of its tracks can be put into MP4: %s", v.finder.name, strings.Join(catalog.Omitted, "; "))
	}
	if len(catalog.Tracks) == 0 {
		return brokeOff, fmt.Errorf("subscribe %q: its catalog names no track", v.finder.name)
	}
	if err := v.player.setUp(catalog); err != nil {
		return brokeOff, err
	}
	v.stats.begin(t.broadcast(), catalog, found)
	return v.player.playMedia(ctx, t.broadcast(), catalog, newer)
}

// watchNewer returns a channel that is closed when a later broadcast than t is
// announced.
func (v *viewing) watchNewer(ctx context.Context, t target) (newer <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	announced, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			found, changed := v.finder.newer(t)
			if found {
				close(announced)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return announced, func() { cancel(); <-done }
}

// run shows how it goes until ctx is done.
func (v *viewing) run(ctx context.Context) {
	if v.json {
		v.report(ctx)
		return
	}
	told := false
	v.show.Run(ctx, func() string {
		now := time.Now()
		p := v.stats.snapshot("", now)
		if p.Frames == 0 && ctx.Err() != nil {
			return "" // nothing has come, and why is said elsewhere
		}
		lost, isLost := v.line.lostFor(now)
		if p.Frames == 0 && !isLost {
			return fmt.Sprintf("waiting for %s", v.finder.name)
		}
		if isLost && ctx.Err() == nil {
			return v.show.Bad("reconnecting") + " " + screen.Elapsed(lost) + v.stats.counted()
		}
		if !told {
			told = true
			v.show.Note("%s < %s   %s   joined in %s", v.show.Strong(v.finder.name.String()), v.line.peer(),
				v.line.way(), screen.Millis(time.Duration(p.JoinMillis*float64(time.Millisecond))))
		}
		return v.stats.status(v.show, now)
	})
}

// report writes the progress as JSON, every second and at the end.
func (v *viewing) report(ctx context.Context) {
	event := "joined"
	write := func(event string) {
		p := v.stats.snapshot(event, time.Now())
		p.Name, p.Relay, p.Protocol = v.finder.name.String(), v.line.peer(), v.line.carrier()
		v.progress.write(p)
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if v.stats.hasJoined() {
				write(event)
				event = "progress"
			}
		case <-ctx.Done():
			write("ended")
			return
		}
	}
}
