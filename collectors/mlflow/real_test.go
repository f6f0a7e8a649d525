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
	"aiwatch/internal/addontest"
	"aiwatch/internal/counterpart"
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
	events    []row // of the last poll
	all       []row
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
	splunk := addontest.Hold(t)
	w.out = &collectors.Memory{Source: "aiwatch_mlflow://test", Deliver: func(envelope []byte) error {
		splunk(envelope)
		var e struct {
			Time       float64 `json:"time"`
			Sourcetype string  `json:"sourcetype"`
			Event      row     `json:"event"`
		}
		if err := json.Unmarshal(envelope, &e); err != nil {
			return err
		}
		e.Event["_time"] = e.Time
		w.events, w.all = append(w.events, e.Event), append(w.all, e.Event)
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

// ofAct tells of an act on an artifact that an access log shows.
func ofAct(r row) bool {
	o := r.s("operation")
	return o == "artifact.read" || o == "artifact.uploaded" || o == "artifact.removed"
}

func whats(rows []row) []string {
	list := []string{}
	for _, r := range rows {
		if !ofAct(r) && !automatic(r) {
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

// TestOperations performs each act on both real servers, by MLflow's own client,
// and finds it once, with what was before and after. An act of which nothing is
// told is "not visible", and the test goes red when it becomes visible. Users
// cost such a server half a second a request: TestPeople has them.
func TestOperations(t *testing.T) {
	t.Parallel()
	for _, real := range realServers {
		t.Run(real.name, func(t *testing.T) {
			t.Parallel()
			s := real.start(t, counterpart.MLflowOptions{ServeArtifacts: true, Gunicorn: true})
			runBumps(t, real.major, rest{t: t, url: s.URL})
			runOperations(t, table{
				major: real.major, admin: newPythonHands(t, s), database: s.Database, now: time.Now,
				cfg: mlflow.Config{URL: s.URL, AccessLog: s.AccessLog},
			})
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
