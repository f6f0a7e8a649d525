package gitrepo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// A push is what a log tells of one push to a watched repository.
type push struct {
	At        int64  `json:"at"` // ms
	Principal string `json:"principal"`
	Src       string `json:"src,omitempty"`
	Agent     string `json:"agent,omitempty"`
	// Updates are the references that it moved, where the log tells them (a hook,
	// a webhook); otherwise it may have moved any.
	Updates []update `json:"updates,omitempty"`

	key string // of its state
}

type update struct {
	Ref string `json:"ref"`
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
}

const (
	// clockSlack is how far a log's clock and seconds may be off ours.
	clockSlack = 2 * time.Second
	// maxPushes bounds the pushes of a repository that wait to be joined.
	maxPushes = 2000
)

// rememberPush keeps a push until the change that it made is seen. Pushes of one
// moment stay in the order of their lines.
func (r *repository) rememberPush(out collectors.Output, p push, l *logLine) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	out.Put(fmt.Sprintf("%spush/%015d/%015d/%s", r.key, max(p.At, 0), l.Offset, lineID(l)), b)
	return nil
}

// A credit is who made a change: one user, or those who could have.
type credit struct {
	push       *push
	candidates []string
}

// joins are the credits of a difference, by reference.
type joins map[string]credit

// joins finds for each reference that changed the one push that explains it.
//
// A push whose log names the references explains those changes that it names,
// alone or as one of several steps. Any other push explains every change of its
// window. A change gets its pusher when exactly one push explains it and that
// push explains no other; pushes that name the same reference and come from one
// person count as one. Otherwise they are candidates.
func (r *repository) joins(t *teller) (joins, error) {
	var pushes []*push
	err := t.out.Range(r.key+"push/", func(key string, value []byte) error {
		p := &push{key: key}
		if json.Unmarshal(value, p) == nil {
			pushes = append(pushes, p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	from := t.notBefore.UnixMilli() - clockSlack.Milliseconds()
	until := t.at.UnixMilli() + clockSlack.Milliseconds()
	var inWindow []*push
	for i, p := range pushes {
		if p.At < from || i < len(pushes)-maxPushes {
			t.spent = append(t.spent, p.key)
			continue
		}
		if p.At <= until {
			inWindow = append(inWindow, p)
		}
	}
	found := joins{}
	var vague []*refChange // changes that no log names
	for _, c := range t.changes {
		if c.old.told() == c.new {
			continue
		}
		if steps := chain(inWindow, c); len(steps) > 0 {
			found[c.name] = creditOf(steps)
			t.spendAll(steps)
			continue
		}
		vague = append(vague, c)
	}
	inWindow = slices.DeleteFunc(inWindow, func(p *push) bool { return len(p.Updates) > 0 })
	if len(vague) > 0 {
		t.spendAll(inWindow)
	}
	for _, c := range vague {
		switch {
		case len(inWindow) == 1 && len(vague) == 1:
			found[c.name] = credit{push: inWindow[0]}
		case len(inWindow) > 0:
			found[c.name] = credit{candidates: principals(inWindow)}
		}
	}
	return found, nil
}

// spendAll notes that pushes were joined: they explain nothing else. They are
// forgotten when all is told, because a process that is killed before that joins
// them again.
func (t *teller) spendAll(pushes []*push) {
	for _, p := range pushes {
		t.spent = append(t.spent, p.key)
	}
}

// chain returns the pushes that lead a reference from its old value to its new
// one, nil when those that name it do not.
func chain(pushes []*push, c *refChange) []*push {
	var steps []*push
	at := c.old.told()
	for _, p := range pushes {
		for _, u := range p.Updates {
			if u.Ref != c.name {
				continue
			}
			switch {
			case u.Old == "" && u.New == "": // the log names the reference alone
				steps = append(steps, p)
				at = c.new
			case plainOid(u.Old) == at:
				steps = append(steps, p)
				at = plainOid(u.New)
			}
		}
	}
	if at != c.new {
		return nil
	}
	return steps
}

// plainOid turns the id that stands for no object into an empty one.
func plainOid(oid string) string {
	if isZeroOid(oid) {
		return ""
	}
	return oid
}

func creditOf(steps []*push) credit {
	if names := principals(steps); len(names) > 1 {
		return credit{candidates: names}
	}
	return credit{push: steps[len(steps)-1]}
}

// principals returns the different ones, in their order.
func principals(pushes []*push) []string {
	var names []string
	for _, p := range pushes {
		if p.Principal != "" && !slices.Contains(names, p.Principal) {
			names = append(names, p.Principal)
		}
	}
	return names
}

// credit fills in who pushed, where that is known, or who could have.
func (j joins) credit(c *Collector, ev *event.Event, ref string) {
	k := j[ref]
	switch {
	case k.push != nil && k.push.Principal != "":
		c.logActor(ev, k.push.Principal)
		ev.Pusher = ev.User
		ev.Src, ev.UserAgent = k.push.Src, k.push.Agent
	case len(k.candidates) > 0:
		ev.UserCandidates = make([]string, 0, len(k.candidates))
		for _, p := range k.candidates {
			if user := c.userOf(p); !slices.Contains(ev.UserCandidates, user) {
				ev.UserCandidates = append(ev.UserCandidates, user)
			}
		}
	}
}

// findRepo returns the watched repository that a log names by path, and the name
// of the repository in any case. A log may know it by more folders than we do
// (/srv/git/acme/vision.git) or by fewer.
func (c *Collector) findRepo(p string) (r *repository, id, name string) {
	name = collectors.RepositoryPath(p)
	var best *repository
	for _, r := range c.repos {
		if r.mirror.git.protocol == "file" && collectors.RepositoryPath(r.remote) == name {
			return r, r.id, r.path
		}
		if (name == r.path || strings.HasSuffix(name, "/"+r.path)) && (best == nil || len(r.path) > len(best.path)) {
			best = r
		}
	}
	if best == nil {
		// Behind a prefix that the log leaves out.
		for _, r := range c.repos {
			if name != "" && strings.HasSuffix(r.path, "/"+name) {
				if best != nil {
					best = nil
					break // which of them it is can't be told
				}
				best = r
			}
		}
	}
	if best != nil {
		return best, best.id, best.path
	}
	if c.cfg.Root != "" {
		if rel, ok := strings.CutPrefix(name, collectors.RepositoryPath(c.cfg.Root)+"/"); ok {
			name = rel
		}
	}
	return nil, collectors.RepositoryID(c.logHost(), name), name
}

// logHost is the host of repositories that a log names and we do not watch.
func (c *Collector) logHost() string { return c.repos[0].host }

// lineID identifies a line of a log.
func lineID(l *logLine, parts ...string) event.ID {
	all := append([]string{l.kind, l.File[:16], strconv.FormatInt(l.Offset, 10), string(l.Text)}, parts...)
	return event.MakeID(event.SourcetypeGit, all...)
}
