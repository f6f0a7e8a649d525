package modelfile

import "strings"

// ParseMLflow reads the lineage out of a path under an MLflow artifact root:
//
//	<root>/[workspaces/<workspace>/]<experiment>/<run, 32 hex>/artifacts/<rel>
//	<root>/[workspaces/<workspace>/]<experiment>/models/m-<32 hex>/artifacts/<rel>
//
// The root may have any depth, none included. Exactly one of runID and
// loggedModelID is set. expID is empty where the folder in front is no
// experiment's number: an experiment may have an artifact location of its own,
// and then only the run is in the path. The leftmost match counts: whatever
// lies inside a run's artifacts was named by who wrote them. It does not
// allocate; the results are parts of key.
func ParseMLflow(key string) (expID, runID, loggedModelID, rel string, ok bool) {
	const mark = "/artifacts"
	for from := 0; ; {
		i := strings.Index(key[from:], mark)
		if i < 0 {
			return "", "", "", "", false
		}
		i += from
		from = i + len(mark)
		if from < len(key) && key[from] != '/' {
			continue
		}
		head, owner := cutLast(key[:i])
		switch {
		case isHex32(owner):
			runID = owner
		case strings.HasPrefix(owner, "m-") && isHex32(owner[2:]):
			var folder string
			if head, folder = cutLast(head); folder != "models" {
				continue
			}
			loggedModelID = owner
		default:
			continue
		}
		if _, exp := cutLast(head); isNumber(exp) {
			expID = exp
		}
		if from < len(key) {
			rel = key[from+1:]
		}
		return expID, runID, loggedModelID, rel, true
	}
}

// cutLast splits path before its last element.
func cutLast(path string) (head, last string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

func isHex32(s string) bool { return isHex(s, 32) }

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
