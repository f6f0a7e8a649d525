package mlflow_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors"
	"aiwatch/collectors/mlflow"
	"aiwatch/internal/counterpart"
	"aiwatch/internal/mlflowsim"
)

// row is an event as a test looks at it.
type row map[string]any

func (r row) s(field string) string {
	v, _ := r[field].(string)
	return v
}

func (r row) list(field string) []string {
	var list []string
	values, _ := r[field].([]any)
	for _, v := range values {
		list = append(list, fmt.Sprint(v))
	}
	return list
}

// what is an event in one line: operation, object, field, before and after.
func (r row) what() string {
	parts := []string{r.s("operation"), r.s("asset_name")}
	if v := r.s("asset_version"); v != "" {
		parts = append(parts, v)
	}
	if f := r.s("change_field"); f != "" {
		parts = append(parts, fmt.Sprintf("%s: %q -> %q", f, r.s("old_value"), r.s("new_value")))
	}
	return strings.Join(parts, " ")
}

// A watch is a collector with its state and what it told.
type watch struct {
	t         *testing.T
	collector *mlflow.Collector
	out       *collectors.Memory
	events    []row
}

func newWatch(t *testing.T, cfg mlflow.Config) *watch {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "test"
	}
	cfg.Instance = "prod"
	w := &watch{t: t}
	var err error
	w.collector, err = mlflow.New(cfg)
	require.NoError(t, err)
	w.out = &collectors.Memory{Source: "aiwatch_mlflow://test", Deliver: func(envelope []byte) error {
		var e struct {
			Time       float64 `json:"time"`
			Sourcetype string  `json:"sourcetype"`
			Event      row     `json:"event"`
		}
		if err := json.Unmarshal(envelope, &e); err != nil {
			return err
		}
		e.Event["_time"] = e.Time
		w.events = append(w.events, e.Event)
		return nil
	}}
	return w
}

// poll polls and returns what was told since the last time.
func (w *watch) poll() []row {
	w.t.Helper()
	w.events = nil
	require.NoError(w.t, w.collector.Poll(w.t.Context(), w.out))
	return w.events
}

// automatic tells of the MANAGE that a server gives to and takes from whoever
// made something.
func automatic(r row) bool {
	return strings.HasPrefix(r.s("operation"), "permission.") && r.s("user") == "admin"
}

func whats(rows []row) []string {
	list := []string{}
	for _, r := range rows {
		if o := r.s("operation"); o != "artifact.read" && o != "artifact.uploaded" && !automatic(r) {
			list = append(list, r.what())
		}
	}
	slices.Sort(list)
	return list
}

// A rest is a user's way to a server.
type rest struct {
	t              *testing.T
	url            string
	user, password string
	workspace      string
}

func (c rest) as(user, password string) rest { c.user, c.password = user, password; return c }

// try makes a call as MLflow's client sends it; body may be nil.
func (c rest) try(method, path string, body any) (int, map[string]any) {
	c.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		require.NoError(c.t, err)
		reader = bytes.NewReader(encoded)
	}
	if !strings.HasPrefix(path, "/") {
		path = "/api/2.0/mlflow/" + path
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, reader)
	require.NoError(c.t, err)
	if _, raw := body.(string); body != nil && !raw {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	if c.workspace != "" {
		req.Header.Set("X-MLFLOW-WORKSPACE", c.workspace)
	}
	answer, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(c.t, err)
	var object map[string]any
	_ = json.Unmarshal(text, &object)
	if object == nil {
		object = map[string]any{"text": string(text)}
	}
	return answer.StatusCode, object
}

func (c rest) call(method, path string, body any) map[string]any {
	c.t.Helper()
	status, answer := c.try(method, path, body)
	require.Equal(c.t, 200, status, "%s %s: %v", method, path, answer)
	return answer
}

func (c rest) post(path string, body map[string]any) map[string]any {
	c.t.Helper()
	return c.call("POST", path, body)
}

type object = map[string]any

func dig(v any, keys ...string) string {
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return fmt.Sprint(v)
}

var realServers = []struct {
	name  string
	major int
	start func(testing.TB, counterpart.MLflowOptions) *counterpart.MLflowServer
}{{"2.22", 2, counterpart.MLflow2}, {"3.17", 3, counterpart.MLflow3}}

// TestOperations performs each act on both real servers and finds it once, with
// what was before and after. An act of which nothing is told is "not visible",
// and the test goes red when it becomes visible. Users cost such a server half a
// second a request: TestPeople has them.
func TestOperations(t *testing.T) {
	t.Parallel()
	for _, real := range realServers {
		t.Run(real.name, func(t *testing.T) {
			t.Parallel()
			s := real.start(t, counterpart.MLflowOptions{ServeArtifacts: true})
			runBumps(t, real.major, rest{t: t, url: s.URL})
			runOperations(t, real.major, s.URL, "", "", "", time.Now)
		})
	}
}

// runBumps shows which changes bump which timestamps, which the fast lane and
// the dates of events stand on.
func runBumps(t *testing.T, major int, c rest) {
	t.Helper()
	c.post("registered-models/create", object{"name": "bump"})
	for range 2 {
		c.post("model-versions/create", object{"name": "bump", "source": "s3://x/y"})
	}
	name := "bump"
	dates := func() [2]string {
		m := c.call("GET", "registered-models/get?name="+name, nil)
		v := c.call("GET", "model-versions/get?name="+name+"&version=1", nil)
		return [2]string{dig(m, "registered_model", "last_updated_timestamp"), dig(v, "model_version", "last_updated_timestamp")}
	}
	for _, change := range []struct {
		what           string
		model, version bool
		do             func()
	}{
		{"alias set", false, false, func() { c.post("registered-models/alias", object{"name": name, "alias": "a", "version": "1"}) }},
		{"alias moved", false, false, func() { c.post("registered-models/alias", object{"name": name, "alias": "a", "version": "2"}) }},
		{"alias deleted", false, false, func() {
			c.call("DELETE", "registered-models/alias?name="+name+"&alias=a", object{"name": name, "alias": "a"})
		}},
		{"model tag", false, false, func() { c.post("registered-models/set-tag", object{"name": name, "key": "k", "value": "v"}) }},
		{"version tag", false, false, func() {
			c.post("model-versions/set-tag", object{"name": name, "version": "1", "key": "k", "value": "v"})
		}},
		{"model description", true, false, func() { c.call("PATCH", "registered-models/update", object{"name": name, "description": "d"}) }},
		{"version description", false, true, func() {
			c.call("PATCH", "model-versions/update", object{"name": name, "version": "1", "description": "d"})
		}},
		{"stage", true, true, func() {
			c.post("model-versions/transition-stage", object{"name": name, "version": "1", "stage": "Staging", "archive_existing_versions": false})
		}},
		{"create version", true, false, func() { c.post("model-versions/create", object{"name": name, "source": "s3://x/y"}) }},
		{"delete version", true, false, func() { c.call("DELETE", "model-versions/delete", object{"name": name, "version": "2"}) }},
		{"rename", true, true, func() {
			c.post("registered-models/rename", object{"name": name, "new_name": "bumped"})
			name = "bumped"
		}},
	} {
		before := dates()
		change.do()
		after := dates()
		require.Equal(t, change.model, before[0] != after[0], "%s bumps the model", change.what)
		require.Equal(t, change.version, before[1] != after[1], "%s bumps the version", change.what)
	}
	c.call("DELETE", "registered-models/delete", object{"name": name})
}

// TestPeople: an insider at work under her own name on both real servers.
func TestPeople(t *testing.T) {
	t.Parallel()
	for _, real := range realServers {
		t.Run(real.name, func(t *testing.T) {
			t.Parallel()
			s := real.start(t, counterpart.MLflowOptions{BasicAuth: true, ServeArtifacts: true, Gunicorn: true})
			runInsider(t, real.major, rest{t: t, url: s.URL, user: s.Username, password: s.Password}, s.AccessLog, time.Now)
		})
	}
}

// TestPeopleOnStandIn is the same play on the stand-in.
func TestPeopleOnStandIn(t *testing.T) {
	for _, version := range []string{"2.22.5", "3.17.2"} {
		t.Run(version, func(t *testing.T) {
			s := newStandIn(t, mlflowsim.Options{Version: version, BasicAuth: true})
			runInsider(t, int(version[0]-'0'), s.rest(t), s.log, func() time.Time { s.clock.skip(2 * time.Second); return s.clock.now() })
		})
	}
}

// runInsider: eve swaps an alias, edits a metric after the end, overwrites an
// artifact through the proxy, deletes and re-creates a model of hers, and is
// given MANAGE.
func runInsider(t *testing.T, major int, admin rest, log string, now func() time.Time) {
	t.Helper()
	const secret = "eves-long-password"
	admin.post("users/create", object{"username": "eve", "password": secret})
	eve := admin.as("eve", secret)
	exp := dig(eve.post("experiments/create", object{"name": "churn"}), "experiment_id")
	run := dig(eve.post("runs/create", object{"experiment_id": exp, "user_id": "alice", "start_time": now().UnixMilli()}), "run", "info", "run_id")
	eve.post("runs/log-metric", object{"run_id": run, "key": "auc", "value": 0.7, "timestamp": now().UnixMilli()})
	file := "/api/2.0/mlflow-artifacts/artifacts/" + exp + "/" + run + "/artifacts/model/model.pkl"
	eve.call("PUT", file, "\x80\x04N.")
	eve.post("runs/update", object{"run_id": run, "status": "FINISHED", "end_time": now().UnixMilli()})
	for _, name := range []string{"fraud", "hers"} {
		eve.post("registered-models/create", object{"name": name})
		for range 2 {
			eve.post("model-versions/create", object{"name": name, "source": "mlflow-artifacts:/" + exp + "/" + run + "/artifacts/model", "run_id": run})
		}
	}
	eve.post("registered-models/alias", object{"name": "fraud", "alias": "champion", "version": "1"})
	w := newWatch(t, mlflow.Config{
		URL: admin.url, Username: admin.user, Password: admin.password, Interval: time.Nanosecond, FastInterval: time.Nanosecond,
		AccessLog: log, Trusted: true, Now: now,
	})
	w.poll()

	eve.post("registered-models/alias", object{"name": "fraud", "alias": "champion", "version": "2"})
	eve.post("runs/log-metric", object{"run_id": run, "key": "auc", "value": 0.99, "timestamp": now().UnixMilli(), "step": 1})
	eve.call("PUT", file, "\x80\x04cos\nsystem\n.")
	eve.call("DELETE", "registered-models/delete", object{"name": "hers"})
	eve.post("registered-models/create", object{"name": "hers"})
	found := map[string]row{}
	for _, r := range w.poll() {
		if o := r.s("operation"); o != "artifact.read" && r.s("asset_type") != "permission" {
			require.NotContains(t, found, r.what(), "told twice")
			found[r.what()] = r
		}
	}
	for _, what := range []string{
		`alias.set fraud 2 alias.champion: "1" -> "2"`, "run.edited_after_end " + run + ` metrics.auc: "0.7" -> "0.99"`,
		"artifact.uploaded model/model.pkl", "model.deleted hers", "model.created hers",
	} {
		require.Contains(t, found, what)
		require.Equal(t, "eve", found[what].s("user"), what)
		require.Equal(t, "authenticated", found[what].s("user_confidence"), what)
	}
	modified := 0
	for what, r := range found {
		if strings.HasPrefix(what, "artifact.modified model/model.pkl digest") {
			require.Contains(t, r.list("imports_added"), "os.system")
			modified++
		}
	}
	require.Equal(t, 1, modified)
	require.Len(t, found, 8, "and the two versions that went with the model")

	if major >= 3 {
		eve.post("/api/3.0/mlflow/users/permissions/revoke", object{"username": "eve", "resource_type": "registered_model", "resource_id": "fraud"})
		w.poll()
		admin.post("/api/3.0/mlflow/users/permissions/grant", object{"username": "eve", "resource_type": "registered_model", "resource_id": "fraud", "permission": "MANAGE"})
	} else {
		admin.call("DELETE", "registered-models/permissions/delete", object{"name": "fraud", "username": "eve"})
		w.poll()
		admin.post("registered-models/permissions/create", object{"name": "fraud", "username": "eve", "permission": "MANAGE"})
	}
	rows := w.poll()
	require.Equal(t, []string{`permission.granted fraud permission: "" -> "MANAGE"`}, whats(rows))
	for _, r := range rows {
		if r.s("operation") == "permission.granted" {
			require.Equal(t, "eve", r.s("user"))
			require.Equal(t, "admin", r.s("src_user"))
		}
	}
}

// runOperations is the table of operations, for real servers and the stand-in.
func runOperations(t *testing.T, major int, url, username, password, accessLog string, now func() time.Time) {
	t.Helper()
	admin := rest{t: t, url: url, user: username, password: password}
	password2 := "eves-long-password"
	if username != "" {
		admin.post("users/create", object{"username": "eve", "password": password2})
	}
	admin.post("registered-models/create", object{"name": "fraud", "description": "finds fraud"})
	exp := dig(admin.post("experiments/create", object{"name": "churn"}), "experiment_id")
	newRun := func(user string) string {
		return dig(admin.post("runs/create", object{"experiment_id": exp, "user_id": user, "start_time": now().UnixMilli(), "tags": []object{
			{"key": "mlflow.source.git.commit", "value": "0123456789012345678901234567890123456789"},
			{"key": "mlflow.source.git.branch", "value": "main"},
			{"key": "mlflow.source.git.repoURL", "value": "git@github.com:acme/churn.git"},
		}}), "run", "info", "run_id")
	}
	end := func(id string) {
		admin.post("runs/update", object{"run_id": id, "status": "FINISHED", "end_time": now().UnixMilli()})
	}
	run1 := newRun("alice")
	admin.post("runs/log-inputs", object{"run_id": run1, "datasets": []object{{
		"tags":    []object{{"key": "mlflow.data.context", "value": "training"}},
		"dataset": object{"name": "customers", "digest": "d1", "source_type": "s3", "source": `{"uri":"s3://lake/customers"}`},
	}}})
	admin.post("runs/log-metric", object{"run_id": run1, "key": "auc", "value": 0.7, "timestamp": now().UnixMilli()})
	admin.call("PUT", "/api/2.0/mlflow-artifacts/artifacts/"+exp+"/"+run1+"/artifacts/model/model.pkl", "weights one")
	end(run1)
	source := func(run string) string { return "mlflow-artifacts:/" + exp + "/" + run + "/artifacts/model" }
	admin.post("model-versions/create", object{"name": "fraud", "source": source(run1), "run_id": run1})

	w := newWatch(t, mlflow.Config{
		URL: url, Username: username, Password: password, Interval: time.Nanosecond, FastInterval: time.Nanosecond,
		AccessLog: accessLog, Trusted: true, Now: now,
	})
	first := w.poll()
	for _, r := range first {
		require.Equal(t, "inventory", r.s("operation"), r.what())
		require.Empty(t, r.s("user"), r.what())
	}
	require.Contains(t, whats(first), "inventory fraud")
	require.Contains(t, whats(first), "inventory fraud 1")
	require.Contains(t, whats(first), "inventory "+run1)
	require.Empty(t, whats(w.poll()), "nothing changed")

	var run2, run3, logged, exp2 string
	tests := []struct {
		name  string
		only  int // major version of the server; 0: both
		do    func()
		want  []string // not visible where empty
		actor string
		check func(rows []row)
	}{
		{"model created", 0, func() { admin.post("registered-models/create", object{"name": "extra"}) }, []string{"model.created extra"}, "admin", func(rows []row) {
			require.Equal(t, "exact", rows[0].s("time_basis"))
		}},
		{"model description", 0, func() {
			admin.call("PATCH", "registered-models/update", object{"name": "extra", "description": "new"})
		}, []string{`model.description_changed extra description: "" -> "new"`}, "admin", nil},
		{"model tag set", 0, func() { admin.post("registered-models/set-tag", object{"name": "extra", "key": "k", "value": "v"}) }, []string{`model.tag_set extra tags.k: "" -> "v"`}, "admin", nil},
		{"model tag changed", 0, func() { admin.post("registered-models/set-tag", object{"name": "extra", "key": "k", "value": "w"}) }, []string{`model.tag_set extra tags.k: "v" -> "w"`}, "admin", nil},
		{"model tag deleted", 0, func() {
			admin.call("DELETE", "registered-models/delete-tag", object{"name": "extra", "key": "k"})
		}, []string{`model.tag_deleted extra tags.k: "w" -> ""`}, "admin", nil},
		{"run created and ended", 0, func() {
			run2 = newRun("alice")
			admin.post("runs/log-metric", object{"run_id": run2, "key": "auc", "value": 0.8, "timestamp": now().UnixMilli()})
			admin.post("runs/log-inputs", object{"run_id": run2, "datasets": []object{{"dataset": object{"name": "customers", "digest": "d2", "source_type": "s3", "source": "x"}}}})
			end(run2)
		}, []string{"@run2 run.created", "@run2 run.ended", `dataset.digest_changed customers d2 digest: "d1" -> "d2"`, "dataset.logged customers d2"}, "", nil},
		{"version created", 0, func() {
			admin.post("model-versions/create", object{"name": "fraud", "source": source(run2), "run_id": run2})
		}, []string{"version.created fraud 2"}, "admin", func(rows []row) {
			r := rows[0]
			require.Equal(t, "exact", r.s("time_basis"))
			require.Equal(t, "0123456789012345678901234567890123456789", r.s("git_commit"))
			require.Equal(t, "git:github.com/acme/churn", r.s("git_repo"))
			require.Equal(t, "refs/heads/main", r.s("git_ref"))
			require.Equal(t, "customers", r.s("dataset_name"))
			require.Equal(t, "d2", r.s("dataset_digest"))
			require.Equal(t, "alice", r.s("trained_by"))
			if username != "" {
				require.Equal(t, "authenticated", r.s("user_confidence"))
			}
			require.Equal(t, false, r["source_outside"])
		}},
		{"version from elsewhere", 0, func() {
			admin.post("model-versions/create", object{"name": "fraud", "source": "s3://evil/model", "run_id": run2})
		}, []string{"version.created fraud 3"}, "admin", func(rows []row) {
			require.Equal(t, true, rows[0]["source_outside"])
		}},
		{"alias set", 0, func() {
			admin.post("registered-models/alias", object{"name": "fraud", "alias": "champion", "version": "1"})
		}, []string{`alias.set fraud 1 alias.champion: "" -> "1"`}, "admin", nil},
		{"alias swapped", 0, func() {
			admin.post("registered-models/alias", object{"name": "fraud", "alias": "champion", "version": "3"})
		}, []string{`alias.set fraud 3 alias.champion: "1" -> "3"`}, "admin", func(rows []row) {
			require.Equal(t, username, rows[0].s("registered_by"))
			require.Equal(t, "alice", rows[0].s("trained_by"))
			require.NotNil(t, rows[0]["not_before"])
		}},
		{"stage", 0, func() {
			admin.post("model-versions/transition-stage", object{"name": "fraud", "version": "2", "stage": "Production", "archive_existing_versions": false})
		}, []string{`version.stage_changed fraud 2 stage: "" -> "Production"`}, "admin", func(rows []row) {
			require.Equal(t, "exact", rows[0].s("time_basis"))
		}},
		{"version description", 0, func() {
			admin.call("PATCH", "model-versions/update", object{"name": "fraud", "version": "2", "description": "d"})
		}, []string{`version.description_changed fraud 2 description: "" -> "d"`}, "admin", nil},
		{"version tag set", 0, func() {
			admin.post("model-versions/set-tag", object{"name": "fraud", "version": "2", "key": "approved", "value": "yes"})
		}, []string{`version.tag_set fraud 2 tags.approved: "" -> "yes"`}, "admin", nil},
		{"version tag deleted", 0, func() {
			admin.call("DELETE", "model-versions/delete-tag", object{"name": "fraud", "version": "2", "key": "approved"})
		}, []string{`version.tag_deleted fraud 2 tags.approved: "yes" -> ""`}, "admin", nil},
		{"version deleted with its alias", 0, func() {
			admin.call("DELETE", "model-versions/delete", object{"name": "fraud", "version": "3"})
		}, []string{`alias.deleted fraud 3 alias.champion: "3" -> ""`, "version.deleted fraud 3"}, "", nil},
		{"nothing more of that", 0, func() {}, nil, "", nil},
		{"alias deleted", 0, func() {
			admin.post("registered-models/alias", object{"name": "fraud", "alias": "next", "version": "2"})
			w.poll()
			admin.call("DELETE", "registered-models/alias?name=fraud&alias=next", object{"name": "fraud", "alias": "next"})
		}, []string{`alias.deleted fraud 2 alias.next: "2" -> ""`}, "admin", nil},
		{"model renamed", 0, func() { admin.post("registered-models/rename", object{"name": "fraud", "new_name": "swindle"}) }, []string{`model.renamed swindle name: "fraud" -> "swindle"`}, "admin", nil},
		{"model deleted", 0, func() { admin.call("DELETE", "registered-models/delete", object{"name": "extra"}) }, []string{"model.deleted extra"}, "admin", nil},
		{"model deleted and created again", 0, func() {
			admin.call("DELETE", "registered-models/delete", object{"name": "swindle"})
			admin.post("registered-models/create", object{"name": "swindle"})
			admin.post("model-versions/create", object{"name": "swindle", "source": source(run1), "run_id": run1})
		}, []string{"model.created swindle", "model.deleted swindle", "version.created swindle 1", "version.deleted swindle 1", "version.deleted swindle 2"}, "", nil},
		{"prompt created", 0, func() {
			admin.post("registered-models/create", object{"name": "greet", "tags": []object{{"key": "mlflow.prompt.is_prompt", "value": "true"}}})
			admin.post("model-versions/create", object{"name": "greet", "source": "prompt-template", "tags": []object{{"key": "mlflow.prompt.is_prompt", "value": "true"}, {"key": "mlflow.prompt.text", "value": "Hello"}}})
		}, []string{"model.created greet", "version.created greet 1"}, "", func(rows []row) {
			require.Equal(t, "prompt", rows[0].s("asset_type"))
			require.Equal(t, "mlflow:prod/prompts/greet/1", rows[1].s("asset_id"))
		}},
		{"experiment created", 0, func() { exp2 = dig(admin.post("experiments/create", object{"name": "second"}), "experiment_id") }, []string{"experiment.created second"}, "admin", nil},
		{"experiment renamed", 0, func() { admin.post("experiments/update", object{"experiment_id": exp2, "new_name": "2nd"}) }, []string{`experiment.renamed 2nd name: "second" -> "2nd"`}, "admin", nil},
		{"experiment tag", 0, func() {
			admin.post("experiments/set-experiment-tag", object{"experiment_id": exp2, "key": "a", "value": "b"})
		}, []string{`experiment.tag_set 2nd tags.a: "" -> "b"`}, "admin", nil},
		{"experiment deleted", 0, func() { admin.post("experiments/delete", object{"experiment_id": exp2}) }, []string{"experiment.deleted 2nd"}, "admin", nil},
		{"experiment restored", 0, func() { admin.post("experiments/restore", object{"experiment_id": exp2}) }, []string{`experiment.restored 2nd status: "deleted" -> "active"`}, "admin", nil},
		{"metric edited after the end", 0, func() {
			admin.post("runs/log-metric", object{"run_id": run1, "key": "auc", "value": 0.99, "timestamp": now().UnixMilli(), "step": 1})
		}, []string{`@run1 run.edited_after_end metrics.auc: "0.7" -> "0.99"`}, "admin", nil},
		{"tag edited after the end", 0, func() {
			admin.post("runs/set-tag", object{"run_id": run1, "key": "mlflow.user", "value": "bob"})
		}, []string{`@run1 run.edited_after_end tags.mlflow.user: "" -> "bob"`}, "", nil},
		{"param added after the end", 0, func() { admin.post("runs/log-parameter", object{"run_id": run1, "key": "lr", "value": "0.1"}) }, []string{`@run1 run.edited_after_end params.lr: "" -> "0.1"`}, "admin", nil},
		{"run reopened", 0, func() { admin.post("runs/update", object{"run_id": run1, "status": "RUNNING"}) }, []string{`@run1 run.edited_after_end status: "FINISHED" -> "RUNNING"`}, "admin", nil},
		{"metric with an older step", 0, func() {
			admin.post("runs/log-metric", object{"run_id": run1, "key": "auc", "value": 0.1, "timestamp": now().UnixMilli(), "step": 0})
		}, nil, "", nil},
		{"run deleted", 0, func() { admin.post("runs/delete", object{"run_id": run1}) }, []string{"@run1 run.deleted"}, "admin", nil},
		{"run restored", 0, func() { admin.post("runs/restore", object{"run_id": run1}) }, []string{`@run1 run.restored status: "deleted" -> "active"`}, "admin", nil},
		{"logged model created", 3, func() {
			run3 = newRun("bob")
			w.poll()
			logged = dig(admin.post("logged-models", object{"experiment_id": exp, "name": "net", "source_run_id": run3}), "model", "info", "model_id")
		}, []string{"@logged logged_model.created"}, "", nil},
		{"logged model tag", 3, func() {
			admin.call("PATCH", "logged-models/"+logged+"/tags", object{"tags": []object{{"key": "a", "value": "b"}}})
		}, []string{`@logged logged_model.tag_set tags.a: "" -> "b"`}, "admin", nil},
		{"logged model finalized", 3, func() {
			admin.call("PATCH", "logged-models/"+logged, object{"model_id": logged, "status": "LOGGED_MODEL_READY"})
		}, []string{`@logged logged_model.finalized status: "PENDING" -> "READY"`}, "admin", nil},
		{"logged model tag deleted", 3, func() { admin.call("DELETE", "logged-models/"+logged+"/tags/a", nil) }, []string{`@logged logged_model.tag_deleted tags.a: "b" -> ""`}, "admin", nil},
		{"logged model deleted", 3, func() { admin.call("DELETE", "logged-models/"+logged, nil) }, []string{"@logged logged_model.deleted"}, "admin", nil},
		{"account created", 3, func() { admin.post("users/create", object{"username": "mallory", "password": "a-long-password"}) }, []string{"account.created mallory"}, "", nil},
		{"account admin", 3, func() {
			admin.call("PATCH", "users/update-admin", object{"username": "mallory", "is_admin": true})
		}, []string{`account.admin_changed mallory permission: "user" -> "admin"`}, "", func(rows []row) {
			require.Equal(t, "admin", rows[0].s("src_user"))
			require.Equal(t, "mallory", rows[0].s("user"))
		}},
		{"account deleted", 3, func() { admin.call("DELETE", "users/delete", object{"username": "mallory"}) }, []string{"account.deleted mallory"}, "", nil},
		{"permission granted", 3, func() {
			admin.post("/api/3.0/mlflow/users/permissions/grant", object{"username": "eve", "resource_type": "registered_model", "resource_id": "swindle", "permission": "MANAGE"})
		}, []string{`permission.granted swindle permission: "" -> "MANAGE"`}, "", func(rows []row) {
			require.Equal(t, "admin", rows[0].s("src_user"))
			require.Equal(t, "eve", rows[0].s("user"))
		}},
		{"permission revoked", 3, func() {
			admin.post("/api/3.0/mlflow/users/permissions/revoke", object{"username": "eve", "resource_type": "registered_model", "resource_id": "swindle"})
		}, []string{`permission.revoked swindle permission: "MANAGE" -> ""`}, "", nil},
		{"permission granted 2.x", 2, func() {
			// A 2.x server lists no users: hers is found because she calls.
			admin.as("eve", password2).try("POST", "runs/create", object{"experiment_id": exp, "user_id": "eve", "start_time": now().UnixMilli() - 3_600_000})
			w.poll()
			admin.post("registered-models/permissions/create", object{"name": "swindle", "username": "eve", "permission": "EDIT"})
		}, []string{`permission.granted swindle permission: "" -> "EDIT"`}, "", func(rows []row) {
			require.Equal(t, "admin", rows[0].s("src_user"))
			require.Equal(t, "eve", rows[0].s("user"))
		}},
		{"permission changed 2.x", 2, func() {
			admin.call("PATCH", "registered-models/permissions/update", object{"name": "swindle", "username": "eve", "permission": "MANAGE"})
		}, []string{`permission.changed swindle permission: "EDIT" -> "MANAGE"`}, "", nil},
		{"permission revoked 2.x", 2, func() {
			admin.call("DELETE", "registered-models/permissions/delete", object{"name": "swindle", "username": "eve"})
		}, []string{`permission.revoked swindle permission: "MANAGE" -> ""`}, "", nil},
	}
	for _, test := range tests {
		people := strings.HasPrefix(test.name, "account") || strings.HasPrefix(test.name, "permission")
		if test.only != 0 && test.only != major || people && username == "" {
			continue
		}
		test.do()
		rows := slices.DeleteFunc(w.poll(), automatic)
		var want []string
		for _, what := range test.want {
			for mark, id := range map[string]string{"@run1": run1, "@run2": run2, "@logged": logged} {
				if rest, ok := strings.CutPrefix(what, mark+" "); ok {
					operation, field, _ := strings.Cut(rest, " ")
					what = strings.TrimSpace(operation + " " + id + " " + field)
				}
			}
			want = append(want, what)
		}
		slices.Sort(want)
		require.Equal(t, append([]string{}, want...), whats(rows), test.name)
		if test.actor != "" && username != "" {
			require.Equal(t, test.actor, rows[0].s("user"), test.name)
		}
		if test.check != nil {
			slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.what(), b.what()) })
			test.check(rows)
		}
	}
}
