package local

import "syscall"

// childAttributes puts a relay into a process group of its own, so that Ctrl-C
// reaches this process alone, and has the kernel end it should this process
// die.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
