package transport

import (
	"net"
	"syscall"
)

// tcpNotSentLowat is TCP_NOTSENT_LOWAT, which package syscall lacks.
const tcpNotSentLowat = 25

// limitUnsent has the kernel take no more than about n bytes that it cannot send
// yet. The send buffer beside them holds what is under way, so that this costs no
// throughput.
func limitUnsent(conn net.Conn, n int) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // it is about to fail in any case
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, n) // priorities are just less exact without
	})
}
