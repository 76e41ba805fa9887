// Package wire holds what the codecs below it share: how numbers, strings and
// optional sequence numbers are written, a [Decoder] that takes them from the
// front of a slice, and the two kinds of error that reading ends with. Each
// folder below is one protocol.
//
// What always holds: a Decoder never panics, never allocates by a length it has
// not checked, and keeps its first error.
package wire
