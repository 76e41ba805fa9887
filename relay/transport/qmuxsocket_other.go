//go:build !linux

package transport

import "net"

// limitUnsent is for Linux alone; elsewhere priorities are less exact.
func limitUnsent(net.Conn, int) {}
