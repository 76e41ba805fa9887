package transport

import "math"

// The range that WebTransport gives its streams' codes among HTTP/3's error
// codes (draft-ietf-webtrans-http3, section "Resetting Data Streams"). Every
// 31st value of it is reserved and no code.
const (
	firstMappedCode = 0x52e4a40fa8db
	lastMappedCode  = 0x52e5ac983162
)

// mapCode returns the code on the wire of a WebTransport application's code.
func mapCode(code uint32) uint64 {
	return firstMappedCode + uint64(code) + uint64(code)/0x1e
}

// unmapCode is the inverse of mapCode, and false for values it does not return.
func unmapCode(wire uint64) (uint32, bool) {
	if wire < firstMappedCode || wire > lastMappedCode || (wire-0x21)%0x1f == 0 {
		return 0, false
	}
	shifted := wire - firstMappedCode
	return uint32(shifted - shifted/0x1f), true
}

// wireCode returns the code to put on the wire.
func wireCode(code uint32, mapped bool) uint64 {
	if mapped {
		return mapCode(code)
	}
	return uint64(code)
}

// anyCode returns the application's code of a code on the wire, mapped or not.
func anyCode(wire uint64) (code uint32, mapped bool) {
	if code, ok := unmapCode(wire); ok {
		return code, true
	}
	return uint32(min(wire, math.MaxUint32)), false
}
