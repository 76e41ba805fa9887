package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Without --output, sub --json says on standard output what becomes of its
// relays and which groups come, an object per line, and writes no media.
func TestSubEvents(t *testing.T) {
	url := "http://" + startRelay(t)
	file := exampleFile(t, shortClip)
	sub := start(t, nil, "sub", url, "--name", "test/events", "--json", "--jitter", "10s")
	start(t, nil, "pub", url, "--name", "test/events", file, "--quiet").wait(exitDone)
	sub.wait(exitDone)

	type line struct {
		Event, State, Relay, Error, Track string
		URL                               string
		Group, Frames, Bytes              int
		Complete                          bool
		LongestGapSeconds                 float64
		At                                time.Time
	}
	var sessions, ends, video []line
	decoder := json.NewDecoder(strings.NewReader(sub.stdout.String()))
	decoder.DisallowUnknownFields()
	for decoder.More() {
		var l line
		if err := decoder.Decode(&l); err != nil {
			t.Fatalf("%v in\n%s", err, sub.stdout.String())
		}
		if age := time.Since(l.At); age < 0 || age > time.Minute {
			t.Errorf("%+v was %v ago", l, age)
		}
		switch {
		case l.Event == "session":
			sessions = append(sessions, line{Event: l.Event, State: l.State, URL: l.URL})
		case l.Event == "track":
			ends = append(ends, line{Track: l.Track, State: l.State, Error: l.Error})
		case l.Track == "video1":
			if l.LongestGapSeconds <= 0 || l.Bytes == 0 {
				t.Errorf("group without a gap or bytes: %+v", l)
			}
			video = append(video, line{Event: l.Event, Track: l.Track, Group: l.Group, Frames: l.Frames, Complete: l.Complete})
		}
	}
	if diff := cmp.Diff([]line{{Event: "session", State: "connected", URL: url}}, sessions); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
	slices.SortFunc(ends, func(a, b line) int { return strings.Compare(a.Track, b.Track) })
	if diff := cmp.Diff([]line{{Track: "audio2", State: "ended"}, {Track: "video1", State: "ended"}}, ends); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
	frames := 0
	for i, l := range video {
		frames += l.Frames
		if l.Event != "group" || l.Group != i || !l.Complete {
			t.Errorf("group %d: %+v", i, l)
		}
	}
	if want := len(parseMovie(t, shortClip).Samples[1]); frames != want || len(video) != 2 {
		t.Errorf("%d frames in %d groups, want %d in 2", frames, len(video), want)
	}
	if !strings.Contains(sub.stderr.String(), `"event":"ended"`) {
		t.Errorf("progress: %q", sub.stderr.String())
	}
}
