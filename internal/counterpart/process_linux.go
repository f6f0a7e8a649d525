package counterpart

import "syscall"

// attributes put a program into a group of its own, so that its children can be
// ended with it, and let it end when the test is killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
