package origin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// TestBroadcasts: tracks that are announced one by one are told as the broadcast
// above them, once, for as long as there is one.
func TestBroadcasts(t *testing.T) {
	table := NewTable()
	b := table.WatchBroadcasts(moq.ParsePath("demo"), nil)
	defer b.Close()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	told := func() string {
		var all []string
		for {
			e, err := b.Next(done)
			if err != nil {
				return strings.Join(all, " ")
			}
			if e.Type == Live {
				continue
			}
			if e.Announcement.Kind != Broadcast {
				t.Errorf("%v of a %v", e.Type, e.Announcement.Kind)
			}
			all = append(all, fmt.Sprintf("%v:%v:%v", e.Type, e.Announcement.Path, e.Announcement.Hops))
		}
	}
	want := func(what, want string) {
		t.Helper()
		if got := told(); got != want {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}
	one := announcement(t, "client track demo/cam/video")
	two := announcement(t, "client track demo/cam/audio")
	two.Source = one.Source
	video, err := table.Announce(one)
	if err != nil {
		t.Fatal(err)
	}
	want("the first track", "active:demo/cam:[]")
	audio, err := table.Announce(two)
	if err != nil {
		t.Fatal(err)
	}
	want("the second one", "")
	video.Withdraw()
	want("the first is gone", "")
	cam := announce(t, table, "peer broadcast demo/cam x")
	want("another has the same as a broadcast", "")
	audio.Withdraw()
	want("the other takes over", "ended:demo/cam:[] active:demo/cam:[120]")
	cam.Withdraw()
	want("nobody has it", "ended:demo/cam:[120]")
	announce(t, table, "client track demo")
	want("a track of a broadcast above the prefix", "")
	announce(t, table, "client broadcast demo")
	want("a broadcast at the prefix", "active:demo:[]")
	if len(b.known) != 1 {
		t.Errorf("%d broadcasts are remembered", len(b.known))
	}
}

// TestBroadcastsHoldLittle: a broadcast with one route, as nearly all are, costs no
// map of its own.
func TestBroadcastsHoldLittle(t *testing.T) {
	table := NewTable()
	const paths = 1000
	for i := range paths {
		announce(t, table, fmt.Sprint("client broadcast demo/", i))
	}
	allocs := testing.AllocsPerRun(10, func() {
		b := table.WatchBroadcasts(moq.Path{}, nil)
		defer b.Close()
		for {
			if e, err := b.Next(t.Context()); err != nil || e.Type == Live {
				return
			}
		}
	})
	// The item and the list element of the watch, the broadcast, and its event.
	if perPath := allocs / paths; perPath > 4.2 {
		t.Errorf("%.1f allocations per path", perPath)
	}
}

// TestReachable: the longest broadcast above the prefix is told as one at the
// prefix, until a longer one comes.
func TestReachable(t *testing.T) {
	table := NewTable()
	top := announce(t, table, "peer broadcast demo t")
	announce(t, table, "client track demo/cam") // by this demo has a track and no more
	b := table.WatchReachable(moq.ParsePath("demo/cam/front"), nil)
	defer b.Close()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	want := func(what, want string) {
		t.Helper()
		var all []string
		for {
			e, err := b.Next(done)
			if err != nil {
				break
			}
			if e.Type != Live {
				all = append(all, fmt.Sprintf("%v:%v:%v", e.Type, e.Announcement.Path, e.Announcement.Hops))
			}
		}
		if got := strings.Join(all, " "); got != want {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}
	want("one far above", "active:demo/cam/front:[116]")
	cam := announce(t, table, "peer broadcast demo/cam c")
	want("a longer one", "ended:demo/cam/front:[116] active:demo/cam/front:[99]")
	everything := announce(t, table, "peer broadcast / r")
	want("a shorter one", "")
	front := announce(t, table, "peer track demo/cam/front/video f")
	want("one at the prefix", "ended:demo/cam/front:[99] active:demo/cam/front:[102]")
	announce(t, table, "peer broadcast demo/cam/front/left l")
	want("one below", "active:demo/cam/front/left:[108]")
	announce(t, table, "peer broadcast demo/cam/rear r")
	want("one beside", "")
	front.Withdraw()
	want("it is gone", "ended:demo/cam/front:[102] active:demo/cam/front:[99]")
	cam.Withdraw()
	want("the next is gone", "ended:demo/cam/front:[99] active:demo/cam/front:[116]")
	top.Withdraw()
	want("the last but one is gone", "ended:demo/cam/front:[116] active:demo/cam/front:[114]")
	everything.Withdraw()
	want("all are gone", "ended:demo/cam/front:[114]")
	b.Close()
	for path, n := range table.nodes {
		if len(n.below) > 0 {
			t.Errorf("%v is watched still", path)
		}
	}
}

// TestUpdated: another way to the same publisher is told as that, and another
// publisher as an end and a beginning.
func TestUpdated(t *testing.T) {
	table := NewTable()
	w := table.Watch(moq.Path{}, nil)
	defer w.Close()
	done, cancel := context.WithCancel(t.Context())
	cancel()
	want := func(what string, want ...string) {
		t.Helper()
		var got []string
		for {
			e, err := w.Next(done)
			if err != nil {
				break
			}
			if e.Type != Live {
				got = append(got, fmt.Sprintf("%v %v", e.Type, e.Announcement.Hops))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}
	long := announce(t, table, "peer broadcast a p,x,y 2")
	want("the first way", "active [112 120 121]")
	short := announce(t, table, "peer broadcast a p,x 1")
	want("a cheaper way to the same", "updated [112 120]")
	other := announce(t, table, "peer broadcast a q,z 0")
	want("a cheaper one of somebody else", []string(nil)...)
	short.Withdraw()
	want("only somebody else is the best", "ended [112 120]", "active [113 122]")
	other.Withdraw()
	want("back to the first", "ended [113 122]", "active [112 120 121]")
	long.Withdraw()
	want("nobody", "ended [112 120 121]")
}
