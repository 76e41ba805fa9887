package moq

import (
	"cmp"
	"time"
)

// Priority orders tracks within a session: higher is sent first.
type Priority uint8

// DefaultPriority is in the middle, where a track goes that asks for nothing.
const DefaultPriority Priority = 127

// Order says which group of a track goes first when not all can go at once.
type Order uint8

// The orders of groups. The zero value suits live media.
const (
	Descending Order = iota // newest group first
	Ascending               // oldest group first
)

// String returns "descending" or "ascending".
func (o Order) String() string {
	if o == Ascending {
		return "ascending"
	}
	return "descending"
}

// Info is what a publisher says about a track. It is known only once the
// publisher has answered, and is replaced as a whole.
type Info struct {
	Priority   Priority
	Order      Order
	MaxAge     time.Duration // how long a group is worth sending after a newer one came; 0: no limit
	Timescale  uint64        // units per second of the frames' timestamps; 0: those of arrival, see ArrivalTimescale
	Properties []byte        // opaque, passed on as they are; not to be changed
}

// ArrivalTimescale is the timescale of frames that come without a timestamp and
// are given that of their arrival.
const ArrivalTimescale = 1000

// Location is the place of a frame in its track.
type Location struct {
	Group, Frame uint64
}

// after tells whether l comes later in the track than m.
func (l Location) after(m Location) bool {
	return l.Group > m.Group || l.Group == m.Group && l.Frame > m.Frame
}

// Demand is what the subscribers of a track want together.
type Demand struct {
	Subscribers int
	Priority    Priority      // the highest asked for
	Order       Order         // Ascending only if all ask for it
	MaxAge      time.Duration // the longest asked for; 0, no limit, is longer than any
	Recent      bool          // one of them begins with what is recent, and more than the newest
	Named       bool          // all have named a first group
	First       uint64        // the lowest of those; 0 if not all have
}

// Limits bound what one track and each of its subscriptions may hold. A field
// left zero has the value of [DefaultLimits].
type Limits struct {
	MaxFrameSize   int64 // bytes of one payload
	MaxGroupBytes  int64 // bytes of all payloads of a group
	MaxGroupFrames int   // frames of a group
	MaxGroups      int   // groups that a track remembers, with or without their frames
	QueuedBytes    int64 // published bytes that a subscription may not have sent yet
	QueuedGroups   int   // groups that a subscription may not have finished yet
}

// DefaultLimits returns the limits of a track that states none. Per subscription
// that is some 16 s of video at 4 Mb/s, or 5 s of audio in groups of one frame:
// more than it takes to notice that a relay was lost and to ask another one for what
// was missed.
func DefaultLimits() Limits {
	return Limits{
		MaxFrameSize:   32 << 20,
		MaxGroupBytes:  64 << 20,
		MaxGroupFrames: 100_000,
		MaxGroups:      256,
		QueuedBytes:    8 << 20,
		QueuedGroups:   256,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		MaxFrameSize:   cmp.Or(l.MaxFrameSize, d.MaxFrameSize),
		MaxGroupBytes:  cmp.Or(l.MaxGroupBytes, d.MaxGroupBytes),
		MaxGroupFrames: cmp.Or(l.MaxGroupFrames, d.MaxGroupFrames),
		MaxGroups:      cmp.Or(l.MaxGroups, d.MaxGroups),
		QueuedBytes:    cmp.Or(l.QueuedBytes, d.QueuedBytes),
		QueuedGroups:   cmp.Or(l.QueuedGroups, d.QueuedGroups),
	}
}
