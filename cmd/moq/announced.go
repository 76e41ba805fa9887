package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

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
}

func newAnnounced(env *environment) *cobra.Command {
	a := &announced{environment: env}
	cmd := &cobra.Command{
		Use:   "announced URL [PREFIX]",
		Short: "List what is announced and withdrawn, as it happens",
		Long: `List what is announced and withdrawn, as it happens, until interrupted.

A broadcast of video and audio is one line, with its number, which grows when the
publisher comes back; other tracks are a line each.`,
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
		show.Note("announced at %s   %s   Ctrl-C ends", show.Strong(c.peer()), c.endpoint.carrier())
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
		case e.Type == origin.Live:
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
	broadcast, part := karp.Split(path)
	if a.all || part == karp.NoPart {
		return l, true
	}
	l.ID, _ = karp.ID(broadcast)
	l.Name, l.Path, l.Kind = broadcast.Parent().String(), broadcast.Parts(), origin.Broadcast.String()
	return l, part == karp.CatalogPart
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
