package mlflow

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiwatch/collectors"
	"aiwatch/internal/event"
)

// Words of time_basis, evidence and status.
const (
	exact     = "exact"
	bounded   = "bounded"
	claimed   = "claimed"
	fromLog   = "log"
	fromScan  = "scan"
	inventory = "inventory"
	success   = "success"
)

// actions are the CIM verbs of our operations; what is not here is modified.
var actions = map[string]string{
	"model.created": "created", "model.deleted": "deleted",
	"version.created": "created", "version.deleted": "deleted",
	"experiment.created": "created", "experiment.deleted": "deleted",
	"run.created": "created", "run.deleted": "deleted",
	"logged_model.created": "created", "logged_model.deleted": "deleted",
	"dataset.logged":   "read",
	"artifact.created": "created", "artifact.deleted": "deleted", "artifact.read": "read",
	"artifact.uploaded": "uploaded", "artifact.removed": "deleted",
	"permission.granted": "acl_modified", "permission.changed": "acl_modified", "permission.revoked": "acl_modified",
	"account.created": "created", "account.deleted": "deleted", "account.admin_changed": "acl_modified",
	"registry.emptied": "unknown", "registry.hidden": "unknown", "record.damaged": "unknown",
	"inventory": "read",
}

// A subject is what an event is about.
type subject struct {
	kind    string // asset_type
	id      string // asset_id
	name    string
	created int64 // creation timestamp: what has the same name but another one is something else
}

// A difference is one changed field.
type difference struct {
	operation string
	field     string
	before    string
	after     string
	dated     bool // MLflow dates such a change by the object's last update
	cause     cause
}

// asset returns the id of an asset of this server and workspace.
func (p *poll) asset(kind string, parts ...string) string {
	id := "mlflow:" + p.c.cfg.Instance
	if p.server.Workspaces {
		id += "/" + p.ws
	}
	id += "/" + kind
	for _, part := range parts {
		id += "/" + part
	}
	return id
}

// event begins an event about s.
func (p *poll) event(operation string, s subject) event.Event {
	ev := event.Event{
		Envelope:  event.Envelope{Time: event.At(p.now), Host: p.c.host, Sourcetype: event.SourcetypeMLflow},
		Operation: operation, Action: actions[operation],
		AssetType: s.kind, AssetID: s.id, AssetName: s.name,
		Status: success,
	}
	if ev.Action == "" {
		ev.Action = "modified"
	}
	if ev.Action == "unknown" || operation == inventory {
		ev.Status = ""
	}
	return ev
}

// identify gives an event its id: the object, what changed of it, and how often
// it has changed before.
func identify(ev *event.Event, s subject, changes int, more ...string) {
	parts := append([]string{s.id, strconv.FormatInt(s.created, 10), ev.Operation, ev.ChangeField, ev.OldValue, ev.NewValue, strconv.Itoa(changes)}, more...)
	ev.ID = event.MakeID(event.SourcetypeMLflow, parts...)
}

// begun makes the event of an object that was not known: its creation, or
// inventory when it is older than what we have watched.
func (p *poll) begun(operation string, s subject) event.Event {
	if s.created <= p.contact() && !p.c.cfg.Backfill {
		ev := p.event(inventory, s)
		ev.Evidence = inventory
		identify(&ev, s, 0)
		return ev
	}
	ev := p.event(operation, s)
	if p.plausible(s.created) || s.created <= p.contact() {
		ev.TimeBasis, ev.Time = exact, event.Millis(s.created)
	} else {
		p.bound(&ev, 0)
	}
	identify(&ev, s, 0)
	return ev
}

// skew is how far the server's clock and ours may be apart.
const skew = 10 * time.Minute

// plausible tells whether the server can have dated a change at ms that the
// last sweep did not see.
func (p *poll) plausible(ms int64) bool {
	return ms > 0 && ms >= p.area.Swept-skew.Milliseconds() && ms <= p.now.Add(skew).UnixMilli()
}

// bound says between which moments it happened: after the last sweep and after
// the object came to be.
func (p *poll) bound(ev *event.Event, created int64) {
	notBefore := p.area.Swept
	if created > notBefore && created <= p.now.UnixMilli() {
		notBefore = created
	}
	if notBefore > 0 {
		ev.NotBefore = event.Millis(notBefore)
	}
}

// differences makes the events of an object's changed fields, and counts them.
func (p *poll) differences(s subject, h *head, updated int64, list []difference, fill func(*event.Event, difference)) []told {
	dated := 0
	for _, d := range list {
		if d.dated {
			dated++
		}
	}
	var events []told
	for _, d := range list {
		ev := p.event(d.operation, s)
		ev.ChangeField = d.field
		values(&ev, d.before, d.after)
		if fill != nil {
			fill(&ev, d)
		}
		// Two changes that bump the same timestamp leave one date for both.
		if d.dated && dated == 1 && p.plausible(updated) {
			ev.TimeBasis, ev.Time = exact, event.Millis(updated)
		} else {
			p.bound(&ev, s.created)
		}
		h.Changes++
		identify(&ev, s, h.Changes)
		events = append(events, told{ev, d.cause})
	}
	return events
}

// values sets the value before and after, and tells when one is cut already.
func values(ev *event.Event, before, after string) {
	ev.OldValue, ev.NewValue = before, after
	if isShort(before) {
		ev.Truncated = append(ev.Truncated, "old_value")
	}
	if isShort(after) {
		ev.Truncated = append(ev.Truncated, "new_value")
	}
}

// tagDifferences compares tags.
func tagDifferences(before, after map[string]string, set, deleted string, setBy, deletedBy cause) []difference {
	var list []difference
	for _, k := range bothKeys(before, after) {
		old, was := before[k]
		now, is := after[k]
		switch {
		case is && (!was || old != now):
			list = append(list, difference{operation: set, field: "tags." + k, before: old, after: now, cause: setBy})
		case was && !is:
			list = append(list, difference{operation: deleted, field: "tags." + k, before: old, cause: deletedBy})
		}
	}
	return list
}

func bothKeys[V any](a, b map[string]V) []string {
	keys := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// tagKey returns the key of a tag that changed, empty for other fields.
func tagKey(field string) string {
	key, ok := strings.CutPrefix(field, "tags.")
	if !ok {
		return ""
	}
	return key
}

// listed writes a map as key=value.
func listed(m map[string]string) []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, k+"="+m[k])
	}
	return list
}

// gitRepo names the repository of an address; empty where that is no remote one.
func gitRepo(address string) string {
	host, path, err := collectors.SplitRepository(address)
	if err != nil {
		return ""
	}
	return collectors.RepositoryID(host, path)
}
