package metrics

// Every label of every metric takes its values from one of these lists, or
// from the configuration. No label carries what a peer chose: no path, address
// or session.

// Protocol is what a session speaks.
type Protocol string

// The protocols. Those of moq-lite are named as their versions are.
const (
	Transfork Protocol = "moq-transfork" // of moq-relay 0.6
	Lite01    Protocol = "moq-lite-01"
	Lite02    Protocol = "moq-lite-02"
	Lite03    Protocol = "moq-lite-03"
	Lite04    Protocol = "moq-lite-04"
	Lite05    Protocol = "moq-lite-05"
	Lite06    Protocol = "moq-lite-06"
)

// Peer is the kind of a session's other end.
type Peer string

// The kinds of peer.
const (
	Client Peer = "client" // publishes or subscribes
	Node   Peer = "node"   // another relay of the cluster
)

// CloseReason says why a session ended.
type CloseReason string

// The reasons for the end of a session.
const (
	ClosedByPeer    CloseReason = "peer"       // the peer closed it, code 0
	ClosedPeerError CloseReason = "peer_error" // the peer closed it with an error
	ClosedHere      CloseReason = "local"      // this relay stopped, drained or replaced it
	ClosedProtocol  CloseReason = "protocol"   // the peer broke the protocol
	ClosedLimit     CloseReason = "limit"      // the peer went over a limit
	ClosedTimeout   CloseReason = "timeout"    // the peer was silent
	ClosedLost      CloseReason = "lost"       // the transport failed
	ClosedPanic     CloseReason = "panic"      // a bug here
)

// RefuseReason says why a connection did not become a session.
type RefuseReason string

// The reasons for a refusal.
const (
	RefusedLimit     RefuseReason = "limit"     // too many sessions
	RefusedHandshake RefuseReason = "handshake" // malformed
	RefusedVersion   RefuseReason = "version"   // no common version
	RefusedTimeout   RefuseReason = "timeout"   // too slow
	RefusedLost      RefuseReason = "lost"      // gone before the end of the handshake
	RefusedDraining  RefuseReason = "draining"  // the relay stops
)

// Side tells the subscriptions that a relay serves from those it has.
type Side string

// The sides.
const (
	Up   Side = "up"   // towards the publisher
	Down Side = "down" // towards subscribers
)

// SubscribeError says why a subscription was refused or failed.
type SubscribeError string

// The reasons for a refused or failed subscription.
const (
	SubscribeNotFound SubscribeError = "not_found"
	SubscribeTimeout  SubscribeError = "timeout"
	SubscribeLimit    SubscribeError = "limit"
	SubscribeUpstream SubscribeError = "upstream" // the publisher ended it with an error
	SubscribeProtocol SubscribeError = "protocol"
	SubscribeInternal SubscribeError = "internal"
)

// Action is what an announcement is, or what became of it.
type Action string

// The actions.
const (
	Announced   Action = "announce"
	Unannounced Action = "unannounce"
	Refused     Action = "refuse" // there were too many
)

// CacheResult says whether a group was at hand.
type CacheResult string

// The results.
const (
	CacheHit  CacheResult = "hit"
	CacheMiss CacheResult = "miss"
)

// Plane is one of the two sets of certificates.
type Plane string

// The planes.
const (
	Public   Plane = "public"   // what clients see
	Internal Plane = "internal" // what other nodes see
)

// Direction tells what this relay says from what it is told.
type Direction string

// The directions.
const (
	Sent     Direction = "sent"
	Received Direction = "received"
)

var (
	directions      = []Direction{Sent, Received}
	protocols       = []Protocol{Transfork, Lite01, Lite02, Lite03, Lite04, Lite05, Lite06}
	transports      = []string{"quic", "webtransport", "websocket"}
	peers           = []Peer{Client, Node}
	closeReasons    = []CloseReason{ClosedByPeer, ClosedPeerError, ClosedHere, ClosedProtocol, ClosedLimit, ClosedTimeout, ClosedLost, ClosedPanic}
	refuseReasons   = []RefuseReason{RefusedLimit, RefusedHandshake, RefusedVersion, RefusedTimeout, RefusedLost, RefusedDraining}
	sides           = []Side{Up, Down}
	subscribeErrors = []SubscribeError{SubscribeNotFound, SubscribeTimeout, SubscribeLimit, SubscribeUpstream, SubscribeProtocol, SubscribeInternal}
	actions         = []Action{Announced, Unannounced, Refused}
	cacheResults    = []CacheResult{CacheHit, CacheMiss}
	qlogReasons     = []string{"queue", "limit", "disk", "encode"}
	dropReasons     = []string{"slow_subscriber", "stale", "stream_credit", "memory", "expired", "upstream_reset"}
	sources         = []string{"local", "node"}
	peerStates      = []string{"connected", "lost"}
	dialResults     = []string{"ok", "failed"}
)

// maxRoots bounds the label of root_connected.
const maxRoots = 3
