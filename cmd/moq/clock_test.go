package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// Groups and frames are those of moq-clock 0.5.12: a group per minute, numbered
// from the minute of the hour without starting over.
func TestClockGroups(t *testing.T) {
	c := &ticking{track: moq.NewTrack(moq.TrackConfig{Path: moq.NewPath("clock"), Retention: time.Hour}), minute: -1}
	zero := uint64(0)
	sub, err := c.track.Subscribe(moq.SubscribeOptions{Order: moq.Ascending, Start: &zero})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 9, 59, 58, 0, time.FixedZone("", 3600))
	for range 65 {
		if err := c.tick(now); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	c.end()
	var got []string
	for {
		group, err := sub.Next(context.Background())
		if errors.Is(err, moq.ErrEnded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprint(group.Sequence())
		for frame, err := group.NextFrame(context.Background()); err == nil; frame, err = group.NextFrame(context.Background()) {
			line += " " + string(frame)
		}
		group.Close()
		got = append(got, line[:min(len(line), 30)])
	}
	want := []string{"59 2026-11-23 08:59: 58 59", "60 2026-11-23 09:00: 00 01 02 ", "61 2026-11-23 09:01: 00 01 02"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// A clock ticks through a relay: the running minute at once, then every second,
// and its end ends the subscriber.
func TestClock(t *testing.T) {
	url := "http://" + startRelay(t)
	pub := start(t, nil, "clock", "pub", url)
	list := start(t, nil, "announced", url, "--json")
	list.awaitOutput(&list.stdout, "clock")
	sub := start(t, nil, "clock", "sub", url)
	tick := regexp.MustCompile(`^2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d$`)
	for {
		text, more := sub.stdout.watch()
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) < 3 {
			<-more
			continue
		}
		for _, line := range lines {
			if !tick.MatchString(line) {
				t.Errorf("tick %q", line)
			}
		}
		break
	}
	pub.interrupt(exitDone)
	sub.wait(exitDone)
	list.awaitOutput(&list.stdout, "withdrawn")
	list.interrupt(exitDone)
	first, _, _ := strings.Cut(list.stdout.String(), "\n")
	var line announcedLine
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatal(err)
	}
	line.Time = time.Time{}
	want := announcedLine{Event: "announced", Name: "clock", Path: []string{"clock"}, Kind: "broadcast", Relay: strings.TrimPrefix(url, "http://")}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}

	lost := start(t, nil, "clock", "sub", url, "--timeout", "100ms").wait(exitFailed)
	if problem, _ := twoLines(t, lost.stderr.String()); !strings.Contains(problem, "not announced") {
		t.Errorf("without a publisher: %s", problem)
	}
}
