package gitrepo

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// without returns the hardenings but one.
func without(line string) []hardening {
	return slices.DeleteFunc(slices.Clone(hardenings), func(h hardening) bool { return h.Env == line || h.Config == line })
}
