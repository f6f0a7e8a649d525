//go:build !unix

package archive

import "os"

// lockFile takes no lock: the queue's keeps a second run from starting.
func lockFile(*os.File) error { return nil }

// writable can't be told here without writing.
func writable(string) error { return nil }

// permissionsCount says that a folder's mode does not tell who may use it.
const permissionsCount = false
