package scrape

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// loadEvery is how often at most changes of load alone wake the reconciler for a
// cluster.
const loadEvery = 15 * time.Second

// news is what is new of a pod to those who were told of it last.
type news int

const (
	noNews     news = iota
	newsOfLoad      // may wait, and is told with that of other pods
	newsNow         // something is decided by it
)

// Why nothing is known of a pod although it failed no question.
var (
	errNotAsked       = errors.New("it has not been asked yet")
	errNotAskedLately = errors.New("it has not been asked for a while")
)

// record is what is known of one pod.
type record struct {
	cluster types.NamespacedName

	last Observation
	err  error // of the last question, nil if it was answered
	// unanswered counts the questions since the last answer.
	unanswered int
	// told is what was known when the reconciler was last woken for the cluster,
	// zero if that was because the pod is silent.
	told Observation
	// drain is set while the pod is still to be told.
	drain bool
}

// answered puts down an answer and returns what is new in it.
func (r *record) answered(node Node, now time.Time) news {
	seen := Observation{Node: node, At: now}
	if before := r.last; before.StartedAt.Equal(node.StartedAt) && node.EgressBytes >= before.EgressBytes && now.After(before.At) {
		bits := float64(node.EgressBytes-before.EgressBytes) * 8 / now.Sub(before.At).Seconds()
		seen.EgressBitsPerSecond = new(int64(bits))
	}
	r.last, r.err, r.unanswered = seen, nil, 0
	switch {
	case matters(r.told, seen):
		r.told = seen
		return newsNow
	case differs(int64(r.told.Sessions), int64(seen.Sessions)), differs(value(r.told.EgressBitsPerSecond), value(seen.EgressBitsPerSecond)):
		return newsOfLoad
	default:
		return noNews
	}
}

// failed puts down a question without answer and returns whether that is news:
// it is once, when what the pod said last has become stale.
func (r *record) failed(err error, now time.Time) news {
	r.err = err
	r.unanswered++
	if r.told.At.IsZero() || now.Sub(r.last.At) < Stale {
		return noNews
	}
	r.told = Observation{}
	return newsNow
}

// matters reports whether somebody who was told of the one decides otherwise by
// the other.
func matters(told, seen Observation) bool {
	switch {
	case told.At.IsZero(),
		!told.StartedAt.Equal(seen.StartedAt),
		told.Draining != seen.Draining,
		told.Version != seen.Version,
		seen.Draining && (told.Sessions == 0) != (seen.Sessions == 0),
		!slices.EqualFunc(told.Roots, seen.Roots, func(a, b Root) bool { return a.URL == b.URL && a.Connected == b.Connected }),
		seen.Role == roleRoot && !slices.Equal(linked(told.Peers), linked(seen.Peers)),
		!slices.EqualFunc(told.Certificates, seen.Certificates, func(a, b Certificate) bool { return a.Fingerprint == b.Fingerprint }),
		!slices.Equal(told.Trust, seen.Trust):
		return true
	}
	return false
}

// linked returns the names of the peers that there is a session with.
func linked(peers []Peer) []string {
	var names []string
	for _, p := range peers {
		if p.Connected {
			names = append(names, p.Node)
		}
	}
	return names
}

// differs reports whether b is more than a tenth away from a.
func differs(a, b int64) bool { return max(a-b, b-a)*10 > a }

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// wakesLocked reports whether news wakes the reconciler for a cluster. Load alone
// waits until it was not woken for a while: who is woken reads of all pods, so
// that many that change wake it no more often than one.
func (s *Scraper) wakesLocked(cluster types.NamespacedName, what news, now time.Time) bool {
	if what == noNews || what == newsOfLoad && now.Sub(s.woken[cluster]) < loadEvery {
		return false
	}
	s.woken[cluster] = now
	for _, r := range s.known {
		if r.cluster == cluster && !r.told.At.IsZero() {
			r.told = r.last
		}
	}
	return true
}

// Look returns what the pod said last, or why that is not known.
func (s *Scraper) Look(pod types.UID, now time.Time) (Observation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.known[pod]
	switch {
	case r == nil || r.last.At.IsZero() && r.err == nil:
		return Observation{}, errNotAsked
	case r.last.At.IsZero():
		return Observation{}, fmt.Errorf("it does not answer: %w", r.err)
	case now.Sub(r.last.At) >= Stale && r.err != nil:
		return Observation{}, fmt.Errorf("it does not answer any more: %w", r.err)
	case now.Sub(r.last.At) >= Stale:
		return Observation{}, errNotAskedLately
	default:
		return r.last, nil
	}
}

// Soon asks for a round now rather than in a few seconds.
func (s *Scraper) Soon() {
	select {
	case s.soon <- struct{}{}:
	default: // one is due already
	}
}

// Drain has the pod told to stop gracefully, now or when it next answers. It may
// be told more than once, which changes nothing.
func (s *Scraper) Drain(pod types.UID) {
	s.mu.Lock()
	if r := s.known[pod]; r != nil {
		r.drain = true
	}
	s.mu.Unlock()
	s.Soon()
}

// takeDrain reports whether the pod is to be told to drain. Who wants it to
// drain asks again for as long as it does not.
func (s *Scraper) takeDrain(pod types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.known[pod]
	if r == nil || !r.drain {
		return false
	}
	r.drain = false
	return true
}
