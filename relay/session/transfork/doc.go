// Package transfork speaks MoqTransfork on a connection, as moq-relay 0.6.4 to
// 0.6.19 and their clients do under the version 0xff0bad02. It translates
// between the wire (package wire/transfork) and the live tracks and
// announcements of the relay (packages moq and origin).
//
//	            peer announces                          peer is told
//	In  ◄──── announce_subscribe      Out ────► announce_publish
//	            peer publishes                          peer subscribes
//	moq ◄──── subscribe_consume       moq ────► subscribe_publish
//	  tracks ◄── group_recv            tracks ────► group_send
//
// Where the released programs have defects, a session here does better in ways
// that they understand. Peers that carry our mark in the handshake, the private
// extension [wire.ExtensionNode], are known not to have the defects; for all
// others
//
//   - a group that is refused on a young subscription is sent again, and the
//     end of such a group is held back until a refusal would have arrived:
//     moq-relay 0.6.8 knows a subscription only once it has read INFO;
//   - no SUBSCRIBE_UPDATE is sent, as its reader and writer disagree.
//
// What always holds:
//
//   - INFO goes before the first group of a subscription, and carries the
//     asker's own priority, order and expiry.
//   - Every group of a subscription arrives whole, or its stream is reset, or
//     it has none; in the latter two cases GROUP_DROP says so.
//   - No stream waits for another: each has a goroutine, and missing credit for
//     streams makes a subscription skip to its newest group.
//   - An announcement is told once until its end is.
//   - Nothing is sent on the Session stream after the handshake.
package transfork
