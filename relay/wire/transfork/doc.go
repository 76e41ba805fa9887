// Package transfork turns MoqTransfork messages into bytes and back, as spoken
// by moq-relay 0.6.4 to 0.6.19 under the wire version 0xff0bad02. It does no
// I/O, starts no goroutine and knows nothing of the relay above it.
//
// The protocol has no framing: which message comes next follows from the type
// of the stream and the position on it. A stream starts with a varint
// [StreamType] or [UniStreamType]; then
//
//	Session    SESSION_CLIENT from the client, SESSION_SERVER in answer
//	Announce   ANNOUNCE_INTEREST, answered with any number of ANNOUNCE
//	Subscribe  SUBSCRIBE and any number of SUBSCRIBE_UPDATE, answered with
//	           INFO and any number of GROUP_DROP
//	Fetch      FETCH, answered with the bytes of a group after its header
//	Info       INFO_REQUEST, answered with INFO
//	Group      GROUP, then FRAME headers, each followed by its payload
//
// Every message has an Append method, which adds its bytes to a slice, and a
// Consume function, which takes it from the front of one and says how many
// bytes it was.
//
// What always holds: Consume never panics and never allocates by a length it
// has not checked; it returns [ErrShort] for every true prefix of a message and
// any other error for bytes that no further bytes can repair; what it returns
// is appended as bytes that it reads as the same message again.
package transfork
