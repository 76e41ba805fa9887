package origin

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/moqrelay/moqrelay/relay/moq"
)

const benchPaths = 10_000

func filled(b *testing.B) *Table {
	b.Helper()
	table := NewTable()
	for i := range benchPaths {
		announce(b, table, fmt.Sprintf("client broadcast live/room%d/user%d", i/100, i))
	}
	return table
}

// BenchmarkAnnounce measures an announcement and its withdrawal among 10 000
// others, with so many watches of it and as many of other rooms.
func BenchmarkAnnounce(b *testing.B) {
	for _, watches := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("watches=%d", watches), func(b *testing.B) {
			table := filled(b)
			for i := range watches {
				room := table.Watch(moq.NewPath("live", "room7"), nil)
				other := table.Watch(moq.NewPath("live", fmt.Sprint("room", 8+i%90)), nil)
				b.Cleanup(room.Close)
				b.Cleanup(other.Close)
			}
			a := announcement(b, "client broadcast live/room7/new")
			b.ReportAllocs()
			for b.Loop() {
				r, err := table.Announce(a)
				if err != nil {
					b.Fatal(err)
				}
				r.Withdraw()
			}
		})
	}
}

// BenchmarkWatch measures a watch that is told 10 000 paths.
func BenchmarkWatch(b *testing.B) {
	table := filled(b)
	b.ReportAllocs()
	for b.Loop() {
		w := table.Watch(moq.NewPath("live"), nil)
		for n := 0; ; n++ {
			e, err := w.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if e.Type == Live {
				if n != benchPaths {
					b.Fatalf("told %d paths", n)
				}
				break
			}
		}
		w.Close()
	}
}

// BenchmarkBroadcasts measures a watch of broadcasts that is told 10 000 paths, and
// what it holds of each afterwards.
func BenchmarkBroadcasts(b *testing.B) {
	table := filled(b)
	b.ReportAllocs()
	var held uint64
	for b.Loop() {
		w := table.WatchBroadcasts(moq.NewPath("live"), nil)
		before := heap()
		for n := 0; ; n++ {
			e, err := w.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if e.Type == Live {
				break
			}
		}
		held = heap() - before
		w.Close()
	}
	b.ReportMetric(float64(held)/benchPaths, "held-B/path")
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkRoute measures the way to a track among 10 000 broadcasts.
func BenchmarkRoute(b *testing.B) {
	table := filled(b)
	path := moq.NewPath("live", "room50", "user5000", "video")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := table.Route(path, nil); !ok {
			b.Fatal("no route")
		}
	}
}
