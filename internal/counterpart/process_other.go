//go:build unix && !linux

package counterpart

import "syscall"

// attributes put a program into a group of its own, so that its children can be
// ended with it. Only Linux can tie it to the life of the test.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
