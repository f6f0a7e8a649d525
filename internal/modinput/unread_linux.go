package modinput

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// unread is how many bytes of what was written to a pipe its reader has not
// taken: Linux tells that at either end (pipe(7), FIONREAD). It is 0 for what is
// no pipe.
func unread(w io.Writer) int64 {
	file, ok := w.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	if err := raw.Control(func(fd uintptr) {
		var stat unix.Stat_t
		if unix.Fstat(int(fd), &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO {
			n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		}
	}); err != nil {
		return 0
	}
	return int64(n)
}
