package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
	"aiwatch/internal/detection"
	"aiwatch/internal/mlflowsim"
)

// only is the app with the searches of these detections and no others.
func only(t *testing.T, titles ...string) fs.FS {
	t.Helper()
	app, err := detection.FS()
	require.NoError(t, err)
	text, err := fs.ReadFile(app, "default/savedsearches.conf")
	require.NoError(t, err)
	var kept []string
	for stanza := range strings.SplitSeq(string(text), "\n[") {
		name, _, _ := strings.Cut(stanza, "]")
		if title, ok := strings.CutPrefix(name, "AI Asset - "); ok && slices.Contains(titles, strings.TrimSuffix(title, " - Rule")) {
			kept = append(kept, "["+stanza)
		}
	}
	require.Len(t, kept, len(titles))
	return searching{app, strings.Join(kept, "\n")}
}

// ask makes a call on a server, past the demo.
func ask(t *testing.T, server, method, path string, body any) map[string]any {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	r, err := http.NewRequestWithContext(t.Context(), method, server+api+path, bytes.NewReader(text))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err = io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, "%s %s: %s", method, path, text)
	var told map[string]any
	require.NoError(t, json.Unmarshal(text, &told))
	return told
}

// foreign makes what somebody else has on a server.
func foreign(t *testing.T, server string) {
	t.Helper()
	experiment := ask(t, server, "POST", "experiments/create", map[string]any{"name": "payroll"})["experiment_id"]
	info := ask(t, server, "POST", "runs/create", map[string]any{"experiment_id": experiment, "start_time": time.Now().UnixMilli()})["run"].(map[string]any)["info"]
	id := info.(map[string]any)["run_id"]
	ask(t, server, "POST", "registered-models/create", map[string]any{"name": "payroll"})
	ask(t, server, "POST", "model-versions/create", map[string]any{"name": "payroll", "source": "s3://payroll/model", "run_id": id})
	ask(t, server, "POST", "registered-models/alias", map[string]any{"name": "payroll", "alias": "champion", "version": "1"})
}

// all is what a server has, but for experiments of the demo that are marked as
// deleted.
func all(t *testing.T, server string) string {
	t.Helper()
	kept := map[string]any{
		"models":   ask(t, server, "GET", "registered-models/search", nil),
		"versions": ask(t, server, "GET", "model-versions/search", nil),
	}
	var ids []any
	var experiments []any
	for _, e := range ask(t, server, "POST", "experiments/search", map[string]any{"view_type": "ALL", "max_results": 1000})["experiments"].([]any) {
		e := e.(map[string]any)
		if strings.HasPrefix(e["name"].(string), "aiwatch-demo-") && e["lifecycle_stage"] == "deleted" {
			continue
		}
		ids, experiments = append(ids, e["experiment_id"]), append(experiments, e)
	}
	kept["experiments"], kept["runs"] = experiments, ask(t, server, "POST", "runs/search", map[string]any{"experiment_ids": ids, "run_view_type": "ALL"})
	text, err := json.MarshalIndent(kept, "", " ")
	require.NoError(t, err)
	return string(text)
}

// inFront is a proxy before a server, that lets a test look at each request, and
// answer it.
func inFront(t *testing.T, server string, look func(w http.ResponseWriter, r *http.Request) (answered bool)) *httptest.Server {
	t.Helper()
	target, err := url.Parse(server)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !look(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	return front
}

// reached is a server that the demo may be told to.
func reached(t *testing.T, address string) *Server {
	t.Helper()
	s, err := NewServer(address, Account{})
	require.NoError(t, err)
	require.NoError(t, s.Reach(t.Context()))
	return s
}

// on are the options of a demo on a server.
func on(t *testing.T, s *Server, app fs.FS) Options {
	t.Helper()
	return Options{
		Dir: t.TempDir(), App: app, Log: slog.New(slog.DiscardHandler), Server: s,
		Step: func(string) func(string, ...any) { return func(string, ...any) {} },
	}
}

// TestAWeekOnAServer tells MLflow's part to real servers on which somebody else
// has a model. What is expected of that part is found, dated by the server and
// with its actor; what the demo made is gone when it ends, when it fails and when
// it is stopped, and the other's model is neither touched nor seen.
func TestAWeekOnAServer(t *testing.T) {
	if testing.Short() {
		t.Skip("plays a week")
	}
	app := only(t, "Promoted by its own trainer", "Promoted without review", "Promoted from unknown or dirty source", "Promotion outside the change window", "Run edited after it ended")
	for _, c := range []struct {
		version string
		start   func(testing.TB, counterpart.MLflowOptions) *counterpart.MLflowServer
	}{{"2.22.5", counterpart.MLflow2}, {"3.17.2", counterpart.MLflow3}} {
		t.Run(c.version, func(t *testing.T) {
			t.Parallel()
			server := c.start(t, counterpart.MLflowOptions{}).URL
			foreign(t, server)
			before := all(t, server)

			t.Run("stopped", func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				front := inFront(t, server, func(_ http.ResponseWriter, r *http.Request) bool {
					if strings.HasSuffix(r.URL.Path, "/model-versions/create") {
						stop()
					}
					return false
				})
				s := reached(t, front.URL)
				_, err := Run(ctx, on(t, s, app))
				require.ErrorIs(t, err, context.Canceled)
				require.NotZero(t, s.Told().Models)
				require.NotZero(t, s.Told().Runs)
				require.Equal(t, before, all(t, server))
			})
			t.Run("failed", func(t *testing.T) {
				front := inFront(t, server, func(w http.ResponseWriter, r *http.Request) bool {
					fails := strings.HasSuffix(r.URL.Path, "/registered-models/alias")
					if fails {
						http.Error(w, "the database is locked", http.StatusInternalServerError)
					}
					return fails
				})
				s := reached(t, front.URL)
				s.Keep = true // of a demo that failed nothing stays
				_, err := Run(t.Context(), on(t, s, app))
				require.ErrorContains(t, err, "/registered-models/alias is refused by "+front.URL+" with 500: the database is locked")
				require.NotZero(t, s.Told().Models)
				require.Equal(t, before, all(t, server))
			})
			t.Run("told", func(t *testing.T) {
				s := reached(t, server)
				require.Equal(t, c.version, s.Version)
				o := on(t, s, app)
				s.Keep = c.version == "2.22.5" // on one of them it stays, until somebody removes it
				r, err := Run(t.Context(), o)
				require.NoError(t, err)
				if s.Keep {
					kept := ask(t, server, "GET", "registered-models/search?filter="+url.QueryEscape(s.own("")), nil)
					require.Len(t, kept["registered_models"], 2)
					require.NoError(t, s.Remove(t.Context()))
				}
				require.Equal(t, before, all(t, server))

				require.Equal(t, []int{7, 8, 9, 11, 38}, r.Story.Fired)
				require.Equal(t, []string{"robin"}, r.Story.Accused)
				require.Len(t, r.Story.Lines, 5)
				for _, line := range r.Story.Lines {
					require.WithinRange(t, line.At, r.Told.From.Add(-time.Second), r.Told.To.Add(3*time.Second))
					require.Equal(t, []Proof{{Source: "MLflow", Evidence: "diff", Confidence: []string{"authenticated"}, Events: 1}}, line.Proofs, line.Message)
					if line.Detection != 38 {
						require.Contains(t, line.Message, "version 4 of "+s.Names+"fraud")
					}
				}
				events, err := os.ReadFile(filepath.Join(o.Dir, EventsFile))
				require.NoError(t, err)
				require.Contains(t, string(events), `"mlflow:prod/models/`+s.Names+`vision/5"`)
				require.NotContains(t, string(events), "payroll")
				require.Equal(t, 2, r.Told.Models)
				require.Equal(t, 2, r.Told.Experiments)
				marked := ask(t, server, "POST", "experiments/search", map[string]any{"view_type": "DELETED_ONLY", "max_results": 1000, "filter": "name LIKE '" + s.Names + "%'"})
				require.Len(t, marked["experiments"], 2)
			})
		})
	}
}

// standIn is the stand-in as a server.
func standIn(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(mlflowsim.New(mlflowsim.Options{Version: "3.17", ArtifactRoot: "s3://theirs", Now: time.Now}))
	t.Cleanup(server.Close)
	return server
}

// TestAKeptDemoThatFailsLater fails when all was collected, in its searches:
// nothing stays on the server either.
func TestAKeptDemoThatFailsLater(t *testing.T) {
	if testing.Short() {
		t.Skip("plays a week")
	}
	server := standIn(t).URL
	before := all(t, server)
	s := reached(t, server)
	s.Keep = true
	o := on(t, s, fstest.MapFS{"default/savedsearches.conf": {Data: []byte("[Mistyped]\nsearch = | starts count\ncron_schedule = * * * * *\nenableSched = 1\n")}})
	_, err := Run(t.Context(), o)
	require.ErrorContains(t, err, `search "Mistyped"`)
	require.FileExists(t, filepath.Join(o.Dir, EventsFile))
	require.Equal(t, 2, s.Told().Models)
	require.Equal(t, before, all(t, server))
}

// TestWhatCanNotBeTakenBack says what stays on a server that lets nothing be
// deleted.
func TestWhatCanNotBeTakenBack(t *testing.T) {
	server := standIn(t).URL
	ctx, stop := context.WithCancel(t.Context())
	front := inFront(t, server, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/delete") {
			http.Error(w, "no", http.StatusForbidden)
			return true
		}
		if strings.HasSuffix(r.URL.Path, "/runs/create") {
			stop()
		}
		return false
	})
	s := reached(t, front.URL)
	_, err := Run(ctx, on(t, s, only(t, "Promoted by its own trainer")))
	var left *LeftError
	require.ErrorAs(t, err, &left)
	require.ErrorContains(t, left, "what the demo made on "+front.URL+" is still there, delete it by hand: ")
	require.ErrorContains(t, left, "model "+s.Names+"fraud: DELETE registered-models/delete: the server answered 403")
	require.ErrorContains(t, left, "experiment "+s.Names+"fraud: POST experiments/delete: the server answered 403")
}

// TestAServerThatCanNotBeTold refuses servers, and says what to do.
func TestAServerThatCanNotBeTold(t *testing.T) {
	for address, want := range map[string]string{
		"":                       "is no address of a tracking server, such as http://127.0.0.1:5000",
		"mlflow:5000":            "is no address of a tracking server",
		"ftp://mlflow":           "is no address of a tracking server",
		"http://eve:x@mlflow":    "the address holds a user: set MLFLOW_TRACKING_USERNAME",
		"http://mlflow/?a=b":     "is more than the address of a tracking server",
		"http://mlflow/#/models": "is more than the address of a tracking server",
	} {
		_, err := NewServer(address, Account{})
		require.ErrorContains(t, err, want, address)
		require.NotContains(t, err.Error(), ":x@")
	}
	_, err := NewServer("http://mlflow", Account{Username: "eve", Token: "t"})
	require.ErrorContains(t, err, "a user and a token are both set: use one")

	says := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://login.example.test/")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	mayNot := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version" {
			says(200, "3.17.2")(w, r)
			return
		}
		says(403, "no")(w, r)
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"asks for an account":  {says(401, "no"), "the server answered 401: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"},
		"lets nothing be read": {mayNot, "the server answered 403: set MLFLOW_TRACKING_USERNAME"},
		"too old":              {says(200, "2.3.2"), "is MLflow 2.3.2, which is older than 2.4"},
		"much too old":         {says(200, "1.30.1"), "is MLflow 1.30.1, which is older than 2.4"},
		"something else":       {says(200, "<html>welcome</html>"), "is no MLflow tracking server"},
		"sends elsewhere":      {says(302, ""), "sends to https://login.example.test/; name the address that is meant"},
		"broken":               {says(500, "oh"), `GET /version: the server answered 500: "oh"`},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			s, err := NewServer(server.URL, Account{})
			require.NoError(t, err)
			require.ErrorContains(t, s.Reach(t.Context()), c.want)
			require.Zero(t, s.Told())
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		server := httptest.NewServer(nil)
		server.Close()
		s, err := NewServer(server.URL, Account{})
		require.NoError(t, err)
		err = s.Reach(t.Context())
		require.ErrorContains(t, err, "connection refused")
		require.ErrorContains(t, err, "; start the server, or correct the address")
	})
}

// TestLetsThroughItsOwnAlone makes requests through the demo's proxy: only what
// is about the demo's own reaches the server, by the demo's account, and searches
// find nothing else.
func TestLetsThroughItsOwnAlone(t *testing.T) {
	sim := standIn(t).URL
	foreign(t, sim)
	var came []string
	front := inFront(t, sim, func(_ http.ResponseWriter, r *http.Request) bool {
		text, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		r.Body = io.NopCloser(bytes.NewReader(text))
		came = append(came, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		r.Header.Del("Authorization")
		return false
	})
	s, err := NewServer(front.URL, Account{Token: "theirs"})
	require.NoError(t, err)
	require.NoError(t, s.Reach(t.Context()))
	through := func(method, path, body string) (int, string) {
		t.Helper()
		came = nil
		r, err := http.NewRequestWithContext(t.Context(), method, front.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		r.SetBasicAuth("robin", "")
		answer, err := s.RoundTrip(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(text)
	}

	theirs := ask(t, sim, "GET", "model-versions/search", nil)["model_versions"].([]any)[0].(map[string]any)["run_id"].(string)
	for _, refused := range [][3]string{
		{"GET", api + "registered-models/get?name=payroll"},
		{"GET", api + "runs/get?run_id=" + theirs},
		{"GET", api + "runs/get"},
		{"POST", api + "runs/search", `{"experiment_ids": ["0"]}`},
		{"POST", api + "runs/search", `{"experiment_ids": []}`},
		{"POST", api + "runs/create", `{"experiment_id": 0}`},
		{"POST", api + "registered-models/create", `{"name": "payroll2"}`},
		{"POST", api + "registered-models/alias", `{"name": "payroll", "alias": "champion", "version": "2"}`},
		{"POST", api + "model-versions/create", `{"name": "` + s.Names + `x", "run_id": "` + theirs + `"}`},
		{"DELETE", api + "registered-models/delete", `{"name": "payroll"}`},
		{"GET", api + "users/list"},
		{"GET", "/api/3.0/mlflow/server-info"},
		{"GET", "/api/3.0/mlflow/workspaces"},
		{"GET", "/"},
	} {
		status, _ := through(refused[0], refused[1], refused[2])
		require.Equal(t, http.StatusNotFound, status, refused)
		require.Empty(t, came, refused)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://elsewhere.example.test/version", nil)
	require.NoError(t, err)
	_, err = s.RoundTrip(r)
	require.ErrorContains(t, err, "the demo asks "+front.URL+" alone")

	status, _ := through("POST", api+"registered-models/create", `{"name": "`+s.Names+`fraud"}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, []string{"POST " + api + "registered-models/create Bearer theirs"}, came)
	for _, search := range [][3]string{
		{"GET", api + "registered-models/search?max_results=10"},
		{"GET", api + "model-versions/search?filter=" + url.QueryEscape("name LIKE '%'")},
		{"POST", api + "experiments/search", `{"max_results": 10}`},
	} {
		status, text := through(search[0], search[1], search[2])
		require.Equal(t, http.StatusOK, status, text)
		require.NotContains(t, text, "payroll")
		require.Len(t, came, 1)
	}
	_, text := through("GET", api+"registered-models/search", "")
	require.Contains(t, text, s.Names+"fraud")
}
