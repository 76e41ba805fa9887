package playout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A scene drives a buffer of two tracks, v and a, from a script of one step per
// word: "v1.2" is frame 2 of group 1 of v, "v1(" opens the group, "v1)" ends it
// whole, "v1!" ends it broken, "v-2-3" loses groups, "v$" ends the track,
// "+100" lets milliseconds pass. What comes out after each step is collected.
// Timestamps are the group times 100 plus the frame.
type scene struct {
	b   *Buffer
	now time.Time
	out []string
}

func play(limit int, script string) *scene {
	s := &scene{b: New(2, 500*time.Millisecond, limit), now: time.Unix(1000, 0)}
	for step := range strings.FieldsSeq(script) {
		s.step(step)
		s.collect()
	}
	return s
}

func (s *scene) step(step string) {
	if step[0] == '+' {
		var ms int
		fmt.Sscanf(step, "+%d", &ms)
		s.now = s.now.Add(time.Duration(ms) * time.Millisecond)
		return
	}
	track := strings.IndexByte("va", step[0])
	rest := step[1:]
	var g, n uint64
	switch {
	case rest == "$":
		s.b.End(track)
	case rest[0] == '-':
		fmt.Sscanf(rest, "-%d-%d", &g, &n)
		s.b.Lose(track, g, n)
	case strings.HasSuffix(rest, "("):
		fmt.Sscanf(rest, "%d", &g)
		s.b.Open(track, g, s.now)
	case strings.HasSuffix(rest, ")"), strings.HasSuffix(rest, "!"):
		fmt.Sscanf(rest, "%d", &g)
		s.b.Close(track, g, strings.HasSuffix(rest, ")"))
	default:
		fmt.Sscanf(rest, "%d.%d", &g, &n)
		s.b.Push(Frame{Track: track, Group: g, Micros: g*100 + n, Data: make([]byte, 10), Arrived: s.now})
	}
}

func (s *scene) collect() {
	for {
		f, ok, wake := s.b.Next(s.now)
		if !ok {
			if !wake.IsZero() && !wake.After(s.now) {
				s.out = append(s.out, "busy loop")
			}
			return
		}
		first := ""
		if f.First {
			first = "*"
		}
		s.out = append(s.out, fmt.Sprintf("%c%d.%d%s", "va"[f.Track], f.Group, f.Micros%100, first))
	}
}

func TestOrder(t *testing.T) {
	tests := map[string]struct {
		reason string
		script string
		limit  int
		want   string
		video  Stats
	}{
		"Interleaved": {
			reason: "Frames are given out by timestamp once both tracks have one.",
			script: "v1.0 v1.5 a1.1 a1.6 v1.7 v$ a$",
			want:   "v1.0* a1.1* v1.5 a1.6 v1.7",
			video:  Stats{Frames: 3, Bytes: 30, Groups: 1, Cut: 1},
		},
		"OtherTrackSilent": {
			reason: "A track that says nothing holds the other up once, for the wait, and no longer.",
			script: "v1.0 +499 v1.1 +1 v1.2 v1.3",
			want:   "v1.0* v1.1 v1.2 v1.3",
			video:  Stats{Frames: 4, Bytes: 40, Groups: 1},
		},
		"GroupsOutOfOrder": {
			reason: "A group that overtook waits for the one before it.",
			script: "a$ v1.0 v1) v3.0 v3) +300 v2.0 v2)",
			want:   "v1.0* v2.0* v3.0*",
			video:  Stats{Frames: 3, Bytes: 30, Groups: 3},
		},
		"StartOutOfOrder": {
			reason: "What overtook at the start does not hide what came before it, as long as nothing was given out.",
			script: "v3.0 v1.0 v1) v2.0 v2) a9.0 v0.0 v$ a$",
			want:   "v1.0* v2.0* v3.0* a9.0*",
			video:  Stats{Frames: 3, Bytes: 30, Groups: 3, Cut: 1, Late: 1},
		},
		"GroupLost": {
			reason: "A group that does not come within the wait is counted; when it comes after all it is late.",
			script: "a$ v1.0 v1) v3.0 v3) +500 v2.0 v2) v4.0",
			want:   "v1.0* v3.0* v4.0*",
			video:  Stats{Frames: 3, Bytes: 30, Groups: 3, Lost: 1, Late: 1},
		},
		"ToldLost": {
			reason: "A group that was said to be dropped is not waited for.",
			script: "a$ v1.0 v1) v-2-3 v5.0 +10 v-4-4",
			want:   "v1.0* v5.0*",
			video:  Stats{Frames: 2, Bytes: 20, Groups: 2, Lost: 3},
		},
		"ToldBefore": {
			reason: "Drops of what came before the start do not count.",
			script: "a$ v-1-3 v4.0",
			want:   "v4.0*",
			video:  Stats{Frames: 1, Bytes: 10, Groups: 1},
		},
		"GroupStalls": {
			reason: "A group that stalls while a newer one runs is left after the wait.",
			script: "a$ v1.0 v2.0 +499 v1.1 v2.1 +2 v1.2",
			want:   "v1.0* v1.1 v2.0* v2.1",
			video:  Stats{Frames: 4, Bytes: 40, Groups: 2, Cut: 1, Late: 1},
		},
		"GroupBreaksOff": {
			reason: "What came of a broken group is given out, then the next one at once.",
			script: "a$ v1.0 v1! v2.0 v2)",
			want:   "v1.0* v2.0*",
			video:  Stats{Frames: 2, Bytes: 20, Groups: 2, Cut: 1},
		},
		"EmptyGroup": {
			reason: "A group without a frame is lost.",
			script: "a$ v1( v1) v2.0",
			want:   "v2.0*",
			video:  Stats{Frames: 1, Bytes: 10, Groups: 1, Lost: 1},
		},
		"Full": {
			reason: "Nothing is waited for when the buffer is full.",
			script: "v1.0 v1) v3.0 v3.1 v3.2",
			limit:  25,
			want:   "v1.0* v3.0* v3.1 v3.2",
			video:  Stats{Frames: 4, Bytes: 40, Groups: 2, Lost: 1},
		},
		"End": {
			reason: "At the end everything comes out at once.",
			script: "a1.0 v1.0 v4.0 v$ a$",
			want:   "v1.0* a1.0* v4.0*",
			video:  Stats{Frames: 2, Bytes: 20, Groups: 2, Lost: 2, Cut: 2},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			limit := tt.limit
			if limit == 0 {
				limit = 1 << 20
			}
			s := play(limit, tt.script)
			if got := strings.Join(s.out, " "); got != tt.want {
				t.Errorf("%s\nwant %s\ngot  %s", tt.reason, tt.want, got)
			}
			if diff := cmp.Diff(tt.video, s.b.Stats(0)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
			if s.b.Bytes() != 0 {
				t.Errorf("%d bytes are held", s.b.Bytes())
			}
		})
	}
}

func TestDone(t *testing.T) {
	s := play(1<<20, "v1.0 a1.0 v$")
	if s.b.Done() {
		t.Error("done although a track goes on")
	}
	s.step("a$")
	s.collect()
	if !s.b.Done() {
		t.Error("not done")
	}
}
