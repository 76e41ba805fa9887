// Package moqlite turns moq-lite messages into bytes and back, for all its
// versions from lite-01 to lite-06. It does no I/O, starts no goroutine and
// knows nothing of the relay above it.
//
// A stream starts with a varint [StreamType] or [UniStreamType]. On it stand
// messages, each with its length before it:
//
//	Announce     ANNOUNCE_REQUEST, answered with ANNOUNCE_OK (from lite-05 on)
//	             or ANNOUNCE_INIT (lite-01, lite-02) and any number of
//	             announcements
//	Subscribe    SUBSCRIBE and any number of SUBSCRIBE_UPDATE, answered with
//	             SUBSCRIBE_OK, SUBSCRIBE_DROP and SUBSCRIBE_END
//	Fetch        FETCH, answered with the frames of a group
//	Probe        nothing, answered with any number of PROBE
//	Goaway       GOAWAY
//	Track        TRACK, answered with TRACK_INFO
//	ClientSetup  CLIENT_SETUP, answered with the type ServerSetup and
//	             SERVER_SETUP, then SESSION_INFO both ways (lite-01, lite-02)
//
//	Group        GROUP, then frame headers, each followed by its payload
//	Setup        SETUP (from lite-05 on)
//
// Every message has an Append method, which adds its bytes to a slice, and a
// Consume function, which takes it from the front of one and says how many
// bytes it was. Where versions write a message differently, Append takes the
// version and Consume is a method of it; a struct has the fields of all
// versions, and those that a version does not carry are neither written nor
// read there. To write a message that the version lacks is a bug and panics.
//
// What always holds: Consume never panics and never allocates by a length it
// has not checked; it returns [wire.ErrShort] for every true prefix of a message
// and an error that is [wire.ErrMalformed] for bytes that no further bytes can
// repair; what it returns is appended as bytes that it reads as the same message
// again. A datagram comes whole, so there is no prefix of one.
package moqlite
