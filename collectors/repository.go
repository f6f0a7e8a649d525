package collectors

import (
	"errors"
	"net/url"
	"path"
	"strings"
)

// RepositoryID is the name of a Git repository in every source's events, so that
// a run, a push and a log line of one repository meet.
func RepositoryID(host, path string) string { return "git:" + host + "/" + path }

// SplitRepository returns the host and the path by which the repository at a
// remote address is known: a URL or the short form of ssh (git@host:path), its
// scheme, user, port and .git dropped. A path of this machine is no remote
// address.
func SplitRepository(address string) (host, p string, err error) {
	address = strings.TrimSpace(address)
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil {
			return "", "", errors.New("not a URL")
		}
		host, p = u.Hostname(), u.Path
	} else {
		// A slash before the colon would make it a path.
		before, after, ok := strings.Cut(address, ":")
		if !ok || strings.Contains(before, "/") || strings.HasPrefix(after, ":") {
			return "", "", errors.New("neither an absolute path nor a URL")
		}
		host, p = before[strings.LastIndexByte(before, '@')+1:], after
	}
	if p = RepositoryPath(p); host == "" || p == "" || host[0] == '-' {
		return "", "", errors.New("no host or no path in it")
	}
	return strings.ToLower(host), p, nil
}

// RepositoryPath is a repository's path without the slashes around it and
// without .git.
func RepositoryPath(p string) string {
	p = strings.Trim(path.Clean("/"+p), "/")
	if strings.HasSuffix(p, "/.git") {
		return strings.TrimSuffix(p, "/.git")
	}
	return strings.TrimSuffix(p, ".git")
}
