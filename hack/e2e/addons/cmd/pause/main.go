// Command pause is the sandbox of each pod: it holds the pod's namespaces while
// its containers come and go, and reaps what they leave behind. It ends at the
// first signal that asks it to.
package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// One place for the signal that ends it; orphans are reaped all at once, so
	// that signals lost to a full channel do not matter.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		reap()
	}
}

// reap collects every child that has ended.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
