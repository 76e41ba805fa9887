// Package readme holds the output that README.md shows to what the commands
// really print. It is all tests; `go test ./hack/readme -update` runs the
// commands and rewrites the blocks between the output marks.
package readme
