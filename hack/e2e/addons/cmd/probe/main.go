// Command probe says of TCP addresses whether somebody answers there, a line
// each, from inside a pod: "10.0.0.1:9090 open", or closed.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

// patience is how long an answer may take; where a policy drops packets there is
// none.
const patience = 2 * time.Second

func main() {
	dialer := net.Dialer{Timeout: patience}
	for _, address := range os.Args[1:] {
		state := "closed"
		if conn, err := dialer.DialContext(context.Background(), "tcp", address); err == nil {
			state = "open"
			_ = conn.Close() // nothing was sent
		}
		fmt.Println(address, state)
	}
}
