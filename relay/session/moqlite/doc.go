// Package moqlite speaks moq-lite on a connection, in its versions 01 to 06. It
// translates between the wire (package wire/moqlite) and the live tracks and
// announcements of the relay (packages moq and origin). What it has in common
// with sessions of other protocols is in package base.
//
//	            peer announces                          peer is told
//	In  ◄──── announce_subscribe      Out ────► announce_publish
//	            peer publishes                          peer subscribes
//	moq ◄──── subscribe_consume       moq ────► subscribe_publish
//	  tracks ◄── group_recv            tracks ────► base.Delivery
//
// A broadcast of the path a/b and its track c are the path [a b c] of the relay,
// below the root that the peer named when it connected.
//
// What always holds:
//
//   - Where versions differ, the difference is in wire/moqlite, in a method of
//     its Version, or in a function here that says so. None is guessed from
//     what a peer sends.
//   - SUBSCRIBE_END goes before the FIN of a subscription that came to its end,
//     and the FIN after its last group.
//   - Nothing is announced to a peer, or served to it, by a way that leads
//     through it.
//   - A path that another protocol would read as another path is neither
//     announced nor served.
package moqlite
