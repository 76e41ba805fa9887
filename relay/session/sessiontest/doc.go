// Package sessiontest plays the other end of sessions, byte by byte, in fake
// time. It is for the tests of the protocols' packages alone.
//
//	World   a relay with one table on a simulated network; its sessions are
//	        those under test
//	Peer    what is at the other end of one
//	Stream  a stream of a peer, read and written in hex
package sessiontest
