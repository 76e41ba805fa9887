package transfork

import (
	"errors"
	"io"
	"math"
	"os"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/base"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// codes are the codes of MoqTransfork, as far as [base.Base] needs them.
type codes struct{}

// Stream is the code that ends a stream.
func (codes) Stream(err error) uint32 { return uint32(codeOf(err)) }

// Reason is why a peer ended a stream with a code.
func (codes) Reason(code uint32) *moq.EndError { return endOf(wire.Code(code)) }

// SessionEnd tells whether a peer that closes with a code had no complaint.
func (codes) SessionEnd(code uint32) bool { return wire.Code(code) == wire.CodeCancel }

// Session is the code that closes a session.
func (codes) Session(err error) uint32 {
	e, ok := errors.AsType[*base.Violation](err)
	switch {
	case err == nil:
		return uint32(wire.CodeCancel)
	case !ok:
		return uint32(codeOf(err))
	case e.Fault == base.Limit:
		return uint32(wire.CodeBounds)
	case e.Fault == base.Version:
		return uint32(wire.CodeVersion)
	default:
		return uint32(wire.CodeDecode)
	}
}

// codeOf returns the code that tells a peer of err.
func codeOf(err error) wire.Code {
	if e, ok := errors.AsType[*moq.EndError](err); ok {
		return codeOfEnd(e)
	}
	if e, ok := errors.AsType[*moq.DropError](err); ok {
		return codeOfDrop(e.Reason)
	}
	switch {
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded):
		return wire.CodeDecode
	case errors.Is(err, base.ErrDraining):
		return wire.CodeCancel
	default:
		return wire.CodeTransport
	}
}

func codeOfEnd(e *moq.EndError) wire.Code {
	if e.App > 0 {
		return wire.AppCode(e.App - 1)
	}
	switch e.Reason {
	case moq.Ended, moq.Cancelled:
		return wire.CodeCancel
	case moq.NotFound, moq.Unauthorized, moq.NotSupported, moq.TooOld:
		return wire.CodeNotFound
	case moq.Overloaded, moq.TooFarBehind, moq.TooLarge:
		return wire.CodeBounds
	case moq.Duplicate:
		return wire.CodeDuplicate
	case moq.Malformed:
		return wire.CodeDecode
	case moq.Truncated:
		return wire.CodeWrongSize
	default: // Internal, Timeout, GoingAway
		return wire.CodeTransport
	}
}

// codeOfDrop returns the code of a group that was given up. A group that
// stopped in the middle has the one that moq-relay 0.6.8 passes on then.
func codeOfDrop(r moq.DropReason) wire.Code {
	switch r {
	case moq.UpstreamReset:
		return wire.CodeWrongSize
	case moq.Stale, moq.Expired:
		return wire.CodeCancel
	default: // SlowSubscriber, StreamCredit, Memory
		return wire.CodeBounds
	}
}

// endOf returns why something ended that a peer ended with a code.
func endOf(code wire.Code) *moq.EndError {
	if n, ok := code.App(); ok {
		return &moq.EndError{Reason: moq.Cancelled, Detail: code.String(), App: min(n, math.MaxUint32-1) + 1}
	}
	reasons := map[wire.Code]moq.EndReason{
		wire.CodeCancel:    moq.Cancelled,
		wire.CodeTransport: moq.GoingAway,
		wire.CodeDecode:    moq.Malformed,
		wire.CodeBounds:    moq.Overloaded,
		wire.CodeDuplicate: moq.Duplicate,
		wire.CodeNotFound:  moq.NotFound,
		wire.CodeWrongSize: moq.Truncated,
	}
	if reason, ok := reasons[code]; ok {
		return &moq.EndError{Reason: reason}
	}
	return &moq.EndError{Reason: moq.Internal, Detail: code.String()}
}

// The wire's priorities are signed and, by the numbers that clients of the time
// gave their tracks, the smaller goes first.

func toPriority(p int8) moq.Priority   { return moq.Priority(math.MaxInt8 - int(p)) }
func fromPriority(p moq.Priority) int8 { return int8(math.MaxInt8 - int(p)) }

func toOrder(o wire.Order) moq.Order {
	if o == wire.Ascending {
		return moq.Ascending
	}
	return moq.Descending
}

func fromOrder(o moq.Order) wire.Order {
	if o == moq.Ascending {
		return wire.Ascending
	}
	return wire.Descending
}

// toAge returns the duration of so many milliseconds.
func toAge(millis uint64) time.Duration {
	const most = uint64(math.MaxInt64 / time.Millisecond)
	return time.Duration(min(millis, most)) * time.Millisecond
}

// fromAge returns the milliseconds of a duration, at least one unless it is
// zero, which means no limit.
func fromAge(d time.Duration) uint64 {
	return uint64((d + time.Millisecond - 1) / time.Millisecond)
}
