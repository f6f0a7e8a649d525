package forwarder_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"aiwatch/forwarder/queue"
)

// mountSmall makes dir a file system of 4 MB, where that is allowed.
func mountSmall(t *testing.T, dir string) (unmount func()) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skip("mounting needs root:", err)
	}
	return func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) }
}

func TestAStateThatCantBeWrittenIsAnErrorAtTheStart(t *testing.T) {
	dir := t.TempDir()
	defer mountSmall(t, dir)()
	state := filepath.Join(dir, "state")
	q, err := queue.Open(state, queue.Options{})
	require.NoError(t, err)
	require.NoError(t, q.Close())
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=4m"))
	_, err = queue.Open(state, queue.Options{})
	require.ErrorIs(t, err, queue.ErrState)
	require.ErrorContains(t, err, "read-only")
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=4m"))

	f, err := os.Create(filepath.Join(dir, "ballast"))
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.NoError(t, f.Close())
	_, err = queue.Open(filepath.Join(dir, "new"), queue.Options{})
	require.ErrorIs(t, err, queue.ErrState)
	require.ErrorContains(t, err, "no space")
	require.NoError(t, os.Remove(filepath.Join(dir, "ballast")))
	for _, folder := range []string{"state", "new"} {
		q, err = queue.Open(filepath.Join(dir, folder), queue.Options{})
		require.NoError(t, err)
		condition, reason := q.Condition()
		require.NotEqual(t, queue.Damaged, condition, reason)
		require.NoError(t, q.Close())
	}
}
