package base

import "github.com/moqrelay/moqrelay/relay/moq"

// QUIC sends the streams of a connection by eight levels of urgency, 0 first.
// The first is for control streams. Tracks begin at the next four, one level
// per priority in use, and the groups of a newest-first track go down a level
// with each newer group, so that at half the needed bandwidth the newest group
// of every track is on time and the older ones wait.
const (
	// ControlUrgency is that of streams that carry messages.
	ControlUrgency = 0

	firstUrgency    = 1
	lastBaseUrgency = 4
	lastUrgency     = 7
)

// urgency returns the level of a group: rank is how many priorities in use are
// higher than that of its track, behind how many newer groups are being sent.
func urgency(rank, behind int) uint8 {
	base := min(firstUrgency+rank, lastBaseUrgency)
	return uint8(min(base+behind, lastUrgency))
}

// ranks counts subscriptions by their priority. Sessions are many and most use
// one priority or two.
type ranks struct {
	count map[moq.Priority]int // no zeros; nil until the first
}

// add adds n subscriptions and reports whether ranks have changed by it.
func (r *ranks) add(p moq.Priority, n int) (changed bool) {
	before := r.count[p]
	if before+n == 0 {
		delete(r.count, p)
		return before != 0
	}
	if r.count == nil {
		r.count = make(map[moq.Priority]int)
	}
	r.count[p] = before + n
	return before == 0
}

// rank returns how many priorities in use are higher than p.
func (r *ranks) rank(p moq.Priority) int {
	n := 0
	for used := range r.count {
		if used > p {
			n++
		}
	}
	return n
}
