package follow

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

const (
	// minPace and maxPace bound the time between two dials.
	minPace = 50 * time.Millisecond
	maxPace = 1500 * time.Millisecond
	// headStart is how long a dial is given before the next one begins beside it:
	// of several relays behind one address, one that is dead does not answer.
	headStart = 300 * time.Millisecond
	// dialTimeout bounds a dial: of relays that are all gone, one that is back is to
	// be found by the next.
	dialTimeout = 4 * time.Second
	// maxDials is how many dials run beside each other.
	maxDials = 4
	// minProbation is how long, at least, a relay is listened to before it takes
	// the place of one that is still there: it may be leaving as well.
	minProbation = 50 * time.Millisecond
	// minRetirement is how long, at least, a relay that leaves is kept after
	// another one has taken its place: others have to learn of that one first.
	minRetirement = time.Second
	// retirePoll is how often a relay that leaves is looked at.
	retirePoll = 50 * time.Millisecond
)

// member is a relay that is or was the current one.
type member struct {
	// Static after construction.
	relay Relay
	since time.Time

	// Guarded by Follower.mu.
	live  map[announced]uint64 // with the number of the announcement
	count uint64               // of announcements
}

// announced is something that a relay announces.
type announced struct {
	path moq.Path
	kind origin.Kind
}

// announcement returns the number of the announcement by which a relay announces
// a track now, by itself or with its broadcast, 0 for none. Another number is
// another way to the publisher, or another publisher.
func (f *Follower) announcement(m *member, path moq.Path) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number := m.live[announced{path, origin.Track}]; number > 0 {
		return number
	}
	for above := path; above.Len() > 0; {
		above = above.Parent()
		if number := m.live[announced{above, origin.Broadcast}]; number > 0 {
			return number
		}
	}
	// A relay of MoqTransfork tells a broadcast of another protocol as a track.
	return m.live[announced{path.Parent(), origin.Track}]
}

// mirror puts what a relay announces into the common table, until its session
// has ended.
func (f *Follower) mirror(ctx context.Context, m *member) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.wg.Go(func() {
		defer cancel()
		select {
		case <-m.relay.Ended():
		case <-ctx.Done():
		}
	})
	standing := make(map[announced]*origin.Registration)
	gone := make(map[announced]bool) // what was withdrawn since the session began
	defer func() {
		for _, registration := range standing {
			registration.Withdraw()
		}
	}()
	w := m.relay.Announced().Watch(moq.Path{}, nil)
	defer w.Close()
	for {
		e, err := w.Next(ctx)
		if err != nil {
			return
		}
		key := announced{e.Announcement.Path, e.Announcement.Kind}
		switch e.Type {
		case origin.Active:
			a := e.Announcement
			if a.Kind == origin.Broadcast && f.isAnother(a, gone[key]) {
				f.forgetBroadcast(a.Path)
			}
			a.Source = f
			if registration, err := f.announced.Announce(a); err == nil {
				standing[key] = registration
			}
			f.note(m, key, true)
		case origin.Ended:
			if registration, ok := standing[key]; ok {
				registration.Withdraw()
				delete(standing, key)
			}
			gone[key] = true
			f.note(m, key, false)
		case origin.Updated, origin.Live: // nobody waits for them
		}
	}
}

// isAnother tells whether a broadcast has another publisher than before: one whose
// hop is new, or, where hops are not told, one that comes back to a relay that
// has withdrawn it. A relay may hold on to a publisher for a while after it was
// lost, so that one that was known before is not another one.
func (f *Follower) isAnother(a origin.Announcement, wasWithdrawn bool) bool {
	hop := a.Publisher()
	if hop == 0 {
		return wasWithdrawn
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.known[a.Path]
	if known == nil {
		known = make(map[origin.Hop]bool)
		f.known[a.Path] = known
	}
	isNew := !known[hop] && len(known) > 0
	known[hop] = true
	return isNew
}

// note takes an announcement and wakes the tracks that it is of.
func (f *Follower) note(m *member, a announced, active bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if active {
		m.count++
		m.live[a] = m.count
	} else {
		delete(m.live, a)
	}
	for path, t := range f.tracks {
		if path.HasPrefix(a.path) {
			t.wake()
		}
	}
}

// reach dials until a relay answers, nil if ctx ends before. While the old one
// is there, the new one has to stay.
func (f *Follower) reach(ctx context.Context, lost <-chan struct{}) Relay {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan Relay) // nil for a dial that failed
	running, pace, alone := 0, minPace, lost
	next := time.NewTimer(jitter(minPace))
	defer next.Stop()
	for {
		select {
		case <-next.C:
			if running < maxDials {
				running++
				f.wg.Go(func() { f.attempt(ctx, lost, results) })
			}
			next.Reset(max(headStart, pace))
		case r := <-results:
			if r != nil {
				return r
			}
			running--
			next.Reset(jitter(pace))
			pace = min(2*pace, maxPace)
		case <-alone: // now it is urgent
			alone, pace = nil, minPace
			next.Reset(jitter(pace))
		case <-ctx.Done():
			return nil
		}
	}
}

// jitter returns a time between half of d and one and a half.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// attempt is one dial. Nobody takes its result if ctx is done before.
func (f *Follower) attempt(ctx context.Context, lost <-chan struct{}, results chan<- Relay) {
	began := time.Now()
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	r, err := f.config.Dial(dialling)
	cancel()
	if err != nil {
		r = nil
	} else if !stays(ctx, r, lost, max(minProbation, time.Since(began))) {
		r.Close()
		r = nil
	}
	select {
	case results <- r:
	case <-ctx.Done():
		if r != nil {
			r.Close()
		}
	}
}

// stays reports whether a relay is not about to leave itself, which it says as
// soon as its session is ready. If there is no other one, it is taken as it is.
func stays(ctx context.Context, r Relay, lost <-chan struct{}, probation time.Duration) bool {
	timer := time.NewTimer(probation)
	defer timer.Stop()
	select {
	case <-r.GoingAway():
		return isClosed(lost)
	case <-r.Ended():
		return false
	case <-lost:
		return true
	case <-timer.C:
		return true
	case <-ctx.Done():
		return true
	}
}

// retire closes a relay that leaves once nobody needs it any more: no track has a
// subscription there, and it has none of ours.
func (f *Follower) retire(ctx context.Context, m *member) {
	defer m.relay.Close()
	poll := time.NewTicker(retirePoll)
	defer poll.Stop()
	earliest := time.Now().Add(minRetirement)
	for {
		select {
		case now := <-poll.C:
			if now.After(earliest) && m.relay.Subscriptions() == 0 && !f.feeds(m) {
				return
			}
		case <-m.relay.Ended():
			return
		case <-ctx.Done():
			return
		}
	}
}

// feeds tells whether a track has a subscription at a relay.
func (f *Follower) feeds(m *member) bool {
	f.mu.Lock()
	tracks := slices.Collect(maps.Values(f.tracks))
	f.mu.Unlock() // a track may ask for it while it holds its own
	return slices.ContainsFunc(tracks, func(t *track) bool { return t.isFedBy(m) })
}
