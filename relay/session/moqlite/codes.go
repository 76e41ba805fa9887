package moqlite

import (
	"errors"
	"io"
	"math"
	"os"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/base"
	common "github.com/moqrelay/moqrelay/relay/wire"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// codes are the error codes of a session's version: one table up to lite-05,
// and two from lite-06 on, in which 0 is an error on a stream. The version is that
// of the token, as sessions may end while another is being settled: 0 stands for
// lite-02 and lite-01, which have the same table.
type codes struct{ version wire.Version }

// Stream is the code that ends a stream.
func (c codes) Stream(err error) uint32 {
	if e, ok := errors.AsType[*moq.EndError](err); ok && e.App > 0 {
		return uint32(wire.AppCode(e.App - 1))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = moq.ErrTimeout
	}
	isNew := c.version.HasCosts()
	var code wire.Code
	switch {
	case errors.Is(err, errUnknownStream) && isNew:
		code = wire.ResetCancelled // there is none for that
	case errors.Is(err, errUnknownStream):
		code = wire.CodeUnexpectedStream
	case errors.Is(err, base.ErrDraining) && isNew:
		code = wire.ResetGoaway
	case isNew:
		code = resetOf(err)
	default:
		code = codeOf(err) // ErrDraining as well: the source is gone
	}
	return uint32(code)
}

// oldReasons and newReasons are how the ends of things are said up to lite-05
// and from lite-06 on.
var (
	oldReasons = map[moq.EndReason]wire.Code{
		moq.Ended:        wire.CodeCancel,
		moq.Cancelled:    wire.CodeCancel,
		moq.NotFound:     wire.CodeNotFound,
		moq.Unauthorized: wire.CodeUnauthorized,
		moq.Timeout:      wire.CodeTimeout,
		moq.NotSupported: wire.CodeUnsupported,
		moq.GoingAway:    wire.CodeDropped,
		moq.Overloaded:   wire.CodeEvicted,
		moq.TooFarBehind: wire.CodeLagged,
		moq.Duplicate:    wire.CodeDuplicate,
		moq.Malformed:    wire.CodeDecode,
		moq.Truncated:    wire.CodeDropped,
		moq.TooOld:       wire.CodeTooOld,
		moq.TooLarge:     wire.CodeFrameTooLarge,
	}
	newReasons = map[moq.EndReason]wire.Code{
		moq.Ended:        wire.ResetCancelled,
		moq.Cancelled:    wire.ResetCancelled,
		moq.NotFound:     wire.ResetUnroutable,
		moq.Unauthorized: wire.ResetUnroutable, // what may not be seen is not there
		moq.Timeout:      wire.ResetTimeout,
		moq.NotSupported: wire.ResetCancelled,
		moq.GoingAway:    wire.ResetSessionClosed,
		moq.Overloaded:   wire.ResetNoCapacity,
		moq.TooFarBehind: wire.ResetTooFarBehind,
		moq.Duplicate:    wire.ResetCancelled,
		moq.Malformed:    wire.ResetCancelled,
		moq.Truncated:    wire.ResetSessionClosed,
		moq.TooOld:       wire.ResetOld,
		moq.TooLarge:     wire.ResetFrameTooLarge,
	}
	oldDrops = map[moq.DropReason]wire.Code{
		moq.SlowSubscriber: wire.CodeLagged,
		moq.Stale:          wire.CodeTooOld,
		moq.StreamCredit:   wire.CodeLagged,
		moq.Memory:         wire.CodeEvicted,
		moq.Expired:        wire.CodeTooOld,
		moq.UpstreamReset:  wire.CodeDropped,
	}
	newDrops = map[moq.DropReason]wire.Code{
		moq.SlowSubscriber: wire.ResetTooFarBehind,
		moq.Stale:          wire.ResetDeadline,
		moq.StreamCredit:   wire.ResetTooFarBehind,
		moq.Memory:         wire.ResetEvicted,
		moq.Expired:        wire.ResetOld,
		moq.UpstreamReset:  wire.ResetSessionClosed,
	}
)

func codeOf(err error) wire.Code {
	return lookUp(err, oldReasons, oldDrops, wire.CodeDecode, wire.CodeDropped)
}

func resetOf(err error) wire.Code {
	return lookUp(err, newReasons, newDrops, wire.ResetCancelled, wire.ResetInternal)
}

func lookUp(err error, reasons map[moq.EndReason]wire.Code, drops map[moq.DropReason]wire.Code, malformed, other wire.Code) wire.Code {
	if e, ok := errors.AsType[*moq.DropError](err); ok {
		return drops[e.Reason]
	}
	if e, ok := errors.AsType[*moq.EndError](err); ok {
		if code, ok := reasons[e.Reason]; ok {
			return code
		}
		return other
	}
	if errors.Is(err, common.ErrMalformed) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed
	}
	return other
}

// Session is the code that closes a session.
func (c codes) Session(err error) uint32 {
	fault := base.Fault(math.MaxUint8)
	if e, ok := errors.AsType[*base.Violation](err); ok {
		fault = e.Fault
	} else if errors.Is(err, common.ErrMalformed) {
		fault = base.Protocol
	}
	_, panicked := errors.AsType[*session.PanicError](err)
	isNew := c.version.HasCosts()
	code := wire.CodeTransport
	switch {
	case err == nil:
		code = wire.CodeCancel
	case errors.Is(err, base.ErrHandshakeTimeout) && isNew:
		code = wire.CloseTimeout
	case errors.Is(err, base.ErrHandshakeTimeout):
		code = wire.CodeTimeout
	case fault == base.Version && isNew:
		code = wire.CloseVersion
	case fault == base.Version:
		code = wire.CodeVersion
	case fault == base.Limit && isNew:
		code = wire.CloseTooMany
	case fault == base.Limit:
		code = wire.CodeBounds
	case fault == base.Forbidden && isNew:
		code = wire.CloseUnauthorized
	case fault == base.Forbidden:
		code = wire.CodeUnauthorized
	case fault == base.Protocol && isNew:
		code = wire.CloseProtocol
	case fault == base.Protocol:
		code = wire.CodeProtocol
	case isNew, panicked:
		code = wire.CloseInternal
	}
	return uint32(code)
}

// SessionEnd tells whether a peer that closes with a code had no complaint.
func (codes) SessionEnd(code uint32) bool { return code == 0 }

// Reason is why a peer ended a stream with a code. Relays of autumn 2026 send
// the codes of lite-06 in every version, so that only those are read that mean
// the same in either table, or stand in one.
func (c codes) Reason(code uint32) *moq.EndError {
	named := wire.Code(code)
	detail := c.version.ResetName(named)
	reason := moq.Internal
	switch {
	case named >= wire.AppCode(0):
		n, _ := named.App()
		return &moq.EndError{Reason: moq.Cancelled, Detail: detail, App: min(n, math.MaxUint32-1) + 1}
	case named == wire.CodeCancel && !c.version.HasCosts(), named == wire.ResetCancelled:
		reason = moq.Cancelled
	case named == wire.CodeNotFound, named == wire.CodeUnroutable, named == wire.ResetNotFound, named == wire.ResetUnroutable:
		reason = moq.NotFound
	case named == wire.CodeDropped, named == wire.ResetSessionClosed, named == wire.ResetGoaway, named == wire.ResetNoCapacity:
		reason = moq.GoingAway // to try again elsewhere, which no subscriber is told to more than once
	}
	return &moq.EndError{Reason: reason, Detail: detail}
}
