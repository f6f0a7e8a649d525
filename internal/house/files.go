package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Files are the files of the repository whose top is root, committed or about
// to be, relative to it.
func Files(t testing.TB, root string) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	out, err := list.Output()
	require.NoError(t, err, "list the files of the repository")
	var present []string
	for file := range strings.SplitSeq(strings.Trim(string(out), "\x00"), "\x00") {
		// A file deleted and not yet committed is listed and not there.
		if _, err := os.Lstat(filepath.Join(root, file)); err == nil {
			present = append(present, file)
		}
	}
	require.NotEmpty(t, present)
	return present
}
