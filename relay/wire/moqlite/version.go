package moqlite

import "fmt"

// Version is a version of moq-lite. Later ones compare as greater.
type Version uint8

// The versions that this package speaks.
const (
	Version01 Version = iota + 1
	Version02
	Version03
	Version04
	Version05
	Version06
)

// TokenInBand is the token of lite-01 and lite-02: which of the two is spoken
// is settled by CLIENT_SETUP and SERVER_SETUP.
const TokenInBand = "moql"

const (
	tokenPrefix = "moq-lite-0"
	codeBase    = 0xff0dad00
)

// ParseToken returns the version that a token settles alone. It knows no
// [TokenInBand], and no token of an unfinished draft.
func ParseToken(token string) (v Version, ok bool) {
	for v := Version03; v <= Version06; v++ {
		if v.Token() == token {
			return v, true
		}
	}
	return 0, false
}

// ParseCode returns the version that a code in CLIENT_SETUP or SERVER_SETUP
// stands for. Only lite-01 and lite-02 are negotiated there.
func ParseCode(code uint64) (v Version, ok bool) {
	for v := Version01; v.IsInBand(); v++ {
		if v.Code() == code {
			return v, true
		}
	}
	return 0, false
}

// String names the version as the drafts do.
func (v Version) String() string {
	if v < Version01 || v > Version06 {
		return fmt.Sprintf("moq-lite (%d)", uint8(v))
	}
	return fmt.Sprintf("%s%d", tokenPrefix, uint8(v))
}

// Token returns what names the version in ALPN, WT-Protocol and subprotocols.
func (v Version) Token() string {
	if v.IsInBand() {
		return TokenInBand
	}
	return v.String()
}

// Code returns the number of the version in CLIENT_SETUP and SERVER_SETUP.
func (v Version) Code() uint64 { return codeBase + uint64(v) }

// IsInBand says whether the version is negotiated on a stream of the session
// ("negotiated by": SETUP).
func (v Version) IsInBand() bool { return v == Version01 || v == Version02 }

// HasUpdate says whether there is SUBSCRIBE_UPDATE, and latency and bounds in
// SUBSCRIBE ("SUBSCRIBE_UPDATE"; "SUBSCRIBE latency, start, end").
func (v Version) HasUpdate() bool { return v >= Version03 }

// HasProbe says whether there are Probe streams ("Probe").
func (v Version) HasProbe() bool { return v >= Version03 }

// HasGoaway says whether there are Goaway streams ("Goaway").
func (v Version) HasGoaway() bool { return v >= Version04 }

// HasExclude says whether ANNOUNCE_REQUEST names a hop to leave out
// ("ANNOUNCE_REQUEST exclude hop").
func (v Version) HasExclude() bool { return v == Version04 || v == Version05 }

// HasSetup says whether each side opens a Setup stream, and answers
// ANNOUNCE_REQUEST with ANNOUNCE_OK ("Setup uni streams"; "first announce
// reply").
func (v Version) HasSetup() bool { return v >= Version05 }

// HasTrack says whether there are Track streams ("Track stream").
func (v Version) HasTrack() bool { return v >= Version05 }

// HasTimestamps says whether frames carry one ("frame timestamp delta").
func (v Version) HasTimestamps() bool { return v >= Version05 }

// HasFetch says whether Fetch streams are served ("Fetch stream"). Lite-03 and
// lite-04 knew the message, but nobody answers it there.
func (v Version) HasFetch() bool { return v >= Version05 }

// HasDatagrams says whether groups may come in datagrams ("datagrams").
func (v Version) HasDatagrams() bool { return v >= Version05 }

// HasCosts says whether announcements carry costs and have ids, and whether
// subscriptions start at a floor and have bounds within groups ("costs in
// announcement"; "announcement form"; "frame bounds; GROUP frame start").
func (v Version) HasCosts() bool { return v >= Version06 }

// hasOrdered says whether SUBSCRIBE and TRACK_INFO carry an order ("SUBSCRIBE
// `ordered`"; "Track stream").
func (v Version) hasOrdered() bool { return v.HasUpdate() && v <= Version05 }

// hasRTT says whether PROBE carries a round trip time ("Probe": + rtt).
func (v Version) hasRTT() bool { return v >= Version04 }

// mustHave panics if v has no such message: nothing that could be written in
// its place would be understood.
func (v Version) mustHave(has bool, message string) {
	if !has {
		panic(fmt.Sprintf("BUG: %s has no %s", v, message))
	}
}
