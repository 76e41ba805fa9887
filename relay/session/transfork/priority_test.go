package transfork

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// urgencies are those of the streams that a session opened, in that order.
type urgencies struct {
	mu  sync.Mutex
	all []string
}

func (u *urgencies) String() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return strings.Join(u.all, ", ")
}

// recorded notes the urgency of every stream.
type recorded struct {
	transport.Conn
	urgencies *urgencies
}

type recordedStream struct {
	transport.SendStream
	id        int
	urgencies *urgencies
}

func (r recorded) OpenUniStream() (transport.SendStream, error) {
	s, err := r.Conn.OpenUniStream()
	r.urgencies.mu.Lock()
	defer r.urgencies.mu.Unlock()
	r.urgencies.all = append(r.urgencies.all, "")
	return &recordedStream{s, len(r.urgencies.all) - 1, r.urgencies}, err
}

func (s *recordedStream) SetPriority(urgency uint8, incremental bool) {
	s.urgencies.mu.Lock()
	defer s.urgencies.mu.Unlock()
	s.urgencies.all[s.id] = fmt.Sprintf("%d %t", urgency, incremental)
	s.SendStream.SetPriority(urgency, incremental)
}

// TestB11Priority: tracks by their priority, the newest group of a newest-first
// track before its older ones.
func TestB11Priority(t *testing.T) {
	var seen urgencies
	bubble(t, func(w *world) {
		w.Wrap = func(c transport.Conn) transport.Conn { return recorded{c, &seen} }
	}, func(w *world) {
		want := func(why string, want ...string) {
			t.Helper()
			settle()
			if got := seen.String(); got != strings.Join(want, ", ") {
				t.Errorf("%s: urgencies are %s, want %s", why, got, strings.Join(want, ", "))
			}
		}
		video, audio := w.Publish("video"), w.Publish("audio")
		p := w.client()
		p.OpenStream("02 00 01 05 766964656f 82 01 00 00 00").Want("82 01 00 00") // priority 2
		for seq := range uint64(5) {
			w.Open(video, seq, "v")
			settle()
		}
		want("only one priority in use", "5 true", "4 true", "3 true", "2 true", "1 true")
		sub := p.OpenStream("02 01 01 05 617564696f 81 00 00 00 00") // priority 1, ascending
		sub.Want("81 00 00 00")
		w.Open(audio, 0, "a")
		w.Open(audio, 1, "a")
		want("the smaller number goes first", "6 true", "5 true", "4 true", "3 true", "2 true", "1 false", "1 false")
		sub.Send("03 00 00 00 00")
		want("priority 3 comes last", "5 true", "4 true", "3 true", "2 true", "1 true", "2 false", "2 false")
		sub.Fin()
		want("and has no effect when it is gone", "5 true", "4 true", "3 true", "2 true", "1 true", "2 false", "2 false")
	})
}

// TestB11Expiry: a group that is older than the subscriber wants is reset.
func TestB11Expiry(t *testing.T) {
	bubble(t, nil, func(w *world) {
		track := w.Publish("clock")
		w.Open(track, 1, "a")
		p := w.client()
		sub := p.OpenStream("02 00 01 05 636c6f636b 80 01 41f4 00 00") // 500 ms
		sub.Want("80 01 41f4 01")
		old := p.AcceptUni("00 00 01 01 61")
		w.Open(track, 2, "b")
		p.AcceptUni("00 00 02 01 62")
		old.WantSilence(400 * time.Millisecond)
		w.Open(track, 3, "c")
		time.Sleep(200 * time.Millisecond)
		w.Open(track, 4, "d")
		old.WantReset(wire.CodeCancel)
		sub.Want("01 00 00")
		w.WantMetric("groups_dropped_total", "reason=stale", 1)
	})
}
