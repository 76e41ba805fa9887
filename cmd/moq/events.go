package main

import (
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/follow"
	"github.com/moqrelay/moqrelay/relay/moq"
)

// sessionEvent is what sub --json and pub --json say of the way to a relay.
// Fields are only ever added.
type sessionEvent struct {
	Event string    `json:"event"` // session
	State string    `json:"state"` // connected, leaving or lost
	URL   string    `json:"url"`
	Relay string    `json:"relay"` // its name, or where it was reached
	At    time.Time `json:"at"`
	Error string    `json:"error"` // why it is lost
}

// groupEvent is what sub --json says of a group that has come. Fields are only
// ever added.
type groupEvent struct {
	Event    string    `json:"event"` // group
	Track    string    `json:"track"`
	Group    uint64    `json:"group"`
	Frames   int       `json:"frames"`
	Bytes    int       `json:"bytes"`    // of its frames
	Complete bool      `json:"complete"` // it came whole
	At       time.Time `json:"at"`       // of its last frame, or of its end if it has none
	// LongestGapSeconds is the longest time between two frames of the track, since
	// the group event before.
	LongestGapSeconds float64 `json:"longestGapSeconds"`
}

// trackEvent is what sub --json says of a track that comes no further. Fields are
// only ever added.
type trackEvent struct {
	Event string    `json:"event"` // track
	Track string    `json:"track"`
	State string    `json:"state"` // ended
	At    time.Time `json:"at"`
	Error string    `json:"error"` // why, empty if the publisher has ended it
}

// eventLog writes events as JSON, an object per line. Its methods are for any
// goroutine; a nil one writes nothing.
type eventLog struct {
	mu  sync.Mutex
	out *json.Encoder
}

func newEventLog(w io.Writer) *eventLog { return &eventLog{out: json.NewEncoder(w)} }

func (l *eventLog) write(event any) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.out.Encode(event) // nobody is left to tell
}

// session writes what became of a relay.
func (l *eventLog) session(url string, e follow.Event) {
	event := sessionEvent{Event: "session", State: string(e.State), URL: url, Relay: e.Relay.(*client).peer(), At: e.At.UTC()}
	if e.Err != nil {
		event.Error = e.Err.Error()
	}
	l.write(event)
}

// groupLog turns the arrivals of one broadcast into group events. It is for one
// goroutine.
type groupLog struct {
	log    *eventLog
	tracks []groupsOfTrack
}

// groupsOfTrack is what a groupLog knows of a track.
type groupsOfTrack struct {
	name    string
	open    map[uint64]*groupEvent
	last    time.Time     // of the last frame
	longest time.Duration // between two frames, since the last event
}

func newGroupLog(l *eventLog, sources []source) *groupLog {
	g := &groupLog{log: l}
	for _, s := range sources {
		g.tracks = append(g.tracks, groupsOfTrack{name: s.path.Last(), open: make(map[uint64]*groupEvent)})
	}
	return g
}

// note takes an arrival.
func (g *groupLog) note(a arrival) {
	if g.log == nil {
		return
	}
	t := &g.tracks[a.track]
	switch a.kind {
	case groupBegan:
		t.open[a.group] = &groupEvent{Event: "group", Track: t.name, Group: a.group}
	case frameCame:
		if e, ok := t.open[a.group]; ok {
			e.Frames++
			e.Bytes += len(a.data)
			e.At = a.at.UTC()
		}
		if !t.last.IsZero() {
			t.longest = max(t.longest, a.at.Sub(t.last))
		}
		t.last = a.at
	case groupEnded, groupBroken:
		e, ok := t.open[a.group]
		if !ok {
			return
		}
		delete(t.open, a.group)
		if e.Frames == 0 {
			e.At = a.at.UTC()
		}
		e.Complete = a.kind == groupEnded
		e.LongestGapSeconds, t.longest = t.longest.Seconds(), 0
		g.log.write(e)
	case trackEnded:
		e := trackEvent{Event: "track", Track: t.name, State: "ended", At: a.at.UTC()}
		if !errors.Is(a.err, moq.ErrEnded) {
			e.Error = a.err.Error()
		}
		g.log.write(e)
	case groupsLost: // no group came
	}
}
