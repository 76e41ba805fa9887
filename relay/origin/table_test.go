package origin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// source is a Source whose tracks tell where they are from.
type source struct {
	name string
	err  error
}

func (s *source) Track(path moq.Path) (*moq.Track, error) {
	if s.err != nil {
		return nil, s.err
	}
	return moq.NewTrack(moq.TrackConfig{Path: moq.NewPath(s.name).Join(path)}), nil
}

// announcement reads "class kind path [hop,hop] [cost]", as in
// "client track a/b" or "peer broadcast a x,y 7".
func announcement(t testing.TB, s string) Announcement {
	t.Helper()
	f := append(strings.Fields(s), "", "")
	a := Announcement{Path: moq.ParsePath(f[2]), Source: &source{name: s}}
	a.Class = map[string]Class{"local": Local, "client": Client, "peer": Peer}[f[0]]
	a.Kind = map[string]Kind{"track": Track, "broadcast": Broadcast}[f[1]]
	if f[3] != "" {
		for hop := range strings.SplitSeq(f[3], ",") {
			a.Hops = append(a.Hops, Hop(hop[0]))
		}
	}
	if f[4] != "" {
		if _, err := fmt.Sscan(f[4], &a.Warm); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func announce(t testing.TB, table *Table, s string) *Registration {
	t.Helper()
	r, err := table.Announce(announcement(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func notPeer(a Announcement) bool { return a.Class != Peer }

func TestRoute(t *testing.T) {
	for name, tc := range map[string]struct {
		announced []string
		path      string
		ok        func(Announcement) bool
		want      string // "" for no route
	}{
		"nothing":                      {path: "a"},
		"exact track":                  {announced: []string{"client track a/b"}, path: "a/b", want: "client track a/b"},
		"no track above":               {announced: []string{"client track a"}, path: "a/b"},
		"no track below":               {announced: []string{"client track a/b"}, path: "a"},
		"broadcast above":              {announced: []string{"client broadcast a"}, path: "a/b", want: "client broadcast a"},
		"broadcast far above":          {announced: []string{"client broadcast a"}, path: "a/b/c/d", want: "client broadcast a"},
		"broadcast of everything":      {announced: []string{"client broadcast /"}, path: "a", want: "client broadcast /"},
		"broadcast is no track":        {announced: []string{"client broadcast a/b"}, path: "a/b"},
		"other parts":                  {announced: []string{"client broadcast a"}, path: "ab/c"},
		"longest broadcast":            {announced: []string{"client broadcast a/b", "client broadcast a"}, path: "a/b/c", want: "client broadcast a/b"},
		"longest, though at a peer":    {announced: []string{"peer broadcast a/b x", "client broadcast a"}, path: "a/b/c", want: "peer broadcast a/b x"},
		"track before broadcast":       {announced: []string{"client broadcast a", "peer track a/b x"}, path: "a/b", want: "peer track a/b x"},
		"client before peer":           {announced: []string{"client track a", "peer track a"}, path: "a", want: "client track a"},
		"local like client, by age":    {announced: []string{"local track a", "client track a"}, path: "a", want: "client track a"},
		"fewest hops":                  {announced: []string{"peer track a x", "peer track a x,y", "peer track a z,x"}, path: "a", want: "peer track a x"},
		"least cost":                   {announced: []string{"peer track a x 1", "peer track a y 2"}, path: "a", want: "peer track a x 1"},
		"newest":                       {announced: []string{"client track a", "client track a h"}, path: "a", want: "client track a"},
		"newest of equals":             {announced: []string{"peer track a x", "peer track a y"}, path: "a", want: "peer track a y"},
		"best of what may be seen":     {announced: []string{"peer track a", "client track a x"}, path: "a", ok: notPeer, want: "client track a x"},
		"nothing that may be seen":     {announced: []string{"peer track a"}, path: "a", ok: notPeer},
		"further up if not to be seen": {announced: []string{"client broadcast a", "peer broadcast a/b"}, path: "a/b/c", ok: notPeer, want: "client broadcast a"},
	} {
		t.Run(name, func(t *testing.T) {
			table := NewTable()
			for _, s := range tc.announced {
				announce(t, table, s)
			}
			got, ok := table.Route(moq.ParsePath(tc.path), tc.ok)
			if ok != (tc.want != "") || ok && got.Source.(*source).name != tc.want {
				t.Errorf("route is %+v, want %q", got, tc.want)
			}
		})
	}
}

// An end withdraws one source, not the path: another one takes over.
func TestWithdrawIsByIdentity(t *testing.T) {
	table := NewTable()
	first := announce(t, table, "client track a")
	second := announce(t, table, "client track a")
	if first.Announcement().Source == second.Announcement().Source {
		t.Fatal("the sources are one")
	}
	second.Withdraw()
	second.Withdraw()
	if got, ok := table.Route(moq.ParsePath("a"), nil); !ok || got.Source != first.Announcement().Source {
		t.Errorf("route is %+v, want the first", got)
	}
	first.Withdraw()
	if _, ok := table.Route(moq.ParsePath("a"), nil); ok || table.Len() != 0 {
		t.Errorf("%d announcements stand", table.Len())
	}
	if len(table.nodes) != 1 {
		t.Errorf("an empty table has %d nodes", len(table.nodes))
	}
}

func TestAnnounceRefuses(t *testing.T) {
	table := New(Config{Self: 's', MaxAnnouncements: 1})
	long := make([]Hop, MaxHops+1)
	for name, tc := range map[string]struct {
		a    Announcement
		want error
	}{
		"a loop through us":      {Announcement{Hops: []Hop{'x', 's', 'y'}}, ErrLoop},
		"a loop through another": {Announcement{Hops: []Hop{'x', 'y', 'x'}}, ErrLoop},
		"too many hops":          {Announcement{Hops: long}, moq.ErrOverloaded},
		"too many parts":         {Announcement{Path: moq.NewPath(make([]string, MaxPathParts+1)...)}, moq.ErrMalformed},
		"too many bytes":         {Announcement{Path: moq.NewPath(strings.Repeat("x", MaxPathBytes+1))}, moq.ErrMalformed},
	} {
		if _, err := table.Announce(tc.a); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	announce(t, table, "peer track a") // those of peers do not count
	r := announce(t, table, "client track a")
	if _, err := table.Announce(announcement(t, "client track b")); !errors.Is(err, moq.ErrOverloaded) {
		t.Errorf("one too many: %v", err)
	}
	r, err := table.Replace(r, announcement(t, "client track a"))
	if err != nil {
		t.Fatal(err)
	}
	r.Withdraw()
	announce(t, table, "client track b")
}

func TestTrack(t *testing.T) {
	table := NewTable()
	path := moq.ParsePath("a/b")
	if _, _, err := table.Track(path, nil); !errors.Is(err, moq.ErrNotFound) {
		t.Errorf("from an empty table: %v", err)
	}
	good := announcement(t, "peer broadcast a")
	bad := announcement(t, "client track a/b")
	bad.Source.(*source).err = moq.ErrGoingAway
	for _, a := range []Announcement{bad, good} {
		if _, err := table.Announce(a); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := table.Track(path, notPeer); !errors.Is(err, moq.ErrGoingAway) {
		t.Errorf("from a source that is leaving: %v", err)
	}
	track, a, err := table.Track(path, nil)
	if err != nil || a.Source != good.Source || track.Path() != moq.NewPath("peer broadcast a", "a", "b") {
		t.Errorf("with another source: %v, %+v", err, a)
	}
}

// TestRefusalIsFinal: a source that refuses is asked in vain, not one that has
// announced less of the path.
func TestRefusalIsFinal(t *testing.T) {
	for name, tc := range map[string]struct {
		announced []string
		refuse    string // announcements whose source has nothing begin so
		ok        func(Announcement) bool
		want      string // "" for the refusal
	}{
		"a longer broadcast":              {announced: []string{"client broadcast a", "peer broadcast a/b"}, refuse: "peer"},
		"another route of the level":      {announced: []string{"client broadcast a", "peer broadcast a/b x", "client broadcast a/b"}, refuse: "client", want: "peer broadcast a/b x"},
		"a track, and its broadcast":      {announced: []string{"client broadcast a/b", "peer track a/b/c"}, refuse: "peer", want: "client broadcast a/b"},
		"a track, and a broadcast above":  {announced: []string{"client broadcast a", "peer track a/b/c"}, refuse: "peer"},
		"a track and its broadcast both":  {announced: []string{"client broadcast a", "peer broadcast a/b", "peer track a/b/c"}, refuse: "peer"},
		"a level that is not to be seen":  {announced: []string{"client broadcast a", "peer broadcast a/b"}, refuse: "peer", ok: notPeer, want: "client broadcast a"},
		"a track that is not to be seen":  {announced: []string{"client broadcast a", "client broadcast a/b", "peer track a/b/c"}, refuse: "client broadcast a/b", ok: notPeer},
		"the broadcast of everything":     {announced: []string{"client broadcast /", "peer broadcast a"}, refuse: "peer"},
		"the only one there is, refusing": {announced: []string{"client broadcast /"}, refuse: "client"},
	} {
		t.Run(name, func(t *testing.T) {
			table := NewTable()
			for _, s := range tc.announced {
				a := announcement(t, s)
				if strings.HasPrefix(s, tc.refuse) {
					a.Source.(*source).err = moq.ErrUnauthorized
				}
				if _, err := table.Announce(a); err != nil {
					t.Fatal(err)
				}
			}
			_, got, err := table.Track(moq.ParsePath("a/b/c"), tc.ok)
			switch {
			case tc.want == "" && !errors.Is(err, moq.ErrUnauthorized):
				t.Errorf("from %+v: %v, want a refusal", got, err)
			case tc.want != "" && (err != nil || got.Source.(*source).name != tc.want):
				t.Errorf("from %+v: %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestSnapshot(t *testing.T) {
	table := NewTable()
	for _, s := range []string{"peer track b", "client broadcast a", "client track b", "peer track a/c"} {
		announce(t, table, s)
	}
	var got []string
	for _, a := range table.Snapshot() {
		got = append(got, a.Source.(*source).name)
	}
	if want := []string{"client broadcast a", "peer track a/c", "client track b", "peer track b"}; !slices.Equal(got, want) {
		t.Errorf("snapshot %q, want %q", got, want)
	}
	if table.Len() != 4 {
		t.Errorf("Len() = %d", table.Len())
	}
}
