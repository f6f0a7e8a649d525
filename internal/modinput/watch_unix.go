//go:build unix

package modinput

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watch waits until splunkd is gone or has closed the pipe of the events, and
// returns which; it returns nil when ctx is done. Parent is the process id of
// splunkd as it was at the start. It looks whenever tick says so.
//
// splunkd ends an input with SIGTERM. When it dies itself it does not, and the
// input would run on beside the one that the next splunkd starts.
func Watch(ctx context.Context, parent int, out *os.File, tick <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
		if os.Getppid() != parent {
			return ErrParentGone
		}
		if readerGone(out) {
			return ErrPipeClosed
		}
	}
}

// readerGone tells whether out is a pipe whose reader is gone, without writing
// to it.
func readerGone(out *os.File) bool {
	raw, err := out.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	_ = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		gone = err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLNVAL) != 0
	})
	return gone
}

// PipeOut returns a standard stream as a file whose writes can be broken off by
// a deadline, where it is a pipe. A write to a pipe whose reader is gone is then
// an error instead of the program's end, as long as SIGPIPE is caught.
func PipeOut(f *os.File) *os.File {
	fd := int(f.Fd()) // makes it blocking
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFIFO || unix.SetNonblock(fd, true) != nil {
		return f
	}
	return os.NewFile(uintptr(fd), f.Name())
}
