// Command broken stands in for a release of moq-relay that does not start: the
// rig rolls it out to see that one pod is lost and no more.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "moq-relay: this build does not start, on purpose")
	os.Exit(1)
}
