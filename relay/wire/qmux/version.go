package qmux

// Version is how frames are written and which there are.
type Version uint8

// The versions.
const (
	Version00 Version = iota
	Version01
	Version02
	// Legacy is the framing before QMux: streams and codes alone.
	Legacy
)

// MaxRecord is how long a message may be that a peer has to take. It is the
// default of max_record_size, and nobody may announce less.
const MaxRecord = 16382

const (
	maxMessage00 = 16384
	// maxMessageLegacy is ours: that framing has no limit, and those that speak it
	// write about 16 KiB at a time.
	maxMessageLegacy = 64 << 10
)

// String returns the name of a WebSocket subprotocol without an application token.
func (v Version) String() string {
	switch v {
	case Version00:
		return "qmux-00"
	case Version01:
		return "qmux-01"
	case Version02:
		return "qmux-02"
	default:
		return "webtransport"
	}
}

// MaxMessage is the length of the longest message to accept.
func (v Version) MaxMessage() int {
	switch v {
	case Version00:
		return maxMessage00
	case Legacy:
		return maxMessageLegacy
	default:
		return MaxRecord
	}
}

// HasRecords says that a message holds one or more frames and not exactly one.
func (v Version) HasRecords() bool { return v == Version01 || v == Version02 }

// HasPings says that there are QX_PING and an idle timeout.
func (v Version) HasPings() bool { return v == Version01 || v == Version02 }

// HasCredit says that there are transport parameters and flow control.
func (v Version) HasCredit() bool { return v != Legacy }
