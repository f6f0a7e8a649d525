package mlflow

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"aiwatch/internal/event"
)

// A grant is what somebody may do with something. MLflow keeps neither when it
// was made nor by whom, so that only two looks tell a change.
type grant struct {
	Grantee    string `json:"grantee"` // user, or role:<name>
	Resource   string `json:"resource"`
	Pattern    string `json:"pattern"`
	Permission string `json:"permission"`
}

// An account is a user of MLflow's basic authentication.
type account struct {
	Name  string `json:"name"`
	Admin bool   `json:"admin"`
}

type roleJSON struct {
	ID          number `json:"id"`
	Name        string `json:"name"`
	Workspace   string `json:"workspace"`
	Permissions []struct {
		Resource   string `json:"resource_type"`
		Pattern    text   `json:"resource_pattern"`
		Permission string `json:"permission"`
	} `json:"permissions"`
}

type userJSON struct {
	ID          number     `json:"id"`
	Name        string     `json:"username"`
	Admin       bool       `json:"is_admin"`
	Roles       []roleJSON `json:"roles"`
	Experiments []struct {
		ID         text   `json:"experiment_id"`
		Permission string `json:"permission"`
	} `json:"experiment_permissions"`
	Models []struct {
		Name       string `json:"name"`
		Permission string `json:"permission"`
	} `json:"registered_model_permissions"`
}

// maxAccounts is how many users one answer may list.
const maxAccounts = 100_000

// sweepGrants compares accounts and permissions.
func (p *poll) sweepGrants() error {
	if p.c.cfg.Username == "" && p.c.cfg.Token == "" {
		p.lacks("permissions: no account is set, so that those of the server, if it has any, can't be read")
		return nil
	}
	var users []userJSON
	var grants []grant
	var err error
	if p.server.Major >= 3 {
		users, grants, err = p.roles()
	} else {
		users, grants, err = p.permissionsOfUsers()
	}
	if errors.Is(err, errBudget) {
		p.lacks("permissions: the known users are more than requests_per_sweep")
		return nil // a part would look like revocations
	}
	if isDenied(err) {
		p.lacks("permissions: the account is no administrator and may not list them")
		return nil
	}
	if isMissing(err) || isGone(err) {
		p.lacks("permissions: the server has no basic authentication")
		return nil
	}
	if err != nil {
		return fmt.Errorf("read permissions: %w", err)
	}
	// A 2.x server tells of the users that we know to ask for: one whom we hear of
	// for the first time may long have been there, with all that is granted.
	heard := map[string]bool{}
	if p.server.Major < 3 {
		for _, u := range users {
			heard[u.Name] = p.get(stateKey("u", short(u.Name))) == nil
		}
	}
	if p.ws == "" || p.first() {
		if err := p.compareAccounts(users, heard); err != nil {
			return err
		}
	}
	return p.compareGrants(grants, heard)
}

// first tells whether the poll is of the workspace that answers for the server
// as a whole.
func (p *poll) first() bool { return p.ws == "default" }

// roles reads accounts and grants of a 3.x server. A grant to one user is a role
// of that user's own.
func (p *poll) roles() (users []userJSON, grants []grant, err error) {
	p.budget -= 2
	if err = each(p.ctx, p.c.client, p.at(request{path: api + "users/list"}), "users", func(u *userJSON) error {
		if users = append(users, *u); len(users) > maxAccounts {
			return fmt.Errorf("over %d users", maxAccounts)
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	own := map[string]string{}
	for _, u := range users {
		own[fmt.Sprintf("__user_%d__", u.ID)] = u.Name
		for _, r := range u.Roles {
			if !strings.HasPrefix(r.Name, "__user_") && (p.ws == "" || r.Workspace == p.ws) {
				grants = append(grants, grant{Grantee: u.Name, Resource: "role", Pattern: r.Name, Permission: "member"})
			}
		}
	}
	err = each(p.ctx, p.c.client, p.at(request{path: "/api/3.0/mlflow/roles/list"}), "roles", func(r *roleJSON) error {
		if p.ws != "" && r.Workspace != p.ws {
			return nil
		}
		grantee, ok := own[r.Name]
		if !ok {
			grantee = "role:" + r.Name
		}
		for _, g := range r.Permissions {
			grants = append(grants, grant{grantee, g.Resource, string(g.Pattern), g.Permission})
		}
		return nil
	})
	return users, grants, err
}

// permissionsOfUsers reads accounts and grants of a 2.x server, which lists
// neither: of our own account, of those known before, and of the names that runs
// and the access log hold.
func (p *poll) permissionsOfUsers() (users []userJSON, grants []grant, err error) {
	names := map[string]bool{p.c.cfg.Username: true}
	p.each(within("u"), func(_ string, record []byte) {
		var a account
		if _, ok := decodeRecord(record, &a); ok {
			names[a.Name] = true
		}
	})
	p.each(within("r", p.ws), func(_ string, record []byte) {
		var r run
		if _, ok := decodeRecord(record, &r); ok && len(names) < maxNames {
			names[r.User] = true
		}
	})
	if p.actors != nil {
		for _, c := range p.actors.calls {
			if len(names) < maxNames {
				names[c.User] = true
			}
		}
	}
	delete(names, "")
	p.lacks("permissions: a 2.x server lists no users; those of %d known names are read", len(names))
	for _, name := range sortedKeys(names) {
		if p.budget <= 0 {
			return nil, nil, errBudget
		}
		p.budget--
		var answer struct {
			User userJSON `json:"user"`
		}
		err := p.c.client.get(p.ctx, p.at(request{path: api + "users/get", query: query("username", name)}), &answer)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		u := answer.User
		users = append(users, u)
		for _, e := range u.Experiments {
			grants = append(grants, grant{u.Name, "experiment", string(e.ID), e.Permission})
		}
		for _, m := range u.Models {
			grants = append(grants, grant{u.Name, "registered_model", m.Name, m.Permission})
		}
	}
	return users, grants, nil
}

var errBudget = errors.New("no requests are left")

// maxNames is how many users a 2.x server is asked for.
const maxNames = 300

// granted is the asset that a grant is for.
func (p *poll) granted(g *grant) (id, name string) {
	switch g.Resource {
	case "experiment":
		var e experiment
		if _, ok := decodeRecord(p.get(stateKey("e", p.ws, g.Pattern)), &e); ok {
			return p.asset("experiments", g.Pattern), e.Name
		}
		return p.asset("experiments", g.Pattern), g.Pattern
	case "registered_model":
		return p.asset("models", g.Pattern), g.Pattern
	case "prompt":
		return p.asset("prompts", g.Pattern), g.Pattern
	}
	return p.asset(g.Resource, g.Pattern), g.Pattern
}

// grantee sets who got a permission; the actor is src_user.
func (p *poll) grantee(ev *event.Event, name string) {
	ev.UserID = name
	ev.User, ev.UserType, _ = p.c.cfg.Identity.Resolve(name)
	if strings.HasPrefix(name, "role:") {
		ev.UserType = "role"
	}
	ev.UserConfidence = "unknown"
	ev.ChangeType = "AAA"
}

func (p *poll) compareAccounts(users []userJSON, heard map[string]bool) error {
	seen := newSet()
	for _, u := range users {
		a := account{short(u.Name), u.Admin}
		key := stateKey("u", a.Name)
		seen.add(key)
		record, observation := p.get(key), observed(a)
		if sameRecord(record, observation) {
			continue
		}
		s := subject{kind: "permission", id: p.accountID(a.Name), name: a.Name}
		var before account
		h, ok := decodeRecord(record, &before)
		fill := func(ev *event.Event) { p.grantee(ev, a.Name) }
		var events []told
		switch {
		case !ok:
			events = p.appearedGrant("account.created", heard[u.Name], s, &h, fill, callOf("POST users/create"))
		default:
			events = p.differences(s, &h, 0, []difference{{operation: "account.admin_changed", field: "permission", before: adminWord(before.Admin), after: adminWord(a.Admin), cause: callOf("PATCH users/update-admin")}}, func(ev *event.Event, _ difference) { fill(ev) })
		}
		p.distinguish(events, a.Name)
		if err := p.add(change{events: events, writes: []write{{key, encodeRecord(h, observation)}}}); err != nil {
			return err
		}
	}
	var gone []account
	p.each(within("u"), func(key string, record []byte) {
		var a account
		if _, ok := decodeRecord(record, &a); ok && !seen.has(key) {
			gone = append(gone, a)
		}
	})
	for _, a := range gone {
		key := stateKey("u", a.Name)
		h, _ := decodeRecord(p.get(key), &a)
		s := subject{kind: "permission", id: p.accountID(a.Name), name: a.Name}
		events := p.differences(s, &h, 0, []difference{{operation: "account.deleted", cause: callOf("DELETE users/delete")}}, func(ev *event.Event, _ difference) { p.grantee(ev, a.Name) })
		p.distinguish(events, a.Name)
		if err := p.add(change{events: events, writes: []write{{key, nil}}}); err != nil {
			return err
		}
	}
	return p.err
}

func (p *poll) accountID(name string) string {
	return "mlflow:" + p.c.cfg.Instance + "/users/" + name
}

func adminWord(admin bool) string {
	if admin {
		return "admin"
	}
	return "user"
}

// appearedGrant is inventory at first contact, or where it may be old, and a
// change later.
func (p *poll) appearedGrant(operation string, old bool, s subject, h *head, fill func(*event.Event), by cause) []told {
	if p.area.Baseline && !old {
		return p.differences(s, h, 0, []difference{{operation: operation, cause: by}}, func(ev *event.Event, _ difference) { fill(ev) })
	}
	ev := p.event(inventory, s)
	ev.Evidence = inventory
	fill(&ev)
	ev.User, ev.UserConfidence = "", "" // inventory has no user; user_id names the grantee
	identify(&ev, s, 0, ev.UserID)
	return []told{{event: ev}}
}

func (p *poll) compareGrants(grants []grant, heard map[string]bool) error {
	key := func(g *grant) string { return stateKey("g", p.ws, g.Grantee, g.Resource, g.Pattern) }
	seen := newSet()
	automatic := p.automaticGrants(grants, key)
	granting := callOf("POST users/permissions/grant", "POST roles/permissions/add", "POST roles/assign", "PATCH roles/permissions/update",
		"POST registered-models/permissions/create", "POST experiments/permissions/create",
		"PATCH registered-models/permissions/update", "PATCH experiments/permissions/update")
	revoking := callOf("POST users/permissions/revoke", "DELETE users/permissions/revoke", "DELETE roles/permissions/remove", "POST roles/permissions/remove", "DELETE roles/unassign", "POST roles/unassign",
		"DELETE registered-models/permissions/delete", "DELETE experiments/permissions/delete", "DELETE roles/delete")
	slices.SortFunc(grants, func(a, b grant) int { return strings.Compare(key(&a), key(&b)) })
	for i := range grants {
		g := &grants[i]
		k := key(g)
		if seen.has(k) {
			continue // a second grant to the same role of the same thing
		}
		seen.add(k)
		record, observation := p.get(k), observed(g)
		if sameRecord(record, observation) {
			continue
		}
		id, name := p.granted(g)
		s := subject{kind: "permission", id: id, name: name}
		var before grant
		h, ok := decodeRecord(record, &before)
		fill := func(ev *event.Event) {
			p.grantee(ev, g.Grantee)
			ev.GranteePermission = g.Permission
		}
		var events []told
		if !ok {
			by := granting
			if automatic[g.Resource+"/"+g.Pattern] == 1 {
				by = cause{}
			}
			events = p.appearedGrant("permission.granted", heard[g.Grantee], s, &h, func(ev *event.Event) {
				fill(ev)
				if ev.Operation != inventory {
					ev.ChangeField, ev.NewValue = "permission", g.Permission
				}
			}, by)
		} else {
			events = p.differences(s, &h, 0, []difference{{operation: "permission.changed", field: "permission", before: before.Permission, after: g.Permission, cause: granting}}, func(ev *event.Event, _ difference) { fill(ev) })
		}
		p.distinguish(events, g.Grantee)
		if err := p.add(change{events: events, writes: []write{{k, encodeRecord(h, observation)}}}); err != nil {
			return err
		}
	}
	var gone []grant
	p.each(within("g", p.ws), func(k string, record []byte) {
		var g grant
		if _, ok := decodeRecord(record, &g); ok && !seen.has(k) {
			gone = append(gone, g)
		}
	})
	for i := range gone {
		g := &gone[i]
		k := key(g)
		h, _ := decodeRecord(p.get(k), g)
		id, name := p.granted(g)
		s := subject{kind: "permission", id: id, name: name}
		by := revoking
		if _, there := p.since(g); !there {
			by = cause{} // it went with what it was for
		}
		events := p.differences(s, &h, 0, []difference{{operation: "permission.revoked", field: "permission", before: g.Permission, cause: by}}, func(ev *event.Event, _ difference) {
			p.grantee(ev, g.Grantee)
			ev.GranteePermission = g.Permission
		})
		p.distinguish(events, g.Grantee)
		if err := p.add(change{events: events, writes: []write{{k, nil}}}); err != nil {
			return err
		}
	}
	return p.err
}

// automaticGrants counts, by resource and pattern, the new grants of MANAGE on
// what was created since the last sweep and had no grant before. Where that is
// one, the server made it, for whoever created the thing, and no call for a
// grant explains it.
func (p *poll) automaticGrants(grants []grant, key func(*grant) string) map[string]int {
	count := map[string]int{}
	for i := range grants {
		g := &grants[i]
		if p.get(key(g)) != nil || g.Permission != "MANAGE" {
			continue
		}
		if created, there := p.since(g); there && created >= p.area.Swept-skew.Milliseconds() {
			count[g.Resource+"/"+g.Pattern]++
		}
	}
	p.each(within("g", p.ws), func(_ string, record []byte) {
		var g grant
		if _, ok := decodeRecord(record, &g); ok {
			delete(count, g.Resource+"/"+g.Pattern)
		}
	})
	return count
}

// since returns when what a grant is for was created, and whether it is there,
// which is taken for granted where we don't know such things.
func (p *poll) since(g *grant) (created int64, there bool) {
	switch g.Resource {
	case "experiment":
		var e experiment
		_, ok := decodeRecord(p.get(stateKey("e", p.ws, g.Pattern)), &e)
		return e.Created, ok
	case "registered_model", "prompt":
		var m model
		_, ok := decodeRecord(p.get(p.modelKey(g.Pattern)), &m)
		return m.Created, ok
	}
	return 0, true
}

// distinguish makes the ids differ of grants of one thing to several people, and
// of a grant that comes back: neither has a creation date that would.
func (p *poll) distinguish(events []told, grantee string) {
	for i := range events {
		ev := &events[i].event
		if ev.Operation != inventory {
			ev.ID = event.MakeID(event.SourcetypeMLflow, ev.ID.String(), grantee, strconv.FormatInt(p.area.Swept, 10))
		} else {
			ev.ID = event.MakeID(event.SourcetypeMLflow, ev.ID.String(), grantee)
		}
	}
}
