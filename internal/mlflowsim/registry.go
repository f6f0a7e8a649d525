package mlflowsim

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

const promptTag = "mlflow.prompt.is_prompt"

type model struct {
	name             string
	created, updated int64
	description      string
	tags             map[string]string
	aliases          map[string]string
	versions         map[int]*version
	last             int // highest number that was ever given
}

type version struct {
	model            *model
	number           int
	created, updated int64
	stage, status    string
	description      string
	source, runID    string
	tags             map[string]string
}

func (m *model) prompt() bool   { return m.tags[promptTag] == "true" }
func (v *version) prompt() bool { return v.tags[promptTag] == "true" }

func pairs(tags map[string]string) []object {
	var list []object
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, object{"key": k, "value": tags[k]})
	}
	return list
}

// put sets a field unless it is empty: MLflow leaves such fields out.
func put(o object, name string, value any) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
	case []object:
		if len(v) == 0 {
			return
		}
	}
	o[name] = value
}

func (m *model) json() object {
	o := object{"name": m.name, "creation_timestamp": m.created, "last_updated_timestamp": m.updated}
	put(o, "description", m.description)
	put(o, "tags", pairs(m.tags))
	var aliases, latest []object
	for _, a := range slices.Sorted(maps.Keys(m.aliases)) {
		aliases = append(aliases, object{"alias": a, "version": m.aliases[a]})
	}
	put(o, "aliases", aliases)
	newest := map[string]*version{}
	var stages []string // in the order in which a version reached one first
	for _, n := range slices.Sorted(maps.Keys(m.versions)) {
		v := m.versions[n]
		if newest[v.stage] == nil {
			stages = append(stages, v.stage)
		}
		newest[v.stage] = v
	}
	for _, stage := range stages {
		latest = append(latest, newest[stage].json())
	}
	put(o, "latest_versions", latest)
	return o
}

func (v *version) json() object {
	o := object{
		"name": v.model.name, "version": strconv.Itoa(v.number), "creation_timestamp": v.created, "last_updated_timestamp": v.updated,
		"current_stage": v.stage, "status": v.status, "description": v.description, "source": v.source, "run_id": v.runID, "run_link": "",
	}
	put(o, "tags", pairs(v.tags))
	return o
}

// named is a version with its aliases, as it is when it is read alone.
func (v *version) named() object {
	o := v.json()
	var aliases []string
	for _, a := range slices.Sorted(maps.Keys(v.model.aliases)) {
		if v.model.aliases[a] == strconv.Itoa(v.number) {
			aliases = append(aliases, a)
		}
	}
	if len(aliases) > 0 {
		o["aliases"] = aliases
	}
	return o
}

func (s *Server) model(c *call) (*model, error) {
	name := c.str("name")
	m := s.models[name]
	if m == nil {
		m = s.bulk.model(name)
	}
	if m == nil {
		return nil, notFound("Registered Model with name=%s not found", name)
	}
	return m, nil
}

func (s *Server) version(c *call) (*version, error) {
	m, err := s.model(c)
	if err != nil {
		return nil, err
	}
	v := m.versions[c.num("version", 0)]
	if v == nil {
		return nil, notFound("Model Version (name=%s, version=%s) not found", m.name, c.str("version"))
	}
	return v, nil
}

// change keeps a model that was of the bulk, because it will differ.
func (s *Server) change(m *model) {
	s.bulk.take(m)
	s.models[m.name] = m
}

func (s *Server) createModel(c *call) (object, error) {
	name := c.str("name")
	if name == "" || strings.ContainsAny(name, "/:") {
		return nil, invalid("Registered model name cannot be empty or hold / or :")
	}
	if s.models[name] != nil || s.bulk.model(name) != nil {
		return nil, exists("Registered Model (name=%s) already exists.", name)
	}
	m := &model{name: name, created: s.now(), updated: s.now(), description: c.str("description"), tags: c.tags("tags"), aliases: map[string]string{}, versions: map[int]*version{}}
	s.change(m)
	s.own(c.user, "registered_model", name)
	return object{"registered_model": m.json()}, nil
}

func (s *Server) getModel(c *call) (object, error) {
	m, err := s.model(c)
	if err != nil {
		return nil, err
	}
	return object{"registered_model": m.json()}, nil
}

func (s *Server) renameModel(c *call) (object, error) {
	m, err := s.model(c)
	if err != nil {
		return nil, err
	}
	name := c.str("new_name")
	if s.models[name] != nil {
		return nil, exists("Registered Model (name=%s) already exists.", name)
	}
	s.bulk.take(m)
	delete(s.models, m.name)
	m.name, m.updated = name, s.now()
	for _, v := range m.versions {
		v.updated = m.updated
	}
	s.change(m)
	return object{"registered_model": m.json()}, nil
}

func (s *Server) updateModel(c *call) (object, error) {
	m, err := s.model(c)
	if err != nil {
		return nil, err
	}
	s.change(m)
	m.description, m.updated = c.str("description"), s.now()
	return object{"registered_model": m.json()}, nil
}

func (s *Server) deleteModel(c *call) (object, error) {
	m, err := s.model(c)
	if err != nil {
		return nil, err
	}
	s.bulk.take(m)
	delete(s.models, m.name)
	return nil, nil
}

func (s *Server) tagModel(c *call) (object, error) {
	m, err := s.model(c)
	if err != nil {
		return nil, err
	}
	s.change(m)
	m.tags[c.str("key")] = c.str("value")
	return nil, nil
}

func (s *Server) untagModel(c *call) (object, error) {
	m, err := s.model(c)
	if err != nil {
		return nil, err
	}
	s.change(m)
	delete(m.tags, c.str("key"))
	return nil, nil
}

func (s *Server) setAlias(c *call) (object, error) {
	v, err := s.version(c)
	if err != nil {
		return nil, err
	}
	s.change(v.model)
	v.model.aliases[c.str("alias")] = strconv.Itoa(v.number)
	return nil, nil
}

func (s *Server) getAlias(c *call) (object, error) {
	m, err := s.model(c)
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(m.aliases[c.str("alias")])
	v := m.versions[n]
	if v == nil {
		return nil, invalid("Registered model alias %s not found.", c.str("alias"))
	}
	return object{"model_version": v.named()}, nil
}

func (s *Server) deleteAlias(c *call) (object, error) {
	m, err := s.model(c)
	if err != nil {
		return nil, err
	}
	s.change(m)
	delete(m.aliases, c.str("alias"))
	return nil, nil
}

func (s *Server) createVersion(c *call) (object, error) {
	m, err := s.model(c)
	if err != nil {
		return nil, err
	}
	s.change(m)
	m.last++
	v := &version{
		model: m, number: m.last, created: s.now(), updated: s.now(), stage: "None", status: "READY",
		description: c.str("description"), source: c.str("source"), runID: c.str("run_id"), tags: c.tags("tags"),
	}
	if id, ok := strings.CutPrefix(v.source, "models:/"); ok && v.runID == "" && s.logged[id] != nil {
		v.runID = s.logged[id].runID
	}
	m.versions[v.number] = v
	m.updated = s.now()
	return object{"model_version": v.json()}, nil
}

func (s *Server) getVersion(c *call) (object, error) {
	v, err := s.version(c)
	if err != nil {
		return nil, err
	}
	return object{"model_version": v.named()}, nil
}

func (s *Server) updateVersion(c *call) (object, error) {
	v, err := s.version(c)
	if err != nil {
		return nil, err
	}
	s.change(v.model)
	v.description, v.updated = c.str("description"), s.now()
	return object{"model_version": v.json()}, nil
}

func (s *Server) deleteVersion(c *call) (object, error) {
	v, err := s.version(c)
	if err != nil {
		return nil, err
	}
	s.change(v.model)
	delete(v.model.versions, v.number)
	if s.major >= 3 {
		maps.DeleteFunc(v.model.aliases, func(_, n string) bool { return n == strconv.Itoa(v.number) })
	}
	v.model.updated = s.now()
	return nil, nil
}

func (s *Server) stageVersion(c *call) (object, error) {
	v, err := s.version(c)
	if err != nil {
		return nil, err
	}
	stage, now := c.str("stage"), s.now()
	if !slices.Contains([]string{"None", "Staging", "Production", "Archived"}, stage) {
		return nil, invalid("Invalid Model Version stage: %s.", stage)
	}
	s.change(v.model)
	if c.str("archive_existing_versions") == "true" {
		for _, other := range v.model.versions {
			if other != v && other.stage == stage {
				other.stage, other.updated = "Archived", now
			}
		}
	}
	v.stage, v.updated, v.model.updated = stage, now, now
	return object{"model_version": v.json()}, nil
}

func (s *Server) tagVersion(c *call) (object, error) {
	v, err := s.version(c)
	if err != nil {
		return nil, err
	}
	s.change(v.model)
	v.tags[c.str("key")] = c.str("value")
	return nil, nil
}

func (s *Server) untagVersion(c *call) (object, error) {
	v, err := s.version(c)
	if err != nil {
		return nil, err
	}
	s.change(v.model)
	delete(v.tags, c.str("key"))
	return nil, nil
}

func (s *Server) searchModels(c *call) (object, error) {
	f, err := parseFilter(c.str("filter"))
	if err != nil {
		return nil, err
	}
	limit := c.num("max_results", 100)
	if limit > 1000 {
		return nil, invalid("Invalid value for max_results. It must be at most 1000, but got %d", limit)
	}
	var all []*model
	for _, m := range s.models {
		if m.prompt() == f.prompts && f.matches(func(key string) (string, bool) {
			if key == "name" {
				return m.name, true
			}
			v, ok := m.tags[strings.TrimPrefix(key, "tags.")]
			return v, ok
		}) {
			all = append(all, m)
		}
	}
	byUpdate := strings.HasPrefix(c.str("order_by"), "last_updated_timestamp DESC")
	slices.SortFunc(all, func(a, b *model) int {
		if byUpdate && a.updated != b.updated {
			return int(b.updated - a.updated)
		}
		return strings.Compare(a.name, b.name)
	})
	list, next := cut(c, len(all), s.bulk.modelCount(f), limit, func(i int) object { return all[i].json() }, func(i int) object { return s.bulk.modelAt(i).json() })
	return listing("registered_models", list, next), nil
}

func (s *Server) searchVersions(c *call) (object, error) {
	f, err := parseFilter(c.str("filter"))
	if err != nil {
		return nil, err
	}
	limit := c.num("max_results", 10_000)
	if limit > 200_000 {
		return nil, invalid("Invalid value for max_results. It must be at most 200000, but got %d", limit)
	}
	var all []*version
	add := func(m *model) {
		for _, v := range m.versions {
			if v.prompt() == f.prompts && f.matches(func(key string) (string, bool) {
				switch key {
				case "name":
					return m.name, true
				case "run_id":
					return v.runID, true
				}
				t, ok := v.tags[strings.TrimPrefix(key, "tags.")]
				return t, ok
			}) {
				all = append(all, v)
			}
		}
	}
	for _, m := range s.models {
		add(m)
	}
	bulk := s.bulk.versionCount(f)
	if name := f.equals("name"); name != "" && s.models[name] == nil {
		if m := s.bulk.model(name); m != nil {
			add(m)
		}
	}
	order := c.str("order_by")
	slices.SortFunc(all, func(a, b *version) int {
		switch {
		case (order == "" || strings.HasPrefix(order, "last_updated_timestamp DESC")) && a.updated != b.updated:
			return int(b.updated - a.updated)
		case a.model != b.model:
			return strings.Compare(a.model.name, b.model.name)
		}
		return b.number - a.number
	})
	list, next := cut(c, len(all), bulk, limit, func(i int) object { return all[i].json() }, func(i int) object { return s.bulk.versionAt(i).json() })
	return listing("model_versions", list, next), nil
}
