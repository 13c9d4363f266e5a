package stdio

import "syscall"

// childAttributes put the child into a group of its own, which is ended as a
// whole, and let it die with the gateway.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
