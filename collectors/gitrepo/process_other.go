//go:build !linux

package gitrepo

import (
	"context"
	"os"
	"os/exec"
)

// ownGroup leaves it at killing git alone where process groups are not known.
func ownGroup(*exec.Cmd) {}

func limitMemory(int, uint64) {}

// lockFile only opens the file: the state folder is locked as a whole.
func lockFile(_ context.Context, path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
