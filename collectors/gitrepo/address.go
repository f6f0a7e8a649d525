package gitrepo

import (
	"net/url"
	"path/filepath"
	"strings"

	"aiwatch/collectors"
)

// splitAddress returns the host and the path under which a repository is known.
// A local one, an absolute path, counts by its path below root under the host
// instance.
func splitAddress(address, instance, root string) (host, path string, err error) {
	address = strings.TrimSpace(address)
	if u, err := url.Parse(address); err == nil && u.Scheme == "file" {
		address = filepath.FromSlash(u.Path)
	}
	if !filepath.IsAbs(address) {
		return collectors.SplitRepository(address)
	}
	path = filepath.Clean(address)
	if root != "" {
		if rel, err := filepath.Rel(filepath.Clean(root), path); err == nil && filepath.IsLocal(rel) {
			path = rel
		}
	}
	return instance, collectors.RepositoryPath(filepath.ToSlash(path)), nil
}

// redactURL takes user and password out of an address for messages.
func redactURL(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	authority, tail, slash := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = "…@" + authority[at+1:]
	}
	if !slash {
		return scheme + "://" + authority
	}
	return scheme + "://" + authority + "/" + tail
}
