//go:build unix

package s3access

import (
	"fmt"
	"io/fs"
	"syscall"
)

// fileID names a file whatever its path: its device and inode.
func fileID(path string, info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%x-%x", st.Dev, st.Ino)
	}
	return shortHash(path)
}
