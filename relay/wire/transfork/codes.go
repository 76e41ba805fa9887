package transfork

import "fmt"

// Code is an error code of the protocol. It resets and stops streams, closes
// sessions and says in GROUP_DROP why groups are missing.
type Code uint32

// The codes that moq-relay 0.6.8 uses or knows. 2, 3, 6 to 8 and 16 to 63 are
// unassigned.
const (
	CodeCancel            Code = 0  // closed on purpose
	CodeRequiredExtension Code = 1  // never used
	CodeTransport         Code = 4  // the stream or connection below failed
	CodeDecode            Code = 5  // malformed message or unknown stream type
	CodeVersion           Code = 9  // no common version
	CodeUnexpectedStream  Code = 10 // a second Session stream
	CodeBounds            Code = 11 // a limit was exceeded
	CodeDuplicate         Code = 12 // the path is announced already
	CodeNotFound          Code = 13 // no such path, group or subscription
	CodeWrongSize         Code = 14 // a frame shorter than announced
	CodeProtocol          Code = 15 // never used
	codeApp               Code = 64
)

var codeNames = map[Code]string{
	CodeCancel:            "cancel",
	CodeRequiredExtension: "required extension",
	CodeTransport:         "transport",
	CodeDecode:            "decode",
	CodeVersion:           "version",
	CodeUnexpectedStream:  "unexpected stream",
	CodeBounds:            "bounds exceeded",
	CodeDuplicate:         "duplicate",
	CodeNotFound:          "not found",
	CodeWrongSize:         "wrong size",
	CodeProtocol:          "protocol violation",
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

// String names the code.
func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	if n, ok := c.App(); ok {
		return fmt.Sprintf("application %d", n)
	}
	return fmt.Sprintf("code %d", uint32(c))
}
