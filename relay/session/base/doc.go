// Package base is what the sessions of all protocols have in common. It stands
// below them and beside no wire format:
//
//	Base      the life of a connection and of every goroutine on it, the rate of
//	          its control messages, the two stages of its end, its counters
//	Reader    messages from a stream, each as soon as it is whole
//	Delivery  the groups of one subscription of the peer, a stream for each
//
// A protocol gives a [Codes] and, for each subscription, a [Subscriber]; these
// say what things look like on its wire.
//
// What always holds:
//
//   - A panic, a limit or a broken message ends the session at most.
//   - Run returns only when every goroutine has that Spawn started.
//   - Every group of a subscription arrives whole, or its stream is reset and a
//     drop is told, as far as the protocol knows drops.
//   - No stream waits for another, and missing credit for streams makes a
//     subscription skip to its newest group.
package base
