package gitrepo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// minGit is the oldest git whose known holes are mended, see git.go.
var minGit = [3]int{2, 39, 4}

// Check reaches each repository and looks at each log.
func (c *Collector) Check(ctx context.Context) []collectors.Finding {
	found := []collectors.Finding{checkGit(ctx)}
	if found[0].Verdict != collectors.Good {
		return found
	}
	if err := os.MkdirAll(filepath.Join(c.cfg.Dir, "home"), 0o700); err != nil {
		return append(found, collectors.Finding{Verdict: collectors.Misset, Text: err.Error(), Fix: "make the state folder writable"})
	}
	if err := c.writeGlobalConfig(); err != nil {
		return append(found, collectors.Finding{Verdict: collectors.Misset, Text: err.Error(), Fix: "make the state folder writable"})
	}
	for _, r := range c.repos {
		found = append(found, c.checkRepo(ctx, r))
	}
	for _, l := range c.logs {
		found = append(found, checkLog(l))
	}
	if len(c.logs) == 0 {
		found = append(found, collectors.Finding{
			Verdict: collectors.Warning, Text: "no log is read: who pushed and who cloned will not be known",
			Fix: "set access_log, hook_log or audit_log",
		})
	}
	if len(c.logs) > 0 && !c.cfg.TrustLogs {
		found = append(found, collectors.Finding{
			Verdict: collectors.Warning, Text: "names in the logs count as claimed",
			Fix: "set trust = authenticated where the log's writer has proven them",
		})
	}
	return found
}

func checkGit(ctx context.Context) collectors.Finding {
	fix := fmt.Sprintf("install git %d.%d.%d or newer", minGit[0], minGit[1], minGit[2])
	out, err := exec.CommandContext(ctx, "git", "--version").Output()
	if err != nil {
		return collectors.Finding{Verdict: collectors.Misset, Text: "git can't be started: " + err.Error(), Fix: fix}
	}
	text := strings.TrimSpace(string(out))
	if version, ok := gitVersion(text); !ok || less(version, minGit) {
		return collectors.Finding{Verdict: collectors.Misset, Text: text + " is too old: a hostile repository can harm it", Fix: fix}
	}
	return collectors.Finding{Verdict: collectors.Good, Text: text}
}

// gitVersion reads `git version 2.39.5`, whatever follows.
func gitVersion(s string) (v [3]int, ok bool) {
	f := strings.Fields(s)
	if len(f) < 3 {
		return v, false
	}
	for i, part := range strings.SplitN(f[2], ".", 4) {
		if i == len(v) {
			break
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			return v, i > 1
		}
		v[i] = n
	}
	return v, true
}

func less(a, b [3]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

func (c *Collector) checkRepo(ctx context.Context, r *repository) collectors.Finding {
	refs, replacements, err := r.mirror.list(ctx)
	switch {
	case err != nil:
		return collectors.Finding{
			Verdict: collectors.Unavailable, Text: fmt.Sprintf("%s can't be read: %v", r.id, err),
			Fix: "check url, the credentials and that the server can be reached; a redirect is not followed, use the address it leads to",
		}
	case len(replacements) > 0:
		return collectors.Finding{
			Verdict: collectors.Warning, Text: fmt.Sprintf("%s has %s and %s of objects", r.id, event.Count(len(refs), "reference"), event.Count(len(replacements), "replacement")),
			Fix: "find out who made refs/replace/*: it shows readers other content than is stored",
		}
	}
	protected := 0
	for _, f := range refs {
		if c.isProtected(f.name) {
			protected++
		}
	}
	if protected == 0 && len(refs) > 0 {
		return collectors.Finding{
			Verdict: collectors.Warning, Text: fmt.Sprintf("%s has %s, none of them protected", r.id, event.Count(len(refs), "reference")),
			Fix: "set protected_refs to those whose rewriting matters",
		}
	}
	return collectors.Finding{Verdict: collectors.Good, Text: fmt.Sprintf("%s has %s, %d of them protected", r.id, event.Count(len(refs), "reference"), protected)}
}

func checkLog(l *log) collectors.Finding {
	if err := l.Check(); err != nil {
		return collectors.Finding{
			Verdict: collectors.Unavailable, Text: fmt.Sprintf("%s_log can't be read: %v", l.kind, err),
			Fix: "let the user that aiwatch runs as read it",
		}
	}
	return collectors.Finding{Verdict: collectors.Good, Text: fmt.Sprintf("%s_log %s can be read", l.kind, l.Path)}
}
