// Command probe says of TCP addresses whether somebody answers there, a line
// each, from inside a pod: "10.0.0.1:9090 open", or closed.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// patience is how long an answer may take; where a policy drops packets there is
// none.
const patience = 2 * time.Second

func main() {
	var all sync.WaitGroup
	for _, address := range os.Args[1:] {
		all.Go(func() { fmt.Println(address, state(address)) })
	}
	all.Wait()
}

func state(address string) string {
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(context.Background(), "tcp", address)
	if err != nil {
		return "closed"
	}
	_ = conn.Close() // nothing was sent
	return "open"
}
