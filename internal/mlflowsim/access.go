package mlflowsim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

type user struct {
	id    int
	name  string
	admin bool
	// models and experiments are the grants of a 2.x server.
	models, experiments map[string]string
}

// A role holds the grants of a 3.x server; a user's own are a role too.
type role struct {
	id     int
	name   string
	grants []grant
}

type grant struct{ resource, pattern, permission string }

func marshal(o object) string {
	b, err := json.Marshal(o)
	if err != nil {
		return "{}"
	}
	return string(b)
}

func (s *Server) newUser(name string, admin bool) *user {
	s.nextUser++
	u := &user{id: s.nextUser, name: name, admin: admin, models: map[string]string{}, experiments: map[string]string{}}
	s.users[name] = u
	s.roles[name] = &role{id: u.id, name: fmt.Sprintf("__user_%d__", u.id)}
	return u
}

// AddUser makes a user, as the administrator's call does.
func (s *Server) AddUser(name string, admin bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newUser(name, admin)
}

func (s *Server) user(c *call) (*user, error) {
	u := s.users[c.str("username")]
	if u == nil {
		return nil, notFound("User with username=%s not found", c.str("username"))
	}
	return u, nil
}

// rights refuses what only an administrator may do.
func (s *Server) rights(c *call) error {
	if u := s.users[c.user]; u == nil || !u.admin {
		return &failure{403, "PERMISSION_DENIED", "Permission denied"}
	}
	return nil
}

func (u *user) json(major int) object {
	o := object{"id": u.id, "username": u.name, "is_admin": u.admin}
	if major < 3 {
		models, experiments := []object{}, []object{}
		for _, name := range slices.Sorted(maps.Keys(u.models)) {
			models = append(models, object{"name": name, "user_id": u.id, "permission": u.models[name]})
		}
		for _, id := range slices.Sorted(maps.Keys(u.experiments)) {
			experiments = append(experiments, object{"experiment_id": id, "user_id": u.id, "permission": u.experiments[id]})
		}
		o["registered_model_permissions"], o["experiment_permissions"] = models, experiments
	}
	return o
}

func (s *Server) noAuth() error {
	if !s.opt.BasicAuth {
		return notFound("no such endpoint")
	}
	return nil
}

func (s *Server) createUser(c *call) (object, error) {
	if err := s.noAuth(); err != nil {
		return nil, err
	}
	if err := s.rights(c); err != nil {
		return nil, err
	}
	if s.users[c.str("username")] != nil {
		return nil, exists("User (username=%s) already exists.", c.str("username"))
	}
	return object{"user": s.newUser(c.str("username"), false).json(s.major)}, nil
}

func (s *Server) getUser(c *call) (object, error) {
	u, err := s.user(c)
	if err != nil {
		return nil, err
	}
	return object{"user": u.json(s.major)}, nil
}

func (s *Server) listUsers(c *call) (object, error) {
	if err := s.noAuth(); err != nil || s.major < 3 {
		return nil, notFound("no such endpoint")
	}
	if err := s.rights(c); err != nil {
		return nil, err
	}
	list := []object{}
	for _, name := range slices.Sorted(maps.Keys(s.users)) {
		u := s.users[name]
		list = append(list, object{"id": u.id, "username": u.name, "is_admin": u.admin, "roles": []object{s.roles[name].json()}})
	}
	return object{"users": list}, nil
}

func (s *Server) updateAdmin(c *call) (object, error) {
	u, err := s.user(c)
	if err != nil {
		return nil, err
	}
	u.admin = c.str("is_admin") == "true"
	return nil, nil
}

func (s *Server) deleteUser(c *call) (object, error) {
	u, err := s.user(c)
	if err != nil {
		return nil, err
	}
	delete(s.users, u.name)
	delete(s.roles, u.name)
	return nil, nil
}

func (r *role) json() object {
	list := []object{}
	for i, g := range r.grants {
		list = append(list, object{"id": i + 1, "role_id": r.id, "resource_type": g.resource, "resource_pattern": g.pattern, "permission": g.permission})
	}
	return object{"id": r.id, "name": r.name, "workspace": "default", "permissions": list}
}

func (s *Server) listRoles(c *call) (object, error) {
	if err := s.noAuth(); err != nil || s.major < 3 {
		return nil, notFound("no such endpoint")
	}
	if err := s.rights(c); err != nil {
		return nil, err
	}
	list := []object{}
	for _, name := range slices.Sorted(maps.Keys(s.roles)) {
		list = append(list, s.roles[name].json())
	}
	return object{"roles": list}, nil
}

func (s *Server) grant(c *call) (object, error) {
	u, err := s.user(c)
	if err != nil {
		return nil, err
	}
	r := s.roles[u.name]
	g := grant{c.str("resource_type"), c.str("resource_id"), c.str("permission")}
	for _, had := range r.grants {
		if had.resource == g.resource && had.pattern == g.pattern {
			return nil, exists("the user has a grant for this resource")
		}
	}
	r.grants = append(r.grants, g)
	return nil, nil
}

func (s *Server) revoke(c *call) (object, error) {
	u, err := s.user(c)
	if err != nil {
		return nil, err
	}
	r := s.roles[u.name]
	r.grants = slices.DeleteFunc(r.grants, func(g grant) bool {
		return g.resource == c.str("resource_type") && g.pattern == c.str("resource_id")
	})
	return nil, nil
}

// own gives MANAGE to whoever made something.
func (s *Server) own(name, resource, pattern string) {
	u := s.users[name]
	switch {
	case u == nil:
	case s.major >= 3:
		s.roles[name].grants = append(s.roles[name].grants, grant{resource, pattern, "MANAGE"})
	case resource == "experiment":
		u.experiments[pattern] = "MANAGE"
	default:
		u.models[pattern] = "MANAGE"
	}
}

func (s *Server) grantModel(c *call) (object, error)      { return s.grant2(c, "name", true) }
func (s *Server) ungrantModel(c *call) (object, error)    { return s.grant2(c, "name", false) }
func (s *Server) grantExperiment(c *call) (object, error) { return s.grant2(c, "experiment_id", true) }

func (s *Server) ungrantExperiment(c *call) (object, error) {
	return s.grant2(c, "experiment_id", false)
}

// grant2 is the grants of 2.x, which 3.x no longer has.
func (s *Server) grant2(c *call, field string, give bool) (object, error) {
	if s.major >= 3 {
		return nil, &failure{404, "ENDPOINT_NOT_FOUND", "Not Found"}
	}
	u, err := s.user(c)
	if err != nil {
		return nil, err
	}
	grants := u.models
	if strings.HasPrefix(field, "experiment") {
		grants = u.experiments
	}
	if give {
		grants[c.str(field)] = c.str("permission")
	} else {
		delete(grants, c.str(field))
	}
	return nil, nil
}

// Welcome makes a user that the server does not have yet, for plays in which
// somebody calls whose account nobody told of.
func (s *Server) Welcome(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opt.BasicAuth && s.users[name] == nil {
		s.newUser(name, false)
	}
}
