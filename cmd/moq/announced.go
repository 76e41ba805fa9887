package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/hang"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/karp"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// announced is the command that lists announcements.
type announced struct {
	*environment
	dialFlags
	all  bool
	json bool

	listed map[moq.Path]*listing // broadcasts by name
}

// listing is what is announced of one name now.
type listing struct {
	numbered int  // broadcasts in the layout of karp
	shown    bool // the one that is just the name
}

func newAnnounced(env *environment) *cobra.Command {
	a := &announced{environment: env, listed: make(map[moq.Path]*listing)}
	cmd := &cobra.Command{
		Use:   "announced URL [PREFIX]",
		Short: "List what is announced and withdrawn, as it happens",
		Long: `List what is announced and withdrawn, as it happens, until interrupted.

A broadcast is one line. In the layout of karp it has a number, which grows when
the publisher comes back. In MoqTransfork tracks are announced, and those that are
not of a broadcast of video and audio are a line each; in moq-lite broadcasts are,
and nobody tells their tracks.`,
		Example: `  moq announced http://localhost:4443
  moq announced http://localhost:4443 demo --json`,
		Args: wantArgs(2, "URL and PREFIX"),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := moq.Path{}
			if len(args) == 2 {
				prefix = moq.ParsePath(args[1])
			}
			return a.run(cmd.Context(), args[0], prefix)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&a.all, "tracks", false, "list every track of a broadcast")
	fs.BoolVar(&a.json, "json", false, "write JSON, an object per line")
	a.register(fs)
	return cmd
}

func (a *announced) run(ctx context.Context, url string, prefix moq.Path) error {
	c, err := a.connect(ctx, url, origin.NewTable(), prefix)
	if err != nil {
		return err
	}
	defer c.close()
	watching, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(ctx, func() { stop(nil) })()
	go func() { // ends with the session, which close waits for
		<-c.ended
		stop(errSessionEnded)
	}()
	show := a.screen()
	if !a.json {
		show.Note("announced at %s   %s   Ctrl-C ends", show.Strong(c.peer()), c.endpoint.way())
	}
	w := c.in.Watch(prefix, nil)
	defer w.Close()
	for {
		e, err := w.Next(watching)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return c.lostFailure()
		case e.Type == origin.Live, e.Type == origin.Updated:
			continue
		}
		line, ok := a.line(e, c, time.Now())
		if !ok {
			continue
		}
		if err := line.write(a.stdout, a.json); err != nil {
			return failed(fmt.Errorf("write: %w", err), "")
		}
	}
}

// announcedLine is a line of the list. Its JSON fields are only ever added.
type announcedLine struct {
	Event string    `json:"event"` // announced or withdrawn
	Time  time.Time `json:"time"`
	Name  string    `json:"name"`  // what --name takes
	Path  []string  `json:"path"`  // of the track, or of the broadcast
	Kind  string    `json:"kind"`  // broadcast or track
	ID    uint64    `json:"id"`    // of a broadcast, else 0
	Relay string    `json:"relay"` // that told it
}

// line makes a line of an event; false if it is not to be shown.
func (a *announced) line(e origin.Event, c *client, now time.Time) (announcedLine, bool) {
	path := e.Announcement.Path
	l := announcedLine{
		Event: "announced", Time: now, Name: path.String(), Path: path.Parts(),
		Kind: e.Announcement.Kind.String(), Relay: c.peer(),
	}
	if e.Type == origin.Ended {
		l.Event = "withdrawn"
	}
	if a.all {
		return l, true
	}
	broadcast, part := hang.Split(path)
	if e.Announcement.Kind == origin.Broadcast {
		broadcast, part = path, karp.CatalogPart
	}
	if part == karp.NoPart {
		return l, true
	}
	name := broadcast
	if id, ok := karp.ID(broadcast); ok && id >= firstID {
		l.ID, name = id, broadcast.Parent()
	}
	l.Name, l.Path, l.Kind = name.String(), broadcast.Parts(), origin.Broadcast.String()
	return l, part == karp.CatalogPart && a.list(name, l.ID != 0, e.Type == origin.Active)
}

// firstID is the least number that is taken for one of a broadcast in the layout
// of karp, which is the time at which it began: in 2001.
const firstID = 1_000_000_000

// list notes a broadcast and tells whether to show it: one that is there in both
// layouts is shown once, with its number.
func (a *announced) list(name moq.Path, isNumbered, active bool) bool {
	n := a.listed[name]
	if n == nil {
		n = &listing{}
		a.listed[name] = n
	}
	switch {
	case isNumbered && active:
		n.numbered++
		return true
	case isNumbered:
		n.numbered--
		return true
	case active:
		n.shown = n.numbered == 0
		return n.shown
	default:
		was := n.shown
		n.shown = false
		return was
	}
}

func (l announcedLine) write(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(l)
	}
	sign := "+"
	if l.Event == "withdrawn" {
		sign = "-"
	}
	suffix := ""
	if l.ID != 0 {
		suffix = fmt.Sprintf("   #%d", l.ID)
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s   %s%s\n", l.Time.Format(time.TimeOnly), sign, l.Name, l.Relay, suffix)
	return err
}
