// Package follow keeps a command with its broadcast while relays come and go.
// It stands between the commands and sessions: a [Follower] has one relay, and
// another one when that leaves or is lost; the tracks that it gives out go on
// over all of them.
//
// A relay that leaves says so before. The next one is dialled then, and used
// beside the first until the groups have ended that are under way there: make
// before break. A relay that is lost is dialled again until one answers.
// A subscription that ends is made again for as long as the relay announces its
// track.
//
// What always holds: a frame of a group is given out once, whatever number of
// relays delivers it; a group that one relay cut off is completed from the next
// one where that has it; a track ends only when its publisher has ended it, when
// it was gone for longer than the patience, or with the Follower.
package follow
