// Package moq holds the nouns of Media over QUIC while they are live: paths,
// tracks, groups and frames. It knows no wire format and no socket; sessions
// translate between it and what their peers speak, and everything a relay
// does between an incoming and an outgoing stream happens here.
//
// A publisher's session writes a [Track]: CreateGroup, NewFrame, ReadFrom,
// Finish. Each subscriber has a [Subscription], whose Next yields one
// [GroupReader] per group, whose Next in turn yields the bytes of its frames.
//
//	Track ──┬─ group 41 ── frame ── frame ── frame        (cached, finished)
//	        └─ group 42 ── frame ── fra…                  (newest, being written)
//	             ▲    ▲
//	             │    └─ GroupReader of a viewer on a slow link
//	             └────── GroupReader of a viewer who just came
//
// What always holds:
//
//   - A payload exists once. Readers share the writer's buffer and never copy.
//   - Readers never delay the writer, nor each other. Who cannot keep up loses
//     whole groups, the oldest first and never the newest.
//   - Every group in the range of a subscription is either handed out by Next
//     or told by Dropped, and once.
//   - A group that was cut short is never seen as complete.
//   - Memory is bounded: a track by its [Limits], all tracks by a [Budget], and
//     a frame's declared size allocates nothing.
//   - No goroutine is started here. Timers call back, and only to wake readers
//     and to let go of old groups.
//
// One mutex per track guards all of the track's state; a reader takes it only
// to wait and at the borders of groups, never to read bytes that are there.
package moq
