//go:build !unix

package queue

import "os"

// lockFirst leaves the lock to bbolt: here it could not be taken twice.
func lockFirst(*os.File) (locked bool, err error) { return false, nil }

// permissionsCount says that a file's mode does not tell who may read it.
const permissionsCount = false
