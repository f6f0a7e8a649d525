package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mountTmpfs mounts a tmpfs of this size on a new folder until the test ends.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a tmpfs needs root")
	}
	dir := t.TempDir()
	err := syscall.Mount("aiwatch", dir, "tmpfs", 0, "mode=0700,size="+size)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("this machine lets nobody mount a tmpfs")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// remount changes a mounted tmpfs.
func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	require.NoError(t, syscall.Mount("aiwatch", dir, "tmpfs", syscall.MS_REMOUNT|flags, ""))
}

// mostMiB waits for the end of the process, of a pass that must end well, and
// returns the most anonymous memory that it was seen to have.
func (p *process) mostMiB(t *testing.T) int {
	t.Helper()
	most, tick := 0, time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !p.hasEnded() {
		most = max(most, anonymousKiB(t, p.cmd.Process.Pid))
		<-tick.C
	}
	require.Equal(t, exitDone, p.end(t), tail(p.log.String()))
	require.Positive(t, most)
	return most >> 10
}

// anonymousKiB is a process's memory that is no mapped file; 0 when the process
// has ended.
func anonymousKiB(t *testing.T, pid int) (kib int) {
	t.Helper()
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "Anonymous:"); ok {
			_, err := fmt.Sscanf(rest, "%d kB", &kib)
			require.NoError(t, err)
		}
	}
	return kib
}
