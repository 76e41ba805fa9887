package moq

import (
	"errors"
	"fmt"
	"io"
)

// EndReason says why a track, a subscription or a group is over, in terms wide
// enough for the code registries of all protocols. Sessions translate it.
type EndReason uint8

// The reasons. Only Ended is a clean end.
const (
	Internal     EndReason = iota // a fault of our own
	Ended                         // nothing more will come, and all of it did
	Cancelled                     // not wanted any more
	NotFound                      // nobody announces it
	Unauthorized                  // not allowed to this peer
	Timeout                       // took too long
	NotSupported                  // the peer cannot do that
	GoingAway                     // the node or its session is leaving
	Overloaded                    // a limit of ours was reached
	TooFarBehind                  // the subscriber could not keep up
	Duplicate                     // it exists already
	Malformed                     // the peer broke the protocol
	Truncated                     // it stopped in the middle
	TooOld                        // older than what is kept
	TooLarge                      // more than a group may hold
)

var endReasons = [...]string{
	Internal:     "internal error",
	Ended:        "ended",
	Cancelled:    "cancelled",
	NotFound:     "not found",
	Unauthorized: "unauthorized",
	Timeout:      "timed out",
	NotSupported: "not supported",
	GoingAway:    "going away",
	Overloaded:   "overloaded",
	TooFarBehind: "too far behind",
	Duplicate:    "duplicate",
	Malformed:    "malformed",
	Truncated:    "truncated",
	TooOld:       "too old",
	TooLarge:     "too large",
}

// String returns the reason in words.
func (r EndReason) String() string {
	if int(r) < len(endReasons) {
		return endReasons[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// EndError is an [EndReason] with what else is known. It matches with
// [errors.Is] every EndError of the same reason, such as [ErrNotFound].
type EndError struct {
	Reason EndReason
	Detail string // for people; may be empty
	App    uint32 // an application's own code plus one, carried through; 0: none
}

// Error returns the reason and the detail.
func (e *EndError) Error() string {
	if e.Detail == "" {
		return e.Reason.String()
	}
	return e.Reason.String() + ": " + e.Detail
}

// Is makes errors of the same reason match, whatever their details.
func (e *EndError) Is(target error) bool {
	t, ok := target.(*EndError)
	return ok && t.Reason == e.Reason
}

// One error per reason, for returning and for matching.
var (
	ErrInternal     error = &EndError{Reason: Internal}
	ErrEnded        error = &EndError{Reason: Ended}
	ErrCancelled    error = &EndError{Reason: Cancelled}
	ErrNotFound     error = &EndError{Reason: NotFound}
	ErrUnauthorized error = &EndError{Reason: Unauthorized}
	ErrTimeout      error = &EndError{Reason: Timeout}
	ErrNotSupported error = &EndError{Reason: NotSupported}
	ErrGoingAway    error = &EndError{Reason: GoingAway}
	ErrOverloaded   error = &EndError{Reason: Overloaded}
	ErrTooFarBehind error = &EndError{Reason: TooFarBehind}
	ErrDuplicate    error = &EndError{Reason: Duplicate}
	ErrMalformed    error = &EndError{Reason: Malformed}
	ErrTruncated    error = &EndError{Reason: Truncated}
	ErrTooOld       error = &EndError{Reason: TooOld}
	ErrTooLarge     error = &EndError{Reason: TooLarge}
)

// isClean tells whether err is one that ends things well.
func isClean(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, ErrEnded)
}

// DropReason says why a whole group did not reach a subscriber.
type DropReason uint8

// The reasons, each a value of the label "reason" in metrics.
const (
	SlowSubscriber DropReason = iota // more was waiting for the subscriber than its limits allow
	Stale                            // older than the subscriber's own MaxAge
	StreamCredit                     // the subscriber allowed no further stream
	Memory                           // the relay's budget was used up
	Expired                          // left the cache before the subscriber came to it
	UpstreamReset                    // never came, or stopped in the middle
)

var dropReasons = [...]string{
	SlowSubscriber: "slow_subscriber",
	Stale:          "stale",
	StreamCredit:   "stream_credit",
	Memory:         "memory",
	Expired:        "expired",
	UpstreamReset:  "upstream_reset",
}

// String returns the label, such as "slow_subscriber".
func (r DropReason) String() string {
	if int(r) < len(dropReasons) {
		return dropReasons[r]
	}
	return fmt.Sprintf("reason_%d", uint8(r))
}

// DropError is what a [GroupReader] returns once its group is dropped for its
// subscriber.
type DropError struct {
	Reason DropReason
}

// Error names the reason.
func (e *DropError) Error() string {
	return "group dropped: " + e.Reason.String()
}

// Range is a run of groups that a subscriber does not get, both ends included.
type Range struct {
	First, Last uint64
	Reason      DropReason
}
