package browser

import (
	"os/exec"
	"syscall"
)

// endsWithUs has the kernel interrupt cmd should this process die.
func endsWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT} }
