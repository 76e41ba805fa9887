//go:build !linux

package local

import "syscall"

// childAttributes puts a relay into a process group of its own, so that Ctrl-C
// reaches this process alone.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
