package mlflowsim

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

type experiment struct {
	id, name, location string
	created, updated   int64
	deleted            bool
	tags               map[string]string
}

type metric struct {
	value float64
	at    int64
	step  int64
}

type run struct {
	id, name   string
	exp        *experiment
	user       string
	status     string
	start, end int64
	stage      string // lifecycle
	artifacts  string
	tags       map[string]string
	params     map[string]string
	metrics    map[string][]metric
	inputs     []object
	judged     []object // logged models that the run took as inputs
}

type loggedModel struct {
	id, name         string
	exp              *experiment
	created, updated int64
	status           string
	runID            string
	artifacts        string
	tags             map[string]string
}

func (s *Server) newExperiment(name, location string, tags map[string]string) *experiment {
	id := strconv.Itoa(s.nextExp)
	if s.nextExp > 0 {
		// MLflow 3 makes ids of 18 digits; the order of creation is kept.
		id = fmt.Sprint(100000 + s.nextExp)
	}
	s.nextExp++
	if location == "" {
		location = s.opt.ArtifactRoot + "/" + id
	}
	e := &experiment{id: id, name: name, location: location, created: s.now(), updated: s.now(), tags: tags}
	s.experiments[id] = e
	return e
}

func (e *experiment) json() object {
	stage := "active"
	if e.deleted {
		stage = "deleted"
	}
	o := object{"experiment_id": e.id, "name": e.name, "artifact_location": e.location, "lifecycle_stage": stage, "creation_time": e.created, "last_update_time": e.updated}
	put(o, "tags", pairs(e.tags))
	return o
}

func (s *Server) experimentJSON(e *experiment) object {
	o := e.json()
	if s.major >= 3 {
		o["workspace"] = "default"
	}
	return o
}

// told is a run as it is read; 3.x tells of outputs too.
func (s *Server) told(r *run) object {
	o := r.json()
	if s.major >= 3 {
		o["outputs"] = object{}
	}
	return o
}

func (s *Server) experiment(c *call) (*experiment, error) {
	e := s.experiments[c.str("experiment_id")]
	if e == nil {
		return nil, notFound("No Experiment with id=%s exists", c.str("experiment_id"))
	}
	return e, nil
}

func (s *Server) createExperiment(c *call) (object, error) {
	for _, e := range s.experiments {
		if e.name == c.str("name") {
			return nil, exists("Experiment '%s' already exists.", e.name)
		}
	}
	e := s.newExperiment(c.str("name"), c.str("artifact_location"), c.tags("tags"))
	s.own(c.user, "experiment", e.id)
	return object{"experiment_id": e.id}, nil
}

func (s *Server) getExperiment(c *call) (object, error) {
	e, err := s.experiment(c)
	if err != nil {
		return nil, err
	}
	return object{"experiment": s.experimentJSON(e)}, nil
}

func (s *Server) getExperimentByName(c *call) (object, error) {
	for _, e := range s.experiments {
		if e.name == c.str("experiment_name") {
			return object{"experiment": s.experimentJSON(e)}, nil
		}
	}
	return nil, notFound("Could not find experiment with name '%s'", c.str("experiment_name"))
}

func (s *Server) searchExperiments(c *call) (object, error) {
	limit := c.num("max_results", 0)
	if limit < 1 || limit > 50_000 {
		return nil, invalid("Invalid value for max_results: %d", limit)
	}
	f, err := parseFilter(c.str("filter"))
	if err != nil {
		return nil, err
	}
	var all []*experiment
	for _, e := range s.experiments {
		viewed := c.str("view_type") == "ALL" || e.deleted == (c.str("view_type") == "DELETED_ONLY")
		if viewed && f.matches(func(key string) (string, bool) { return e.name, key == "name" }) {
			all = append(all, e)
		}
	}
	order := strings.Join(c.strs("order_by"), ",")
	slices.SortFunc(all, func(a, b *experiment) int {
		switch {
		case strings.HasPrefix(order, "last_update_time DESC") && a.updated != b.updated:
			return int(b.updated - a.updated)
		case a.created != b.created:
			return int(b.created - a.created)
		}
		return strings.Compare(a.id, b.id)
	})
	list, next := cut(c, len(all), 0, limit, func(i int) object { return s.experimentJSON(all[i]) }, nil)
	return listing("experiments", list, next), nil
}

func (s *Server) updateExperiment(c *call) (object, error) {
	e, err := s.experiment(c)
	if err == nil {
		e.name, e.updated = c.str("new_name"), s.now()
	}
	return nil, err
}

func (s *Server) deleteExperiment(c *call) (object, error)  { return s.stageExperiment(c, true) }
func (s *Server) restoreExperiment(c *call) (object, error) { return s.stageExperiment(c, false) }

func (s *Server) stageExperiment(c *call, deleted bool) (object, error) {
	e, err := s.experiment(c)
	if err != nil {
		return nil, err
	}
	e.deleted, e.updated = deleted, s.now()
	for _, r := range s.runs {
		if r.exp == e {
			r.stage = map[bool]string{true: "deleted", false: "active"}[deleted]
		}
	}
	return nil, nil
}

func (s *Server) tagExperiment(c *call) (object, error) {
	e, err := s.experiment(c)
	if err == nil {
		if e.tags == nil {
			e.tags = map[string]string{}
		}
		e.tags[c.str("key")] = c.str("value")
	}
	return nil, err
}

func (s *Server) untagExperiment(c *call) (object, error) {
	e, err := s.experiment(c)
	if err != nil {
		return nil, err
	}
	if _, ok := e.tags[c.str("key")]; !ok {
		return nil, notFound("No tag with name: %s in experiment with id %s", c.str("key"), e.id)
	}
	delete(e.tags, c.str("key"))
	return nil, nil
}

func (r *run) json() object {
	info := object{
		"run_id": r.id, "run_uuid": r.id, "run_name": r.name, "experiment_id": r.exp.id, "user_id": r.user, "status": r.status,
		"start_time": r.start, "artifact_uri": r.artifacts, "lifecycle_stage": r.stage,
	}
	if r.end > 0 {
		info["end_time"] = r.end
	}
	data := object{}
	put(data, "tags", pairs(r.tags))
	put(data, "params", pairs(r.params))
	var metrics []object
	for _, k := range slices.Sorted(maps.Keys(r.metrics)) {
		last := slices.MaxFunc(r.metrics[k], func(a, b metric) int {
			if a.step != b.step {
				return int(a.step - b.step)
			}
			return int(a.at - b.at)
		})
		var value any = last.value
		if math.IsNaN(last.value) {
			value = "NaN"
		}
		metrics = append(metrics, object{"key": k, "value": value, "timestamp": last.at, "step": last.step})
	}
	put(data, "metrics", metrics)
	inputs := object{}
	put(inputs, "dataset_inputs", r.inputs)
	put(inputs, "model_inputs", r.judged)
	return object{"info": info, "data": data, "inputs": inputs}
}

func (s *Server) run(c *call) (*run, error) {
	id := c.str("run_id")
	if id == "" {
		id = c.str("run_uuid")
	}
	if r := s.runs[id]; r != nil {
		return r, nil
	}
	if r := s.bulk.run(id); r != nil {
		return r, nil
	}
	return nil, notFound("Run with id=%s not found", id)
}

// writable is a run that may be written to; one of the bulk becomes ordinary.
func (s *Server) writable(c *call) (*run, error) {
	r, err := s.run(c)
	if err != nil {
		return nil, err
	}
	if r.stage == "deleted" {
		return nil, invalid("The run %s must be in the 'active' state. Current state is deleted.", r.id)
	}
	s.keep(r)
	return r, nil
}

func (s *Server) keep(r *run) {
	if s.runs[r.id] == nil {
		s.runs[r.id] = r
		s.runOrder = append(s.runOrder, r)
	}
}

func (s *Server) createRun(c *call) (object, error) {
	e, err := s.experiment(c)
	if err != nil {
		return nil, err
	}
	r := &run{
		id: s.id(), name: c.str("run_name"), exp: e, user: c.str("user_id"), status: "RUNNING", start: int64(c.num("start_time", 0)), stage: "active",
		tags: c.tags("tags"), params: map[string]string{}, metrics: map[string][]metric{},
	}
	if r.name == "" {
		r.name = "run-" + r.id[:6]
	}
	r.artifacts = e.location + "/" + r.id + "/artifacts"
	r.tags["mlflow.runName"] = r.name
	s.keep(r)
	return object{"run": r.json()}, nil
}

func (s *Server) getRun(c *call) (object, error) {
	r, err := s.run(c)
	if err != nil {
		return nil, err
	}
	return object{"run": s.told(r)}, nil
}

func (s *Server) updateRun(c *call) (object, error) {
	r, err := s.writable(c)
	if err != nil {
		return nil, err
	}
	if v := c.str("status"); v != "" {
		r.status = v
	}
	if v := c.num("end_time", 0); v > 0 {
		r.end = int64(v)
	}
	if v := c.str("run_name"); v != "" {
		r.name = v
		r.tags["mlflow.runName"] = v
	}
	return object{"run_info": r.json()["info"]}, nil
}

func (s *Server) deleteRun(c *call) (object, error)  { return s.stageRun(c, "deleted") }
func (s *Server) restoreRun(c *call) (object, error) { return s.stageRun(c, "active") }

func (s *Server) stageRun(c *call, stage string) (object, error) {
	r, err := s.run(c)
	if err == nil {
		s.keep(r)
		r.stage = stage
	}
	return nil, err
}

func (s *Server) tagRun(c *call) (object, error) {
	r, err := s.writable(c)
	if err == nil {
		r.tags[c.str("key")] = c.str("value")
	}
	return nil, err
}

func (s *Server) untagRun(c *call) (object, error) {
	r, err := s.writable(c)
	if err != nil {
		return nil, err
	}
	if _, ok := r.tags[c.str("key")]; !ok {
		return nil, notFound("No tag with name: %s in run with id %s", c.str("key"), r.id)
	}
	delete(r.tags, c.str("key"))
	return nil, nil
}

func (r *run) log(o object) {
	key := fmt.Sprint(o["key"])
	m := metric{}
	switch v := o["value"].(type) {
	case float64:
		m.value = v
	case string:
		m.value, _ = strconv.ParseFloat(v, 64)
	}
	m.at, m.step = whole(o["timestamp"]), whole(o["step"])
	r.metrics[key] = append(r.metrics[key], m)
}

// whole is a whole number, which a client may send as text.
func whole(v any) int64 {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

func (s *Server) logMetric(c *call) (object, error) {
	r, err := s.writable(c)
	if err == nil {
		r.log(c.args)
	}
	return nil, err
}

func (r *run) param(key, value string) error {
	if was, ok := r.params[key]; ok && was != value {
		return invalid("Changing param values is not allowed. Param with key='%s' was already logged", key)
	}
	r.params[key] = value
	return nil
}

func (s *Server) logParam(c *call) (object, error) {
	r, err := s.writable(c)
	if err != nil {
		return nil, err
	}
	return nil, r.param(c.str("key"), c.str("value"))
}

func (s *Server) logBatch(c *call) (object, error) {
	r, err := s.writable(c)
	if err != nil {
		return nil, err
	}
	for _, m := range c.list("metrics") {
		if o, ok := m.(object); ok {
			r.log(o)
		}
	}
	for k, v := range c.tags("params") {
		if err := r.param(k, v); err != nil {
			return nil, err
		}
	}
	maps.Copy(r.tags, c.tags("tags"))
	return nil, nil
}

func (s *Server) logInputs(c *call) (object, error) {
	r, err := s.writable(c)
	if err != nil {
		return nil, err
	}
	for _, d := range c.list("datasets") {
		if o, ok := d.(object); ok {
			r.inputs = append(r.inputs, o)
		}
	}
	for _, m := range c.list("models") {
		if o, ok := m.(object); ok && s.major >= 3 {
			r.judged = append(r.judged, o)
		}
	}
	return nil, nil
}

func (s *Server) searchRuns(c *call) (object, error) {
	f, err := parseFilter(c.str("filter"))
	if err != nil {
		return nil, err
	}
	limit := c.num("max_results", 1000)
	if limit > 50_000 {
		return nil, invalid("Invalid value for max_results: %d", limit)
	}
	asked := c.strs("experiment_ids")
	view := c.str("run_view_type")
	var all []*run
	take := func(r *run) {
		if slices.Contains(asked, r.exp.id) && (view == "ALL" || (r.stage == "deleted") == (view == "DELETED_ONLY")) && f.matches(r.field) {
			all = append(all, r)
		}
	}
	for _, r := range s.runOrder {
		take(r)
	}
	bulk, from := 0, 0
	if slices.Contains(asked, "0") && view != "DELETED_ONLY" {
		bulk, from = s.bulkRuns(f, take)
	}
	if field, ok := strings.CutSuffix(strings.Join(c.strs("order_by"), ","), " ASC"); ok {
		slices.SortStableFunc(all, func(a, b *run) int {
			x, _ := a.field(strings.TrimPrefix(field, "attributes."))
			y, _ := b.field(strings.TrimPrefix(field, "attributes."))
			return strings.Compare(fmt.Sprintf("%20s", x), fmt.Sprintf("%20s", y))
		})
	}
	list, next := cut(c, len(all), bulk, limit, func(i int) object { return s.told(all[i]) }, func(i int) object { return s.told(s.bulk.runAt(from + i)) })
	return listing("runs", list, next), nil
}

// bulkRuns takes the bulk's runs that ids name, or tells from which on they are
// in the range of dates that the filter asks for.
func (s *Server) bulkRuns(f *filter, take func(*run)) (count, from int) {
	for _, t := range f.terms {
		if t.key == "run_id" {
			for _, id := range t.values {
				if r := s.bulk.run(id); r != nil && s.runs[id] == nil {
					take(r)
				}
			}
			return 0, 0
		}
	}
	if len(f.terms) != 1 || f.terms[0].op != ">=" {
		return 0, 0
	}
	at, _ := strconv.ParseInt(f.terms[0].values[0], 10, 64)
	from = int(max(0, (at-s.bulk.size.At+999)/1000))
	return max(0, s.bulk.size.Runs-from), from
}

func (r *run) field(key string) (string, bool) {
	switch key {
	case "start_time":
		return strconv.FormatInt(r.start, 10), true
	case "end_time":
		return strconv.FormatInt(r.end, 10), r.end > 0
	case "status":
		return r.status, true
	case "run_id":
		return r.id, true
	case "run_name":
		return r.name, true
	case "user_id":
		return r.user, true
	}
	if k, ok := strings.CutPrefix(key, "tags."); ok {
		v, ok := r.tags[k]
		return v, ok
	}
	k, ok := strings.CutPrefix(key, "params.")
	v, found := r.params[k]
	return v, ok && found
}

func (m *loggedModel) json() object {
	info := object{
		"model_id": m.id, "experiment_id": m.exp.id, "name": m.name, "creation_timestamp_ms": m.created, "last_updated_timestamp_ms": m.updated,
		"artifact_uri": m.artifacts, "status": m.status, "model_type": "",
	}
	put(info, "source_run_id", m.runID)
	put(info, "tags", pairs(m.tags))
	return object{"info": info, "data": object{}}
}

// loggedModels answers all calls below logged-models, whose paths hold ids.
func (s *Server) loggedModels(c *call) (object, error) {
	_, rest, _ := strings.Cut(c.URL.Path, "/mlflow/logged-models")
	rest = strings.Trim(rest, "/")
	switch {
	case rest == "" && c.Method == "POST":
		e, err := s.experiment(c)
		if err != nil {
			return nil, err
		}
		m := &loggedModel{id: "m-" + s.id(), name: c.str("name"), exp: e, created: s.now(), updated: s.now(), status: "LOGGED_MODEL_PENDING", runID: c.str("source_run_id"), tags: c.tags("tags")}
		m.artifacts = e.location + "/models/" + m.id + "/artifacts"
		s.logged[m.id] = m
		return object{"model": m.json()}, nil
	case rest == "search":
		return s.searchLogged(c)
	}
	parts := strings.Split(rest, "/")
	m := s.logged[parts[0]]
	if m == nil {
		return nil, notFound("Logged model with ID '%s' not found.", parts[0])
	}
	switch {
	case len(parts) == 1 && c.Method == "GET":
	case len(parts) == 1 && c.Method == "PATCH":
		m.status, m.updated = c.str("status"), s.now()
	case len(parts) == 1 && c.Method == "DELETE":
		delete(s.logged, m.id)
		return nil, nil
	case len(parts) == 2 && parts[1] == "tags" && c.Method == "PATCH":
		maps.Copy(m.tags, c.tags("tags"))
		return nil, nil
	case len(parts) == 3 && parts[1] == "tags" && c.Method == "DELETE":
		delete(m.tags, parts[2])
		return nil, nil
	case len(parts) == 3 && parts[2] == "directories":
		return s.listing(m.artifacts, c.str("artifact_directory_path")), nil
	default:
		return nil, notFound("no such endpoint")
	}
	return object{"model": m.json()}, nil
}

func (s *Server) searchLogged(c *call) (object, error) {
	ids := c.strs("experiment_ids")
	if len(ids) == 0 {
		return nil, invalid("experiment_ids is required")
	}
	var all []*loggedModel
	for _, m := range s.logged {
		if slices.Contains(ids, m.exp.id) {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *loggedModel) int {
		if a.created != b.created {
			return int(a.created - b.created)
		}
		return strings.Compare(a.id, b.id)
	})
	list, next := cut(c, len(all), 0, c.num("max_results", 50), func(i int) object { return all[i].json() }, nil)
	return listing("models", list, next), nil
}
