package forwarder_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mountSmall makes dir a file system of 4 MB, where that is allowed.
func mountSmall(t *testing.T, dir string) (unmount func()) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skip("mounting needs root:", err)
	}
	return func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) }
}
