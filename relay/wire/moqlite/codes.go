package moqlite

import "fmt"

// Code is an error code. It resets and stops streams, closes sessions and says
// in SUBSCRIBE_DROP why groups are missing. What it means depends on where it
// stands and on the version, see [Version.CloseName] and [Version.ResetName].
type Code uint32

// The codes up to lite-05, for sessions and streams alike. 7, 8, 22, 23, 28 and
// 32 to 63 are unassigned.
const (
	CodeCancel            Code = 0 // closed on purpose
	CodeRequiredExtension Code = 1
	CodeTooOld            Code = 2 // the group
	CodeTimeout           Code = 3
	CodeTransport         Code = 4 // the stream or connection below failed
	CodeDecode            Code = 5 // malformed message
	CodeUnauthorized      Code = 6
	CodeVersion           Code = 9 // no common version
	CodeUnexpectedStream  Code = 10
	CodeBounds            Code = 11
	CodeDuplicate         Code = 12
	CodeNotFound          Code = 13
	CodeWrongSize         Code = 14 // a frame of another size than announced
	CodeProtocol          Code = 15
	CodeUnexpectedMessage Code = 16
	CodeUnsupported       Code = 17
	CodeEncode            Code = 18
	CodeTooManyParameters Code = 19
	CodeRole              Code = 20 // not what the role in SETUP allows
	CodeToken             Code = 21 // unknown ALPN
	CodeDropped           Code = 24 // the source went away
	CodeClosed            Code = 25
	CodeLagged            Code = 26 // the reader did
	CodeFrameTooLarge     Code = 27
	CodeTimestamp         Code = 29 // does not fit the timescale
	CodeUnroutable        Code = 30
	CodeEvicted           Code = 31 // from the cache
)

// The codes with which lite-06 closes a session.
const (
	CloseNoError       Code = 0x0
	CloseInternal      Code = 0x1
	CloseUnauthorized  Code = 0x2
	CloseProtocol      Code = 0x3
	CloseKeyValue      Code = 0x6 // malformed or repeated
	CloseTooMany       Code = 0x7 // requests
	CloseGoawayTimeout Code = 0x10
	CloseTimeout       Code = 0x11 // of a control message
	CloseVersion       Code = 0x15 // no common version
)

// The codes with which lite-06 resets and stops a stream. Cancelled is 1, and 0
// an error.
const (
	ResetInternal       Code = 0x0
	ResetCancelled      Code = 0x1 // not wanted any longer
	ResetDeadline       Code = 0x2 // missed
	ResetSessionClosed  Code = 0x3
	ResetGoaway         Code = 0x4
	ResetTooFarBehind   Code = 0x5 // the reader is
	ResetMalformedTrack Code = 0x12
	ResetNoCapacity     Code = 0x30 // one retry elsewhere is allowed
	ResetTimeout        Code = 0x31 // a request was not answered
	ResetGroupTooLarge  Code = 0x32 // for the cache
	ResetNotFound       Code = 0x33
	ResetOld            Code = 0x34 // a newer group has come
	ResetEvicted        Code = 0x35 // may be fetched again
	ResetUnroutable     Code = 0x36
	ResetWrongSize      Code = 0x37
	ResetFrameTooLarge  Code = 0x38
	ResetTimestamp      Code = 0x39 // does not fit the timescale
)

// codeApp is the first of the application's codes, in every table.
const codeApp Code = 64

var codeNames = map[Code]string{
	CodeCancel:            "cancel",
	CodeRequiredExtension: "required extension",
	CodeTooOld:            "too old",
	CodeTimeout:           "timeout",
	CodeTransport:         "transport",
	CodeDecode:            "decode",
	CodeUnauthorized:      "unauthorized",
	CodeVersion:           "version",
	CodeUnexpectedStream:  "unexpected stream",
	CodeBounds:            "bounds exceeded",
	CodeDuplicate:         "duplicate",
	CodeNotFound:          "not found",
	CodeWrongSize:         "wrong size",
	CodeProtocol:          "protocol violation",
	CodeUnexpectedMessage: "unexpected message",
	CodeUnsupported:       "unsupported",
	CodeEncode:            "encode",
	CodeTooManyParameters: "too many parameters",
	CodeRole:              "role",
	CodeToken:             "unknown token",
	CodeDropped:           "dropped",
	CodeClosed:            "closed",
	CodeLagged:            "lagged",
	CodeFrameTooLarge:     "frame too large",
	CodeTimestamp:         "timestamp",
	CodeUnroutable:        "unroutable",
	CodeEvicted:           "evicted",
}

var closeNames = map[Code]string{
	CloseNoError:       "no error",
	CloseInternal:      "internal error",
	CloseUnauthorized:  "unauthorized",
	CloseProtocol:      "protocol violation",
	CloseKeyValue:      "key-value formatting",
	CloseTooMany:       "too many requests",
	CloseGoawayTimeout: "goaway timeout",
	CloseTimeout:       "control message timeout",
	CloseVersion:       "version",
}

var resetNames = map[Code]string{
	ResetInternal:       "internal error",
	ResetCancelled:      "cancelled",
	ResetDeadline:       "deadline missed",
	ResetSessionClosed:  "session closed",
	ResetGoaway:         "going away",
	ResetTooFarBehind:   "too far behind",
	ResetMalformedTrack: "malformed track",
	ResetNoCapacity:     "no capacity",
	ResetTimeout:        "request timeout",
	ResetGroupTooLarge:  "group too large",
	ResetNotFound:       "not found",
	ResetOld:            "old",
	ResetEvicted:        "evicted",
	ResetUnroutable:     "unroutable",
	ResetWrongSize:      "wrong size",
	ResetFrameTooLarge:  "frame too large",
	ResetTimestamp:      "timestamp",
}

// AppCode returns the code with which an application closes something with n.
func AppCode(n uint32) Code {
	if n > ^uint32(0)-uint32(codeApp) {
		return ^Code(0)
	}
	return codeApp + Code(n)
}

// App returns the application's own number if c is one of its codes.
func (c Code) App() (n uint32, ok bool) {
	if c < codeApp {
		return 0, false
	}
	return uint32(c - codeApp), true
}

// String tells the number, as the name depends on more.
func (c Code) String() string {
	if n, ok := c.App(); ok {
		return fmt.Sprintf("application %d", n)
	}
	return fmt.Sprintf("code %#x", uint32(c))
}

// CloseName names a code with which a session was closed. Relays of autumn 2026
// send the codes of lite-06 on every version, so the name of one that is in both
// tables may be the wrong one on older versions.
func (v Version) CloseName(c Code) string {
	return v.name(c, closeNames)
}

// ResetName names a code with which a stream was reset or stopped, with the
// reservation of [Version.CloseName].
func (v Version) ResetName(c Code) string {
	return v.name(c, resetNames)
}

func (v Version) name(c Code, names map[Code]string) string {
	if v < Version06 {
		if name, ok := codeNames[c]; ok {
			return name
		}
	}
	if name, ok := names[c]; ok {
		return name
	}
	return c.String()
}
