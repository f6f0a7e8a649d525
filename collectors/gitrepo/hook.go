package gitrepo

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"aiwatch/collectors"
	"aiwatch/collectors/logfile"
	"aiwatch/internal/event"
)

// A HookLine is the line that `aiwatch git-hook` writes for one push.
type HookLine struct {
	Time    time.Time    `json:"time"`
	Repo    string       `json:"repo"` // the repository's folder on the server
	User    string       `json:"user,omitempty"`
	Src     string       `json:"src,omitempty"` // the client's address
	Via     string       `json:"via,omitempty"` // http or ssh
	Updates []HookUpdate `json:"updates"`
}

// A HookUpdate is a reference that a push moved. An id of zeros is none.
type HookUpdate struct {
	Ref string `json:"ref"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Encode returns the line of `aiwatch git-hook`, with its line feed.
func (l HookLine) Encode() ([]byte, error) {
	b, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// Keys of hook lines. Those of other post-receive hooks are taken too, also with
// one reference in the line itself.
var (
	hookTime    = []string{"time", "timestamp", "ts", "at"}
	hookRepo    = []string{"repo", "repository", "git_dir", "path"}
	hookUser    = []string{"user", "pusher", "remote_user", "username"}
	hookSrc     = []string{"src", "remote_addr", "ip", "address"}
	hookUpdates = []string{"updates", "refs", "changes"}
	hookRef     = []string{"ref", "refname", "name"}
	hookOld     = []string{"old", "before", "oldrev", "old_oid"}
	hookNew     = []string{"new", "after", "newrev", "new_oid"}
)

// hookLine reads a line of `aiwatch git-hook`: one event for each reference of
// the push, so that one that came and went between two polls is known too.
func (c *Collector) hookLine(out collectors.Output, l *logLine) error {
	o, err := logfile.ParseObject(l.Text)
	if err != nil {
		return c.damaged(out, l, errors.New("not a JSON object"))
	}
	at, repo := o.Time(hookTime...), o.Text(hookRepo...)
	if repo == "" || at.IsZero() {
		return c.damaged(out, l, errors.New("want time and repo"))
	}
	if l.tooOld(at) {
		return nil
	}
	var updates []update
	add := func(o logfile.Object) {
		u := update{Ref: o.Text(hookRef...), Old: o.Text(hookOld...), New: o.Text(hookNew...)}
		if strings.HasPrefix(u.Ref, "refs/") && isOid(u.Old) && isOid(u.New) {
			updates = append(updates, u)
		}
	}
	for _, key := range hookUpdates {
		if list, ok := o.Value(key).([]any); ok {
			for _, item := range list {
				if m, ok := item.(map[string]any); ok {
					add(m)
				}
			}
		}
	}
	if len(updates) == 0 {
		add(o)
	}
	if len(updates) == 0 {
		return c.damaged(out, l, errors.New("names no reference that moved"))
	}
	p := push{At: at.UnixMilli(), Principal: o.Text(hookUser...), Src: srcOf(o.Text(hookSrc...)), Updates: updates}
	return c.tellPush(out, l, repo, at, p, "")
}

// tellPush tells a push whose log names the references, and remembers it.
func (c *Collector) tellPush(out collectors.Output, l *logLine, repo string, at time.Time, p push, id string) error {
	r, repoID, name := c.findRepo(repo)
	if r != nil {
		// A state value is bounded; a push of very many references is joined to the
		// first of them.
		kept, size := p, 0
		kept.Updates = nil
		for _, u := range p.Updates {
			if size += len(u.Ref) + len(u.Old) + len(u.New); size > maxRemembered {
				break
			}
			kept.Updates = append(kept.Updates, u)
		}
		if err := r.rememberPush(out, kept, l); err != nil {
			return err
		}
	}
	updates := p.Updates
	if len(updates) == 0 {
		updates = []update{{}}
	}
	for _, u := range slices.Compact(updates) {
		ev := &event.Event{
			Operation: "repo.pushed", Action: "uploaded", Status: "success",
			AssetType: "repository", AssetID: repoID, AssetName: name, GitRepo: repoID, GitRef: u.Ref,
			GitCommit: plainOid(u.New), Src: p.Src, UserAgent: p.Agent, ID: lineID(l, u.Ref, u.Old, u.New),
		}
		if id != "" {
			ev.ID = event.MakeID(event.SourcetypeGit, l.kind, id, u.Ref, u.Old, u.New)
		}
		if u.Old != "" && u.New != "" {
			ev.ChangeField, ev.OldValue, ev.NewValue = "target", plainOid(u.Old), plainOid(u.New)
		}
		c.stamp(l, ev, at)
		ev.Host = hostOf(repoID)
		if p.Principal != "" {
			c.logActor(ev, p.Principal)
			ev.Pusher = ev.User
		} else {
			ev.UserConfidence = confidenceUnknown
		}
		if r != nil && u.Ref != "" {
			ev.Protected = event.B(c.isProtected(u.Ref))
		}
		if err := out.Emit(ev); err != nil {
			return err
		}
	}
	return nil
}

// srcOf writes an address in full, and nothing that is none.
func srcOf(s string) string { return collectors.ClientAddress(s, "", nil) }
