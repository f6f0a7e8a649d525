package mlflow

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/collectors/logfile"
	"aiwatch/internal/event"
)

func TestVerbOf(t *testing.T) {
	for target, want := range map[string][]string{
		"/api/2.0/mlflow/registered-models/alias":           {"POST registered-models/alias", ""},
		"/api/2.0/mlflow/registered%2Dmodels/%61lias?x=1":   {"POST registered-models/alias", ""},
		"/ajax-api/2.0/mlflow/logged-models/m-1/tags/a?x=1": {"POST logged-models", "m-1"},
		"/api/2.0/mlflow-artifacts/artifacts/3/a b/MLmodel": {"", ""},
		"/api/2.0/mlflow/logged-models":                     {"POST logged-models", ""},
		"/api/2.0/mlflow/logged-models/search":              {"POST logged-models/search", ""},
		"/get-artifact?path=a&run_uuid=b":                   {"", ""},
		"/static/mlflow/x":                                  {"", ""},
	} {
		verb, object, ok := verbOf(&logfile.Request{Method: "POST", Target: target})
		require.Equal(t, want, []string{verb, object}, target)
		require.Equal(t, want[0] != "", ok, target)
	}
}

func TestArtifactOf(t *testing.T) {
	for call, want := range map[string]artifactCall{
		"PUT /api/2.0/mlflow-artifacts/artifacts/3/r/artifacts/a%20b":                           {operation: "artifact.uploaded", key: "3/r/artifacts/a b"},
		"DELETE /api/2.0/mlflow%2Dartifacts/artifacts/3/r/artifacts/%3Fa?x":                     {operation: "artifact.removed", key: "3/r/artifacts/?a"},
		"GET /get-artifact?path=a%2Fb&run_uuid=r":                                               {operation: "artifact.read", runID: "r", path: "a/b"},
		"GET /model-versions/get-artifact?path=a&name=m&version=2":                              {operation: "artifact.read", model: "m", number: "2", path: "a"},
		"GET /ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files?artifact_file_path=a&x=%zz": {operation: "artifact.read", modelID: "m-1", path: "a"},
		"GET /api/2.0/mlflow-artifacts/artifacts/":                                              {},
		"POST /get-artifact?path=a&run_uuid=r":                                                  {},
		"PUT /get-artifact?path=a&run_uuid=r":                                                   {},
	} {
		method, target, _ := strings.Cut(call, " ")
		got, ok := artifactOf(&logfile.Request{Method: method, Target: target})
		require.Equal(t, want.operation != "", ok, call)
		if ok {
			require.Equal(t, want, got, call)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("GET", "/api/2.0/mlflow/x")
	f.Add("PUT", "/api/2.0/mlflow-artifacts/artifacts/3/%0a")
	f.Add("GET", "/logged-models/a?artifact_file_path=%zz")
	f.Fuzz(func(t *testing.T, method, target string) {
		r := &logfile.Request{Method: method, Target: target}
		if verb, _, ok := verbOf(r); ok {
			require.True(t, strings.HasPrefix(verb, method+" "))
		}
		if a, ok := artifactOf(r); ok {
			require.NotEmpty(t, a.key+a.path)
		}
	})
}

func TestGitRepo(t *testing.T) {
	for in, want := range map[string]string{
		"git@github.com:acme/churn.git":               "git:github.com/acme/churn",
		"https://user:pw@GitHub.com:8443/acme/churn/": "git:github.com/acme/churn",
		"ssh://git@git.acme.io:2222/ml/churn.git":     "git:git.acme.io/ml/churn",
		"/srv/repos/churn":                            "",
		"file:///srv/repos/churn":                     "",
		"":                                            "",
	} {
		require.Equal(t, want, gitRepo(in), in)
	}
}

func TestUnder(t *testing.T) {
	root := "mlflow-artifacts:/3/" + "abc" + "/artifacts"
	for uri, want := range map[string]bool{
		root:              true,
		root + "/model":   true,
		root + "//model/": true,
		"mlflow-artifacts:///3/abc/artifacts/model": true,
		root + "x":                                false,
		root + "/../../other":                     false,
		root + "/%2e%2e/other":                    false,
		root + "/%252e%252e/other":                false,
		"mlflow-artifacts://host/3/abc/artifacts": false,
		"s3://3/abc/artifacts":                    false,
		"":                                        false,
	} {
		require.Equal(t, want, under(uri, root), uri)
	}
}

func TestShortNoticesWhatLiesBehindTheCut(t *testing.T) {
	long := string(make([]byte, 5000))
	a, b := short(long+"a"), short(long+"b")
	require.NotEqual(t, a, b)
	require.LessOrEqual(t, len(a), 2000)
	require.True(t, isShort(a))
	ev := event.Event{}
	values(&ev, "x", a)
	require.Equal(t, []string{"new_value"}, ev.Truncated)
}
