//go:build !unix

package archive

import "os"

// lockFile takes no lock: the queue's keeps a second run from starting.
func lockFile(*os.File) error { return nil }

const permissionsCount = false
