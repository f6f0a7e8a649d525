package gitrepo

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"aiwatch/collectors"
	"aiwatch/collectors/logfile"
	"aiwatch/internal/event"
)

// A forgeTable says how one kind of forge writes its audit log. What is the same
// for all of them is in auditLine. README.md tells how to add one.
type forgeTable struct {
	name string
	// marks are keys that a line of this forge has, each group one of them.
	marks [][]string
	// Keys of what a line tells; the first that is there counts.
	time, action, sub, actor, repo, owner, src, agent, id []string
	ref, before, after                                    []string
	updates                                               []string // lists of objects that have these
	member, permission, oldPermission                     []string
	// rules turn the forge's words into operations; the first that matches
	// counts. A word is the action, and the sub action behind a space.
	rules []forgeRule
}

// A forgeRule turns a forge's word into an operation.
type forgeRule struct {
	words     *regexp.Regexp
	operation string
	// turns says what protection.changed switches: `on`, `off`, or the key of the
	// line whose value tells; empty where it can't be told.
	turns string
}

func words(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)$`) }

// forgeTables in the order in which they are tried.
var forgeTables = []forgeTable{
	{
		// Push webhooks of GitHub, GitLab, Gitea and Forgejo, kept as lines.
		name:   "webhook",
		marks:  [][]string{{"before"}, {"after"}, {"ref"}, {"repository", "project"}},
		actor:  []string{"pusher.login", "pusher.username", "user_username", "sender.login", "pusher.name"},
		repo:   []string{"repository.full_name", "project.path_with_namespace"},
		ref:    []string{"ref"},
		before: []string{"before"}, after: []string{"after"},
		rules: []forgeRule{{words(`.*`), "repo.pushed", ""}},
	},
	{
		// https://huggingface.co/docs/hub/webhooks, kept as lines. They name nobody.
		name:   "huggingface webhook",
		marks:  [][]string{{"event"}, {"repo"}, {"webhook"}},
		action: []string{"event.scope"}, sub: []string{"event.action"}, repo: []string{"repo.name"},
		updates: []string{"updatedRefs"}, ref: []string{"ref"}, before: []string{"oldSha"}, after: []string{"newSha"},
		rules: []forgeRule{
			{words(`repo\.content .*`), "repo.pushed", ""},
			{words(`repo create`), "repo.created", ""},
			{words(`repo delete`), "repo.deleted", ""},
		},
	},
	{
		// https://docs.github.com/organizations (audit log events), also as streamed.
		name:  "github",
		marks: [][]string{{"action"}, {"@timestamp", "created_at", "_document_id"}, {"actor", "org", "business", "repo"}},
		time:  []string{"@timestamp", "created_at"}, action: []string{"action"}, actor: []string{"actor", "user"},
		repo: []string{"repo", "repository"}, owner: []string{"org", "business"}, src: []string{"actor_ip"},
		agent: []string{"user_agent"}, id: []string{"_document_id"},
		member: []string{"user", "invitee", "team"}, permission: []string{"new_repo_permission", "permission", "new_permission"},
		oldPermission: []string{"old_repo_permission", "old_permission"},
		rules: []forgeRule{
			{words(`git\.clone`), "repo.cloned", ""},
			{words(`git\.fetch|repo\.download_zip`), "repo.fetched", ""},
			{words(`git\.push`), "repo.pushed", ""},
			{words(`protected_branch\.create|repository_ruleset\.create`), "protection.changed", "on"},
			{words(`protected_branch\.destroy|repository_ruleset\.destroy`), "protection.changed", "off"},
			{words(`protected_branch\.update_admin_enforced`), "protection.changed", "admin_enforced"},
			{words(`protected_branch\.update_allow_force_pushes_enforcement_level`), "protection.changed", "!allow_force_pushes_enforcement_level"},
			{words(`protected_branch\.update_allow_deletions_enforcement_level`), "protection.changed", "!allow_deletions_enforcement_level"},
			{words(`protected_branch\.update_.*`), "protection.changed", "enforcement_level"},
			{words(`repository_ruleset\.update`), "protection.changed", "ruleset_enforcement"},
			{words(`protected_branch\..*`), "forge.other", ""},
			{words(`(repo|org|team|business)\.(add|remove|update)_(member|outside_collaborator|repository|repository_permission|billing_manager)|(repo|org)\.(invite_member|update_member_role)|team\.(add|remove|update)_repository.*`), "member.changed", ""},
			{words(`hook\..*`), "hook.changed", ""},
			{words(`repo\.create`), "repo.created", ""},
			{words(`repo\.destroy`), "repo.deleted", ""},
			{words(`audit_log_streaming\.destroy|.*\.audit_log_(git_event_)?.*disable.*`), "audit.disabled", ""},
		},
	},
	{
		// https://docs.gitlab.com/user/compliance/audit_event_schema
		name:  "gitlab",
		marks: [][]string{{"entity_type", "entity_path", "entity_id"}, {"author_id", "author_name"}},
		time:  []string{"created_at", "time"}, action: []string{"event_type", "details.event_name"},
		sub:   []string{"details.custom_message.action", "details.custom_message.verb", "custom_message.action"},
		actor: []string{"author_name", "details.author_name"}, repo: []string{"entity_path", "details.entity_path"},
		src: []string{"ip_address", "details.ip_address"}, id: []string{"id"},
		member: []string{"target_details", "details.target_details"}, permission: []string{"details.to", "details.as"},
		oldPermission: []string{"details.from"},
		rules: []forgeRule{
			{words(`repository_git_operation (git-upload-pack|clone|pull|fetch)|repository_download_operation.*`), "repo.fetched", ""},
			{words(`repository_git_operation (git-receive-pack|push)`), "repo.pushed", ""},
			{words(`protected_branch_created.*`), "protection.changed", "on"},
			{words(`protected_branch_(removed|destroyed|deleted).*`), "protection.changed", "off"},
			{words(`.*allow_force_push.*`), "protection.changed", "!details.to"},
			{words(`protected_branch_.*|.*code_owner_approval.*|.*merge_request_approv.*rule.*|.*prevent_merge_without.*`), "protection.changed", "details.to"},
			{words(`(member|user_add_to_group|user_access)_?.*|.*_member_(created|updated|destroyed|added|removed).*`), "member.changed", ""},
			{words(`.*webhook.*`), "hook.changed", ""},
			{words(`project_created.*`), "repo.created", ""},
			{words(`project_destroyed.*|project_deleted.*`), "repo.deleted", ""},
			{words(`.*(destroy|delete|remove|deactivate).*event_streaming.*|.*event_streaming.*(destroy|delete|remove|deactivate).*`), "audit.disabled", ""},
		},
	},
	{
		// https://docs.gitea.com/enterprise/features/audit-log
		name:  "gitea",
		marks: [][]string{{"doer", "operator"}, {"action", "operation_type", "type"}},
		time:  []string{"time", "operation_time", "created", "timestamp"}, action: []string{"action", "operation_type", "type"},
		actor: []string{"doer.friendly_name", "doer.name", "doer", "operator"},
		repo:  []string{"repository", "repo", "scope.friendly_name", "target.friendly_name"}, owner: []string{"owner"},
		src: []string{"ip_address", "ip"}, id: []string{"id"}, member: []string{"target.friendly_name", "target"},
		rules: []forgeRule{
			{words(`(repo|repository):clone`), "repo.cloned", ""},
			{words(`(repo|repository):(fetch|pull|download.*)`), "repo.fetched", ""},
			{words(`(repo|repository):push`), "repo.pushed", ""},
			{words(`.*(branch_protection|protected_branch|protected_tag).*(add|create).*`), "protection.changed", "on"},
			{words(`.*(branch_protection|protected_branch|protected_tag).*(remove|delete).*`), "protection.changed", "off"},
			{words(`.*(branch_protection|protected_branch|protected_tag).*`), "protection.changed", ""},
			{words(`.*(collaborator|team:member|team:permission|repository:.*team|deploy_key).*`), "member.changed", ""},
			{words(`.*webhook.*|.*hook:.*`), "hook.changed", ""},
			{words(`(repo|repository):create`), "repo.created", ""},
			{words(`(repo|repository):delete`), "repo.deleted", ""},
			{words(`.*audit.*(disable|off|delete).*`), "audit.disabled", ""},
		},
	},
	{
		// https://huggingface.co/docs/hub/audit-logs. The keys of its export are not
		// documented: this table takes the names that its API uses elsewhere.
		name:  "huggingface",
		marks: [][]string{{"type", "action", "event"}},
		time:  []string{"createdAt", "created_at", "timestamp", "date"}, action: []string{"action", "type", "event"},
		actor: []string{"author.user", "author.name", "user.name", "user.user", "actor.name", "author", "user", "actor"},
		repo:  []string{"repo.name", "repo.id", "repoId", "data.repo", "repo", "resource", "repository"},
		owner: []string{"org.name", "org", "organization"}, src: []string{"clientIp", "ip", "ipAddress"},
		id: []string{"id", "_id"}, member: []string{"member.name", "member", "target.name", "target"},
		permission: []string{"newRole", "role", "data.role"}, oldPermission: []string{"oldRole"},
		rules: []forgeRule{
			{words(`repo\.(clone)`), "repo.cloned", ""},
			{words(`repo\.(fetch|download)`), "repo.fetched", ""},
			{words(`repo\.(push|commit)`), "repo.pushed", ""},
			{words(`repo\.create`), "repo.created", ""},
			{words(`repo\.(delete|destroy)`), "repo.deleted", ""},
			{words(`.*webhook.*`), "hook.changed", ""},
			{words(`(org|resource_group|resourceGroup)\.(add|remove|update|change|join|leave|invite).*|.*\.(add|remove|update)_?(user|member|role).*`), "member.changed", ""},
			{words(`.*audit.*(disable|off|delete).*`), "audit.disabled", ""},
		},
	},
}

// forgeActions are the actions of operations that come from forges alone.
var forgeActions = map[string]string{
	"repo.cloned": "downloaded", "repo.fetched": "downloaded", "repo.pushed": "uploaded",
	"protection.changed": "modified", "member.changed": "acl_modified", "hook.changed": "modified",
	"repo.created": "created", "repo.deleted": "deleted", "audit.disabled": "modified", "forge.other": "modified",
}

// table returns the first whose marks a line has.
func tableOf(o logfile.Object) *forgeTable {
	for i := range forgeTables {
		t := &forgeTables[i]
		if !slices.ContainsFunc(t.marks, func(any []string) bool {
			return !slices.ContainsFunc(any, func(key string) bool { return o.Value(key) != nil })
		}) {
			return t
		}
	}
	return nil
}

// rule returns what a word means.
func (t *forgeTable) rule(word string) forgeRule {
	for _, r := range t.rules {
		if r.words.MatchString(word) {
			return r
		}
	}
	return forgeRule{operation: "forge.other"}
}

// auditLine reads a line of a forge's audit log.
func (c *Collector) auditLine(out collectors.Output, l *logLine) error {
	o, err := logfile.ParseObject(l.Text)
	if err != nil {
		return c.damaged(out, l, errors.New("not a JSON object"))
	}
	t := tableOf(o)
	if t == nil {
		return c.damaged(out, l, errors.New("no forge of which a table knows the audit log writes such a line"))
	}
	at := o.Time(t.time...)
	if l.tooOld(at) {
		return nil
	}
	word := o.Text(t.action...)
	if sub := o.Text(t.sub...); sub != "" {
		word += " " + sub
	}
	rule := t.rule(word)
	repo := o.Text(t.repo...)
	if repo == "" {
		repo = o.Text(t.owner...)
	}
	id := o.Text(t.id...)
	if rule.operation == "repo.pushed" {
		p := push{
			At: l.at(at).UnixMilli(), Principal: o.Text(t.actor...), Src: srcOf(o.Text(t.src...)), Agent: o.Text(t.agent...),
		}
		p.Updates = t.updatesOf(o)
		return c.tellPush(out, l, repo, at, p, id)
	}
	_, repoID, name := c.findRepo(repo)
	ev := &event.Event{
		Operation: rule.operation, Action: forgeActions[rule.operation], Status: "success",
		AssetType: "repository", AssetID: repoID, AssetName: name, GitRepo: repoID,
		VendorAction: strings.TrimSpace(word), Src: srcOf(o.Text(t.src...)), UserAgent: o.Text(t.agent...), ID: lineID(l),
	}
	if id != "" {
		ev.ID = event.MakeID(event.SourcetypeGit, l.kind, t.name, id)
	}
	c.stamp(l, ev, at)
	ev.Host = hostOf(repoID)
	actor := o.Text(t.actor...)
	if actor == "" {
		ev.UserConfidence = confidenceUnknown
	} else {
		c.logActor(ev, actor)
	}
	switch rule.operation {
	case "protection.changed":
		ev.ChangeField = protectionName(o, word)
		ev.NewValue = turned(o, rule.turns)
		ev.OldValue = map[string]string{"on": "off", "off": "on"}[ev.NewValue]
	case "member.changed":
		// The user of a permission event is who got it.
		ev.AssetType = "permission"
		ev.SrcUser, ev.User = ev.User, ""
		if m := o.Text(t.member...); m != "" {
			ev.User = c.userOf(m)
		}
		ev.ChangeField = "permission"
		ev.OldValue, ev.NewValue = o.Text(t.oldPermission...), o.Text(t.permission...)
		ev.GranteePermission = ev.NewValue
	}
	return out.Emit(ev)
}

// updatesOf returns the references that a line says were moved.
func (t *forgeTable) updatesOf(o logfile.Object) (list []update) {
	lines := []logfile.Object{o}
	for _, key := range t.updates {
		items, _ := o.Value(key).([]any)
		for _, item := range items {
			if m, ok := item.(map[string]any); ok {
				lines = append(lines, m)
			}
		}
	}
	for _, line := range lines {
		if ref := line.Text(t.ref...); ref != "" {
			list = append(list, update{Ref: ref, Old: line.Text(t.before...), New: line.Text(t.after...)})
		}
	}
	return list
}

// protectionName names the rule that was switched.
func protectionName(o logfile.Object, word string) string {
	name := o.Text("name", "ruleset_name", "details.target_details", "target_details", "branch")
	field := strings.TrimSpace(word)
	if change := o.Text("details.change"); change != "" {
		field = change
	}
	if name != "" {
		field += ":" + name
	}
	return field
}

// turned reads whether a protection is on or off now; a key behind ! is one that
// allows what protection forbids.
func turned(o logfile.Object, key string) string {
	if key == "on" || key == "off" || key == "" {
		return key
	}
	key, allows := strings.CutPrefix(key, "!")
	on := ""
	switch strings.ToLower(o.Text(key)) {
	case "true", "on", "enabled", "active", "everyone", "non_admins", "1", "2":
		on = "on"
	case "false", "off", "disabled", "0":
		on = "off"
	}
	if allows && on != "" {
		on = map[string]string{"on": "off", "off": "on"}[on]
	}
	return on
}
