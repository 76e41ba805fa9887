package origin

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// told returns the events that a watch has now, as "active client track a".
func told(t testing.TB, w *Watch) []string {
	t.Helper()
	var events []string
	for !w.idle() {
		i, routes, err := w.pop()
		if err != nil {
			t.Fatal(err)
		}
		if i == nil && w.becomesLive() {
			events = append(events, "live")
		} else if e, ok := w.look(i, routes); ok {
			events = append(events, e.Type.String()+" "+e.Announcement.Source.(*source).name)
		}
	}
	return events
}

// idle tells whether there is nothing to tell.
func (w *Watch) idle() bool {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	return w.live && w.changed.Len() == 0
}

func wantTold(t testing.TB, w *Watch, want ...string) {
	t.Helper()
	if got := told(t, w); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestWatchTellsWhatIsThereThenLive(t *testing.T) {
	table := NewTable()
	for _, s := range []string{"client track a/2", "peer track a/1", "client broadcast a", "client broadcast a/1", "client track b", "client track ab"} {
		announce(t, table, s)
	}
	w := table.Watch(moq.ParsePath("a"), nil)
	defer w.Close()
	wantTold(t, w, "active client track a/2", "active peer track a/1", "active client broadcast a", "active client broadcast a/1", "live")
	announce(t, table, "client track a/3")
	announce(t, table, "client track b/3")
	wantTold(t, w, "active client track a/3")

	empty := table.Watch(moq.ParsePath("x"), nil)
	defer empty.Close()
	wantTold(t, empty, "live")

	seen := table.Watch(moq.Path{}, notPeer)
	defer seen.Close()
	if got := told(t, seen); len(got) != 8 || got[7] != "live" {
		t.Errorf("a watch of all that may be seen is told %q", got)
	}
}

func TestWatchTellsChanges(t *testing.T) {
	table := NewTable()
	w := table.Watch(moq.ParsePath("a"), nil)
	defer w.Close()
	wantTold(t, w, "live")
	registered := make(map[string]*Registration)
	for i, step := range []struct {
		do   string // "+" announces, "-" withdraws, several before the watch looks
		want []string
	}{
		{"+client track a", []string{"active client track a"}},
		{"-client track a", []string{"ended client track a"}},
		{"+client track a|-client track a", nil},
		{"+peer track a x", []string{"active peer track a x"}},
		{"+peer track a y", nil},
		{"-peer track a x", []string{"ended peer track a x", "active peer track a y"}},
		{"+client track a", []string{"ended peer track a y", "active client track a"}},
		{"-peer track a y", nil},
		{"-client track a|+client track a z", []string{"ended client track a", "active client track a z"}},
		{"+client broadcast a", []string{"active client broadcast a"}},
		{"-client track a z|-client broadcast a", []string{"ended client track a z", "ended client broadcast a"}},
	} {
		for change := range strings.SplitSeq(step.do, "|") {
			if change[0] == '+' {
				registered[change[1:]] = announce(t, table, change[1:])
			} else {
				registered[change[1:]].Withdraw()
			}
		}
		if got := told(t, w); !slices.Equal(got, step.want) {
			t.Errorf("step %d, %s: told %q, want %q", i, step.do, got, step.want)
		}
	}
}

func TestWatchClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := NewTable()
		w := table.Watch(moq.ParsePath("a/b"), nil)
		if e, err := w.Next(t.Context()); err != nil || e.Type != Live {
			t.Errorf("first event: %+v, %v", e, err)
		}
		go func() {
			time.Sleep(time.Second)
			w.Close()
			w.Close()
		}()
		if _, err := w.Next(t.Context()); !errors.Is(err, moq.ErrCancelled) {
			t.Errorf("Next after Close: %v", err)
		}
		announce(t, table, "client track a/b").Withdraw()
		if len(table.nodes) != 1 {
			t.Errorf("%d nodes are left", len(table.nodes))
		}
	})
}

// A watch that nobody reads holds no more than what it was told and what is
// announced, however much comes and goes.
func TestS16_UnreadWatchIsBounded(t *testing.T) {
	table := NewTable()
	w := table.Watch(moq.Path{}, nil)
	defer w.Close()
	kept := announce(t, table, "client track kept")
	wantTold(t, w, "live", "active client track kept")
	kept.Withdraw()
	for i := range 10_000 {
		announce(t, table, fmt.Sprintf("client track churn/%d", i)).Withdraw()
		announce(t, table, "client track kept").Withdraw()
	}
	if len(w.items) > 2 || w.changed.Len() > 2 {
		t.Errorf("the watch holds %d items, %d of them changed", len(w.items), w.changed.Len())
	}
	wantTold(t, w, "ended client track kept")
	if len(w.items) != 0 {
		t.Errorf("the watch holds %d items in the end", len(w.items))
	}
}

// A filter may use the table: no lock is held while it runs.
func TestFilterMayUseTheTable(t *testing.T) {
	table := NewTable()
	announce(t, table, "client track a")
	w := table.Watch(moq.Path{}, func(Announcement) bool { return table.Len() > 0 })
	defer w.Close()
	wantTold(t, w, "active client track a", "live")
}

// Whatever changes while watches look: Active and Ended take turns for each path
// and kind, and in the end each watch was told what stands.
func TestWatchesAgreeWithTheTable(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			table := NewTable()
			var following sync.WaitGroup
			var watches []*Watch
			views := make([]map[string]bool, 4)
			for i := range views {
				views[i] = make(map[string]bool)
				filter := []func(Announcement) bool{nil, notPeer}[i%2]
				w := table.Watch(moq.ParsePath([]string{"", "1"}[i/2]), filter)
				watches = append(watches, w)
				pause := time.Duration(r.IntN(30)) * time.Millisecond
				following.Go(func() { follow(t, w, views[i], pause) })
			}
			var standing []*Registration
			for range 300 {
				if len(standing) > 0 && r.IntN(2) == 0 {
					i := r.IntN(len(standing))
					standing[i].Withdraw()
					standing = slices.Delete(standing, i, i+1)
				} else {
					s := fmt.Sprintf("%s %s %d/%d", []string{"client", "peer"}[r.IntN(2)], []string{"track", "broadcast"}[r.IntN(2)], r.IntN(3), r.IntN(3))
					standing = append(standing, announce(t, table, s))
				}
				time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			for i, view := range views {
				want := make(map[string]bool)
				for _, s := range standing {
					a := s.Announcement()
					if (i%2 == 0 || notPeer(a)) && (i/2 == 0 || a.Path.HasPrefix(moq.NewPath("1"))) {
						want[a.Kind.String()+" "+a.Path.String()] = true
					}
				}
				for key := range want {
					if !view[key] {
						t.Errorf("seed %d: watch %d misses %s", seed, i, key)
					}
				}
				for key, active := range view {
					if active && !want[key] {
						t.Errorf("seed %d: watch %d still has %s", seed, i, key)
					}
				}
			}
			for _, w := range watches {
				w.Close()
			}
			following.Wait()
			for _, s := range standing {
				s.Withdraw()
			}
			if len(table.nodes) != 1 {
				t.Errorf("seed %d: %d nodes are left", seed, len(table.nodes))
			}
		})
	}
}

// follow keeps a view by what a watch tells.
func follow(t *testing.T, w *Watch, view map[string]bool, pause time.Duration) {
	for {
		e, err := w.Next(t.Context())
		if err != nil {
			return
		}
		if e.Type == Live {
			continue
		}
		key := e.Announcement.Kind.String() + " " + e.Announcement.Path.String()
		if active := e.Type == Active; view[key] == active {
			t.Errorf("%s is told as %v twice", key, e.Type)
		} else {
			view[key] = active
		}
		time.Sleep(pause)
	}
}

// TestReplace: another way in the place of one is told as Updated, whoever the
// publisher is now, and refused if it loops or has nothing to replace.
func TestReplace(t *testing.T) {
	table := New(Config{Self: 9})
	src := &source{name: "one"}
	r, err := table.Announce(Announcement{Path: moq.NewPath("a"), Source: src, Class: Client, Hops: []Hop{1}})
	if err != nil {
		t.Fatal(err)
	}
	w := table.Watch(moq.Path{}, nil)
	defer w.Close()
	if got := told(t, w); !slices.Equal(got, []string{"active one", "live"}) {
		t.Errorf("told %q", got)
	}
	now, err := table.Replace(r, Announcement{Hops: []Hop{0}, Warm: 3})
	if err != nil {
		t.Fatal(err)
	}
	if got := told(t, w); !slices.Equal(got, []string{"updated one"}) {
		t.Errorf("told %q of another way", got)
	}
	if a, ok := table.Route(moq.NewPath("a"), nil); !ok || a.Source != Source(src) || a.Warm != 3 || table.Len() != 1 {
		t.Errorf("the route is %+v, of %d", a, table.Len())
	}
	if _, err := table.Replace(now, Announcement{Hops: []Hop{1, 9}}); !errors.Is(err, ErrLoop) {
		t.Errorf("a loop: %v", err)
	}
	r.Withdraw() // it stands no more
	if _, err := table.Replace(r, Announcement{}); !errors.Is(err, moq.ErrNotFound) || table.Len() != 1 {
		t.Errorf("in the place of none: %v, %d announced", err, table.Len())
	}
	now.Withdraw()
	if got := told(t, w); !slices.Equal(got, []string{"ended one"}) || table.Len() != 0 {
		t.Errorf("told %q at the end", got)
	}
}
