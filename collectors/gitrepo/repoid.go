package gitrepo

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// RepoID returns the one name of a repository across all sources,
// `git:<host>/<path>`: scheme, user, port and `.git` dropped, the short ssh form
// (git@host:path) resolved. A local repository (an absolute path) counts by its
// path below root under the host instance; instance is `local` when empty. A
// text that is no repository's address gives "".
func RepoID(address, instance, root string) string {
	host, p, err := splitAddress(address, instance, root)
	if err != nil {
		return ""
	}
	return "git:" + host + "/" + p
}

// splitAddress returns the host and the path under which a repository is known.
func splitAddress(address, instance, root string) (host, p string, err error) {
	address = strings.TrimSpace(address)
	if filepath.IsAbs(address) {
		if instance == "" {
			instance = "local"
		}
		p = filepath.ToSlash(filepath.Clean(address))
		if root != "" {
			if rel, err := filepath.Rel(filepath.Clean(root), filepath.Clean(address)); err == nil && filepath.IsLocal(rel) {
				p = filepath.ToSlash(rel)
			}
		}
		return instance, cleanRepoPath(p), nil
	}
	if !strings.Contains(address, "://") {
		// git@host:path; a slash before the colon would make it a path.
		before, after, ok := strings.Cut(address, ":")
		if !ok || strings.Contains(before, "/") || strings.HasPrefix(after, ":") || after == "" {
			return "", "", fmt.Errorf("%q is neither an absolute path nor a URL", address)
		}
		host = before[strings.LastIndexByte(before, '@')+1:]
		return hostOrError(host, cleanRepoPath(after), address)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", "", fmt.Errorf("%q is not a URL", redactURL(address))
	}
	if u.Scheme == "file" {
		return splitAddress(filepath.FromSlash(u.Path), instance, root)
	}
	return hostOrError(u.Hostname(), cleanRepoPath(u.Path), address)
}

func hostOrError(host, p, address string) (string, string, error) {
	if host == "" || p == "" || host[0] == '-' {
		return "", "", fmt.Errorf("%q has no host or no path", redactURL(address))
	}
	return strings.ToLower(host), p, nil
}

// cleanRepoPath returns a repository's path without the slashes around it and
// without .git.
func cleanRepoPath(p string) string {
	p = strings.Trim(path.Clean("/"+p), "/")
	if strings.HasSuffix(p, "/.git") {
		return strings.TrimSuffix(p, "/.git")
	}
	return strings.TrimSuffix(p, ".git")
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
