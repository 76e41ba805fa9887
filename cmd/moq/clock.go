package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/screen"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
)

// clock is the command that publishes and shows the time, as moq-clock does: a
// group per minute, whose first frame is the text before the seconds, and a
// frame per second. In moq-lite a clock is a broadcast with the track seconds, in
// MoqTransfork it is a track.
type clock struct {
	*environment
	dialFlags
	name string
}

// The parts of a time as moq-clock writes them.
const (
	// clockTrack is the track of a clock that is a broadcast.
	clockTrack = "seconds"

	clockBase   = "2006-01-02 15:04:"
	clockSecond = "05"
)

func newClock(env *environment) *cobra.Command {
	c := &clock{environment: env}
	cmd := &cobra.Command{
		Use:   "clock",
		Short: "Publish the time, or show one that is published",
		Example: `  moq clock pub http://localhost:4443
  moq clock sub http://localhost:4443`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misused("\"moq clock pub URL\" or \"moq clock sub URL\"", "moq clock: pub or sub is missing")
			}
			return unknownCommand(cmd, args[0])
		},
	}
	pub := &cobra.Command{
		Use:   "pub URL",
		Short: "Publish the time",
		Example: `  moq clock pub http://localhost:4443
  moq clock pub https://relay.example.com --name demo/clock`,
		Args: wantArgs(1, "the URL of a relay"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.publish(cmd.Context(), args[0]) },
	}
	sub := &cobra.Command{
		Use:   "sub URL",
		Short: "Show a time that is published, a line per second",
		Example: `  moq clock sub http://localhost:4443
  moq clock sub https://relay.example.com --name demo/clock`,
		Args: wantArgs(1, "the URL of a relay"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.watch(cmd.Context(), args[0]) },
	}
	for _, sub := range []*cobra.Command{pub, sub} {
		sub.Flags().StringVar(&c.name, "name", "clock", "`NAME` of the track, parts separated by /")
		c.register(sub.Flags())
	}
	cmd.AddCommand(pub, sub)
	return cmd
}

func (c *clock) path() (moq.Path, error) {
	path := moq.ParsePath(c.name)
	if path.Len() == 0 {
		return path, misused("leave it out for \"clock\"", "--name %q: names nothing", c.name)
	}
	return path, nil
}

// publish publishes the time until ctx is done.
func (c *clock) publish(ctx context.Context, url string) error {
	path, err := c.path()
	if err != nil {
		return err
	}
	conn, err := c.connect(ctx, url, nil, moq.Path{})
	if err != nil {
		return err
	}
	defer conn.close()
	track := moq.NewTrack(moq.TrackConfig{Path: path, Info: moq.Info{Priority: moq.DefaultPriority}, Budget: conn.budget})
	t := &ticking{track: track, minute: -1}
	if err := t.tick(time.Now()); err != nil {
		return err
	}
	for _, path := range clockPaths(path, conn) {
		_, err = conn.out.Announce(origin.Announcement{Path: path, Kind: origin.Track, Class: origin.Local, Source: t})
		if err != nil {
			return err
		}
	}
	show := c.screen()
	show.Note("%s > %s   %s", show.Strong(path.String()), conn.peer(), conn.endpoint.way())
	shown, hide := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	start := time.Now()
	go func() { defer close(done); show.Run(shown, func() string { return t.status(show, time.Since(start)) }) }()
	err = t.run(ctx, conn)
	hide()
	<-done
	if err == nil {
		t.end()
		err = conn.deliver(ctx, []*moq.Track{track}, path)
	}
	return err
}

// clockPaths are the tracks that a clock is published as: that of a broadcast and,
// where those who are used to it can see it, the one that is just the name.
func clockPaths(name moq.Path, conn *client) []moq.Path {
	if conn.endpoint.spoken == protocols.MoqTransfork {
		return []moq.Path{name, name.Append(clockTrack)}
	}
	return []moq.Path{name.Append(clockTrack)}
}

// ticking is a clock being published. It is the source of its one track.
type ticking struct {
	track *moq.Track
	group *moq.GroupWriter
	// minute is that of the running group, since the first one; -1 before it.
	minute  int64
	started int64 // the first minute, in minutes since 1970
	base    int64 // number of the first group
}

// Track returns the track.
func (t *ticking) Track(path moq.Path) (*moq.Track, error) {
	name := t.track.Path()
	if path != name && path != name.Append(clockTrack) {
		return nil, moq.ErrNotFound
	}
	return t.track, nil
}

// run ticks at every full second.
func (t *ticking) run(ctx context.Context, conn *client) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		timer.Reset(now.Truncate(time.Second).Add(time.Second).Sub(now))
		select {
		case now := <-timer.C:
			if err := t.tick(now); err != nil {
				return err
			}
		case <-conn.ended:
			return conn.lostFailure()
		case <-ctx.Done():
			return nil
		}
	}
}

// tick publishes a second. Groups are numbered as moq-clock does: from the minute
// of the hour it starts in, without starting over at 60.
func (t *ticking) tick(now time.Time) error {
	now = now.UTC()
	minute := now.Unix() / 60
	if t.minute < 0 {
		t.started, t.base = minute, int64(now.Minute())
	}
	if minute-t.started > t.minute {
		if t.group != nil {
			if err := t.group.Finish(); err != nil {
				return err
			}
		}
		t.minute = minute - t.started
		group, err := t.track.CreateGroup(uint64(t.base + t.minute))
		if err != nil {
			return err
		}
		t.group = group
		if err := group.WriteFrame([]byte(now.Format(clockBase))); err != nil {
			return err
		}
	}
	return t.group.WriteFrame([]byte(now.Format(clockSecond)))
}

// end ends the running minute and the track.
func (t *ticking) end() {
	_ = t.group.Finish() // it was whole or is aborted already
	t.track.End(moq.ErrEnded)
}

func (t *ticking) status(show *screen.Screen, running time.Duration) string {
	subscribed := "no"
	if d, _ := t.track.Demand(); d.Subscribers > 0 {
		subscribed = "yes"
	}
	return fmt.Sprintf("%s %s   subscribed %s", show.Good("live"), screen.Elapsed(running), subscribed)
}

// watch shows the time until the track ends or ctx is done.
func (c *clock) watch(ctx context.Context, url string) error {
	name, err := c.path()
	if err != nil {
		return err
	}
	// A relay of moq-lite tells of a clock that is a track as of the broadcast above.
	conn, err := c.connect(ctx, url, origin.NewTable(), name.Parent())
	if err != nil {
		return err
	}
	defer conn.close()
	w := conn.in.Watch(name.Parent(), nil)
	defer w.Close()
	waiting, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer context.AfterFunc(conn.conn.Context(), cancel)()
	for {
		e, err := w.Next(waiting)
		switch {
		case ctx.Err() != nil:
			return errInterrupted
		case isClosed(conn.ended):
			return conn.lostFailure()
		case err != nil:
			return failed(fmt.Errorf("subscribe %q: not announced at %s within %v", name, conn.peer(), c.timeout),
				"\"moq announced %s\" lists what is", url)
		case e.Type != origin.Active:
			continue
		}
		for _, path := range tracksOfClock(e.Announcement, name) {
			ticked, err := c.show(ctx, conn, path)
			switch {
			case ctx.Err() != nil, errors.Is(err, moq.ErrEnded):
				return nil
			case ticked:
				return failed(fmt.Errorf("%q broke off: %w", name, err), "is the publisher running?")
			case isClosed(conn.ended):
				return conn.lostFailure()
			}
		}
	}
}

// tracksOfClock are the tracks that a clock may be, going by an announcement. A
// relay of MoqTransfork tells a broadcast of another protocol by its path.
func tracksOfClock(a origin.Announcement, name moq.Path) []moq.Path {
	switch {
	case a.Path == name && a.Kind == origin.Broadcast:
		return []moq.Path{name.Append(clockTrack)}
	case a.Path == name:
		return []moq.Path{name, name.Append(clockTrack)}
	case a.Path == name.Parent() && a.Kind == origin.Broadcast:
		return []moq.Path{name}
	case a.Path == name.Append(clockTrack):
		return []moq.Path{a.Path}
	default:
		return nil
	}
}

// show shows the time of a track until that ends or ctx is done, and tells
// whether any came.
func (c *clock) show(ctx context.Context, conn *client, path moq.Path) (ticked bool, err error) {
	track, err := conn.session.Track(path)
	if err != nil {
		return false, err
	}
	sub, err := track.Subscribe(moq.SubscribeOptions{Priority: moq.DefaultPriority, Order: moq.Ascending})
	if err != nil {
		return false, err
	}
	defer sub.Close()
	for {
		group, err := sub.Next(ctx)
		if err == nil {
			ticked = true
			err = c.print(ctx, group)
		}
		if err != nil {
			return ticked, err
		}
	}
}

// print shows the seconds of a minute. A group that breaks off is left.
func (c *clock) print(ctx context.Context, group *moq.GroupReader) error {
	defer group.Close()
	base, err := group.NextFrame(ctx)
	for err == nil {
		var second []byte
		if second, err = group.NextFrame(ctx); err == nil {
			_, err = fmt.Fprintf(c.stdout, "%s%s\n", base, second)
			if err != nil {
				return err
			}
		}
	}
	if errors.Is(err, io.EOF) || ctx.Err() == nil {
		return nil
	}
	return err
}
