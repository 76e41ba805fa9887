package suite

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// at is a moment of these tests, in milliseconds after their start.
func at(ms int) time.Time {
	return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

func TestLoss(t *testing.T) {
	group := func(track string, number uint64, ms int, gap float64) arrival {
		return arrival{Track: track, Group: number, Complete: true, At: at(ms), LongestGapSeconds: gap}
	}
	broken := func(a arrival) arrival { a.Complete = false; return a }
	single := func(a arrival) arrival { a.Frames = 1; return a }
	tests := map[string]struct {
		reason   string
		arrivals []arrival
		want     Loss
	}{
		"Nothing": {
			reason: "a watcher that came later lost nothing",
		},
		"Whole": {
			reason: "groups in order lose nothing, the gap is that between frames",
			arrivals: []arrival{
				group("video", 1, 900, .04), group("video", 2, 1700, .05), group("video", 3, 2000, .03),
			},
			want: Loss{Gap: 50 * time.Millisecond},
		},
		"Missing": {
			reason: "numbers that never came are lost, and the silence is as long as the watcher says",
			arrivals: []arrival{
				group("video", 1, 900, .04), group("video", 4, 2000, .7),
			},
			want: Loss{Groups: 2, Gap: 700 * time.Millisecond},
		},
		"Broken": {
			reason: "a group that broke off is lost",
			arrivals: []arrival{
				group("video", 1, 900, .04), broken(group("video", 2, 1200, .04)), group("video", 3, 2000, .04),
			},
			want: Loss{Groups: 1, Gap: 40 * time.Millisecond},
		},
		"BrokenThenWhole": {
			reason: "one that broke off and came again is not",
			arrivals: []arrival{
				group("video", 1, 900, .04), broken(group("video", 2, 1200, .04)), group("video", 2, 1400, .2), group("video", 3, 2000, .04),
			},
			want: Loss{Gap: 200 * time.Millisecond},
		},
		"Late": {
			reason: "a group that is overtaken by the next is not lost",
			arrivals: []arrival{
				group("audio", 1, 900, .02), group("audio", 3, 1400, .03), group("audio", 2, 1500, .02), group("audio", 4, 2000, .02),
			},
			want: Loss{Gap: 30 * time.Millisecond},
		},
		"Reconnected": {
			reason: "between groups of one frame the gap is that of their times, whatever the watcher forgot",
			arrivals: []arrival{
				single(group("audio", 1, 900, .02)), single(group("audio", 40, 1800, .02)), single(group("audio", 41, 2000, .02)),
			},
			want: Loss{Groups: 38, Gap: 900 * time.Millisecond},
		},
		"Silence": {
			reason:   "what has not ended counts until now",
			arrivals: []arrival{group("video", 1, 900, .04), group("video", 2, 1200, .04)},
			want:     Loss{Gap: 800 * time.Millisecond},
		},
		"Before": {
			reason: "what was lost before belongs to the event before",
			arrivals: []arrival{
				group("video", 1, 100, .04), group("video", 5, 900, 2), group("video", 6, 2000, .04),
			},
			want: Loss{Gap: 40 * time.Millisecond},
		},
		"Joined": {
			reason: "a watcher that joins in the stretch misses nothing of what was before",
			arrivals: []arrival{
				group("video", 7, 1200, .04), group("video", 9, 2000, .04),
			},
			want: Loss{Groups: 1, Gap: 40 * time.Millisecond},
		},
		"Tracks": {
			reason: "groups of all tracks add up, the longest gap counts",
			arrivals: []arrival{
				group("video", 1, 900, .04), group("video", 3, 2000, .9),
				group("audio", 1, 900, .02), group("audio", 4, 2000, .3),
			},
			want: Loss{Groups: 3, Gap: 900 * time.Millisecond},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMeter()
			for _, a := range tt.arrivals {
				m.record(a)
			}
			if diff := cmp.Diff(tt.want, m.loss(at(1000), at(2000))); diff != "" {
				t.Errorf("%s: loss (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestMeterReads(t *testing.T) {
	m := newMeter()
	err := m.read(strings.NewReader(`{"event":"session","state":"connected","url":"https://a","at":"2026-01-01T12:00:00Z"}
{"event":"group","track":"video1","group":4,"frames":24,"bytes":1,"complete":true,"at":"2026-01-01T12:00:01.5Z","longestGapSeconds":0.04}
{"event":"group","track":"audio2","group":9,"frames":1,"bytes":1,"complete":true,"at":"2026-01-01T12:00:01.5Z","longestGapSeconds":0.02}
{"event":"track","track":"audio2","state":"ended","at":"2026-01-01T12:00:01.6Z","error":"cancelled: so"}
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.flowing(at(1000), 1); err != nil {
		t.Errorf("flowing: %v", err)
	}
	delete(m.tracks, "video1")
	m.tracks["video2"] = m.tracks["audio2"]
	if err := m.flowing(at(1500), 1); err == nil || !strings.Contains(err.Error(), "has ended: cancelled: so") {
		t.Errorf("after the last group: %v, want why it is the last", err)
	}
	if got := m.tail(5); len(got) != 1 || got[0].State != "connected" {
		t.Errorf("turns %v, want one that connected", got)
	}
	if m.read(strings.NewReader("panic: x\n")) == nil {
		t.Error("a line that is no object was read")
	}
}
