package suite

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// An arrival is a group as a watcher reports it.
type arrival struct {
	Event    string    `json:"event"` // group
	Track    string    `json:"track"`
	Group    uint64    `json:"group"`
	Frames   int       `json:"frames"`
	Complete bool      `json:"complete"`
	At       time.Time `json:"at"` // of its last frame
	// LongestGapSeconds is the longest time between two frames of the track since
	// the group before.
	LongestGapSeconds float64 `json:"longestGapSeconds"`
}

// turn is a change of a watcher's session, as it reports it.
type turn struct {
	Event string    `json:"event"` // session
	State string    `json:"state"` // connected, leaving or lost
	URL   string    `json:"url"`
	At    time.Time `json:"at"`
	Error string    `json:"error"`
}

// meter is what one watcher has received.
type meter struct {
	mu     sync.Mutex
	tracks map[string]*trackLog
	turns  []turn
}

// trackLog is what has come of one track. Guarded by the meter's mu.
type trackLog struct {
	arrivals []arrival
	whole    map[uint64]bool
	ended    string // why it came no further, when it did
}

func newMeter() *meter { return &meter{tracks: make(map[string]*trackLog)} }

// read takes in what a watcher writes, an object per line, until it ends.
func (m *meter) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var kind struct {
			Event string `json:"event"`
		}
		if err := json.Unmarshal(lines.Bytes(), &kind); err != nil {
			return fmt.Errorf("watcher wrote %q: %w", lines.Text(), err)
		}
		switch kind.Event {
		case "group":
			var a arrival
			if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
				return fmt.Errorf("watcher wrote %q: %w", lines.Text(), err)
			}
			m.record(a)
		case "track":
			var e struct{ Track, Error string }
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				return fmt.Errorf("watcher wrote %q: %w", lines.Text(), err)
			}
			m.endTrack(e.Track, e.Error)
		case "session":
			var s turn
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				return fmt.Errorf("watcher wrote %q: %w", lines.Text(), err)
			}
			m.mu.Lock()
			m.turns = append(m.turns, s)
			m.mu.Unlock()
		}
	}
	return lines.Err()
}

// trackLocked is the log of a track.
func (m *meter) trackLocked(name string) *trackLog {
	log := m.tracks[name]
	if log == nil {
		log = &trackLog{whole: make(map[uint64]bool)}
		m.tracks[name] = log
	}
	return log
}

// endTrack notes that a track comes no further.
func (m *meter) endTrack(track, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trackLocked(track).ended = cmp.Or(why, "its publisher ended it")
}

func (m *meter) record(a arrival) {
	m.mu.Lock()
	defer m.mu.Unlock()
	log := m.trackLocked(a.Track)
	log.arrivals = append(log.arrivals, a)
	if a.Complete {
		log.whole[a.Group] = true
	}
}

// Loss is what watchers missed in a stretch of time.
type Loss struct {
	// Groups that never came whole.
	Groups int
	// Gap is the longest time in which nothing came of a track.
	Gap time.Duration
}

// worse adds up groups and keeps the longer gap.
func (l Loss) worse(other Loss) Loss {
	return Loss{Groups: l.Groups + other.Groups, Gap: max(l.Gap, other.Gap)}
}

// loss is what the watcher missed after from and until to.
func (m *meter) loss(from, to time.Time) Loss {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all Loss
	for _, log := range m.tracks {
		all = all.worse(log.loss(from, to))
	}
	return all
}

func (l *trackLog) loss(from, to time.Time) Loss {
	var (
		loss        Loss
		first, last uint64 // the groups after first and up to last are of the stretch
		began       bool
		latest      time.Time
	)
	for _, a := range l.arrivals {
		if a.At.After(to) {
			continue
		}
		last = max(last, a.Group)
		if !a.At.After(from) {
			first, began = max(first, a.Group), true
		} else {
			loss.Gap = max(loss.Gap, a.gapAfter(latest))
		}
		latest = later(latest, a.At)
	}
	if latest.IsZero() {
		return loss // the track began later
	}
	if !began { // the watcher came within the stretch: its first group is where it joined
		first = last
		for _, a := range l.arrivals {
			if a.Complete {
				first = min(first, a.Group)
			}
		}
	}
	for group := first + 1; group <= last; group++ {
		if !l.whole[group] {
			loss.Groups++
		}
	}
	loss.Gap = max(loss.Gap, to.Sub(later(latest, from)))
	return loss
}

// gapAfter is the longest time without a frame until this group ended, where the
// one before ended at latest. A group of one frame says it by its time alone.
func (a arrival) gapAfter(latest time.Time) time.Duration {
	gap := time.Duration(a.LongestGapSeconds * float64(time.Second))
	if a.Frames == 1 && !latest.IsZero() {
		gap = max(gap, a.At.Sub(latest))
	}
	return gap
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// flowing says whether n whole groups of every track came after since, or what
// is missing.
func (m *meter) flowing(since time.Time, n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.tracks) < mediaTracks {
		return fmt.Errorf("of %d tracks %v have come", mediaTracks, slices.Sorted(maps.Keys(m.tracks)))
	}
	for name, log := range m.tracks {
		came := 0
		for _, a := range slices.Backward(log.arrivals) {
			if !a.At.After(since) {
				break
			}
			if a.Complete {
				came++
			}
		}
		if came < n && log.ended != "" {
			return fmt.Errorf("%s has ended: %s", name, log.ended)
		}
		if came < n {
			return fmt.Errorf("of %s %d groups have come since %s", name, came, since.Format(time.TimeOnly))
		}
	}
	return nil
}

// mediaTracks is how many tracks the sample clip has: a picture and a sound.
const mediaTracks = 2

// tail returns the last turns of the session, for people.
func (m *meter) tail(n int) []turn {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.turns[max(0, len(m.turns)-n):])
}
