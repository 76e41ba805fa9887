package origin

import (
	"errors"
	"slices"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// Resumer is a Source that can go on with a track which another one has begun.
// Resume returns at once. Without an error the track is the one that Track returns
// from then on, and the groups that are not whole come to it. [moq.ErrDuplicate]
// says that the source has another track of that path, by which it comes already.
type Resumer interface {
	Resume(track *moq.Track) error
}

// parked is a track whose source was lost, and which somebody has subscribed.
type parked struct {
	track     *moq.Track
	publisher Hop
	timer     *time.Timer
	busy      bool // somebody tries to resume it; guarded by Table.mu
	again     bool // and is to try once more; guarded by Table.mu
}

// Park keeps a track that was lost with its source: a way to the same publisher
// resumes it, at once or when it is announced within hold, and whoever asks for
// the track meanwhile gets it. After that, or if nobody is subscribed any more,
// it ends with [moq.ErrGoingAway]. What the publisher sent in between is lost.
func (t *Table) Park(track *moq.Track, publisher Hop, hold time.Duration) {
	p := &parked{track: track, publisher: publisher}
	t.mu.Lock()
	t.parked = append(t.parked, p)
	p.timer = time.AfterFunc(hold, func() {
		t.unpark(p)
		track.End(moq.ErrGoingAway)
	})
	t.mu.Unlock()
	t.resume(track.Path())
}

// unpark forgets a track.
func (t *Table) unpark(p *parked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parked = slices.DeleteFunc(t.parked, func(other *parked) bool { return other == p })
}

// resume has what is parked at or below a path taken up by sources that lead to
// its publisher.
func (t *Table) resume(path moq.Path) {
	t.mu.Lock()
	var waiting []*parked
	for _, p := range t.parked {
		switch {
		case !p.track.Path().HasPrefix(path):
		case p.busy:
			p.again = true
		default:
			p.busy = true
			waiting = append(waiting, p)
		}
	}
	t.mu.Unlock()
	for _, p := range waiting {
		for !t.tryResume(p) && t.triesAgain(p) {
		}
	}
}

// triesAgain tells whether a route has been announced meanwhile.
func (t *Table) triesAgain(p *parked) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.busy, p.again = p.again, false
	return p.busy
}

// tryResume has the first source take a track up that can, and reports whether one
// has.
func (t *Table) tryResume(p *parked) bool {
	for _, r := range t.routes(p.track.Path()) {
		resumer, ok := r.announcement.Source.(Resumer)
		if !ok || r.announcement.Publisher() != p.publisher {
			continue
		}
		err := resumer.Resume(p.track)
		isElsewhere := errors.Is(err, moq.ErrDuplicate)
		if err != nil && !isElsewhere {
			continue
		}
		p.timer.Stop()
		t.unpark(p)
		if isElsewhere {
			p.track.End(moq.ErrGoingAway) // who asks again gets the other one
		}
		return true
	}
	return false
}

// resumeSoonLocked has what is parked below a path looked at, without the locks that
// its caller may hold.
func (t *Table) resumeSoonLocked(path moq.Path) {
	if slices.ContainsFunc(t.parked, func(p *parked) bool { return p.track.Path().HasPrefix(path) }) {
		time.AfterFunc(0, func() { t.resume(path) })
	}
}

// parkedTrack returns the track of a path that is parked, nil if there is none.
func (t *Table) parkedTrack(path moq.Path, publisher Hop) *moq.Track {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.parked {
		if p.track.Path() == path && p.publisher == publisher && p.track.Err() == nil {
			return p.track
		}
	}
	return nil
}

// ask returns the track of a route. While its source is lost, that is the parked
// one.
func (t *Table) ask(r *Registration, path moq.Path) (*moq.Track, error) {
	track, err := r.announcement.Source.Track(path)
	if err != nil && errors.Is(err, moq.ErrGoingAway) {
		if p := t.parkedTrack(path, r.announcement.Publisher()); p != nil {
			return p, nil
		}
	}
	return track, err
}
