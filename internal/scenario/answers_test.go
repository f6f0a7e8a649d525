package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"aiwatch/internal/counterpart"
)

// TestTheStandInAnswersAsAServerDoes makes the calls of testdata/calls.ndjson, as
// acts of a scenario, on the stand-in and on a real server of the same version.
// Status and body are the same, but for ids, times and the words of a refusal.
func TestTheStandInAnswersAsAServerDoes(t *testing.T) {
	for _, c := range []struct {
		version string
		start   func(testing.TB, counterpart.MLflowOptions) *counterpart.MLflowServer
	}{{"3.17", counterpart.MLflow3}, {"2.22", counterpart.MLflow2}} {
		t.Run(c.version, func(t *testing.T) {
			t.Parallel()
			server := c.start(t, counterpart.MLflowOptions{})
			s := &Scenario{Name: "calls", Dir: t.TempDir(), MLflow: c.version, ArtifactRoot: "s3://bucket/prefix", uses: uses{repos: map[string]bool{}, saved: map[string]bool{}}}
			now := time.Now()
			w, err := newWorld(s, t.TempDir(), func() time.Time { return now }, nil, false, nil)
			require.NoError(t, err)
			defer w.close()
			real, sim := newPlayer(t, http.DefaultTransport, server.URL), newPlayer(t, w.front, "http://"+mlflowHost)
			calls, err := os.ReadFile(filepath.Join("testdata", "calls.ndjson"))
			require.NoError(t, err)
			for line := range bytes.Lines(calls) {
				var call struct {
					call
					Since int `json:"since"` // the major version that has it
				}
				require.NoError(t, json.Unmarshal(line, &call))
				if call.Since > 2 && c.version == "2.22" {
					continue
				}
				now = now.Add(time.Second)
				want, got := real.do(t, call.call), sim.do(t, call.call)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s %s %s (-server +stand-in):\n%s", call.Method, call.Path, call.Body, diff)
				}
			}
		})
	}
}

// A player makes calls and knows ids of its server by the names under which they
// were saved.
type player struct {
	client http.Client
	url    string
	saved  map[string]string
}

func newPlayer(t *testing.T, transport http.RoundTripper, url string) *player {
	t.Helper()
	return &player{client: http.Client{Transport: transport, Timeout: time.Minute}, url: url, saved: map[string]string{}}
}

// do makes a call and returns what was answered, in words that are the same for
// every server.
func (p *player) do(t *testing.T, c call) string {
	t.Helper()
	path, body := fill(c.Path, p.saved), fill(string(c.Body), p.saved)
	if c.Method == http.MethodGet && body != "" {
		var err error
		path, err = withQuery(path, body)
		require.NoError(t, err)
		body = ""
	}
	r, err := http.NewRequestWithContext(t.Context(), c.Method, p.url+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := p.client.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	for name, where := range c.Save {
		value, ok := lookInto(text, where)
		require.True(t, ok, "%s has no %s: %s", path, where, text)
		p.saved[name] = value
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return fmt.Sprintf("%d %s", answer.StatusCode, strings.Split(answer.Header.Get("Content-Type"), ";")[0])
	}
	pretty, err := json.MarshalIndent(p.plain("", v), "", " ")
	require.NoError(t, err)
	return fmt.Sprintf("%d %s", answer.StatusCode, pretty)
}

var (
	token     = regexp.MustCompile(`^[A-Za-z0-9+/=_-]{20,}$`)
	generated = regexp.MustCompile(`^[a-z]+-[a-z]+-\d+$|^run-[0-9a-f]{6}$`)
)

// plain puts names in the place of ids, times and places of storage.
func (p *player) plain(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			if _, refused := v["error_code"]; refused && (k == "message" || k == "error_class" || k == "sqlstate") {
				continue // words
			}
			out[k] = p.plain(k, x)
		}
		if k, ok := v["key"].(string); ok && k == "mlflow.runName" {
			out["value"] = p.plain("run_name", v["value"])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = p.plain(key, x)
		}
		slices.SortStableFunc(out, func(a, b any) int { return strings.Compare(sortKey(key, a), sortKey(key, b)) })
		return out
	case float64:
		if v > 1e11 {
			return "a time"
		}
		return v
	case string:
		for name, id := range p.saved {
			if id != "" && len(id) > 8 {
				v = strings.ReplaceAll(v, id, "${"+name+"}")
			} else if v == id && strings.HasSuffix(key, "experiment_id") {
				v = "${" + name + "}"
			}
		}
		switch {
		case key == "run_name" && generated.MatchString(v):
			return "a made name"
		case key == "error_code":
		case key == "next_page_token" && v != "" || token.MatchString(v) && !strings.Contains(v, "$"):
			return "a token"
		case key == "artifact_uri" || key == "artifact_location" || key == "root_uri" || key == "source" && strings.Contains(v, "${"):
			if i := strings.Index(v, "${"); i >= 0 && key != "artifact_location" {
				return "..." + v[i:]
			}
			return "a place"
		}
		if regexp.MustCompile(`^\d{13}$`).MatchString(v) {
			return "a time in text"
		}
		return v
	}
	return v
}

// sortKey orders lists whose order means nothing: tags, params, metrics, and the
// latest versions, which a server gives in one order and another.
func sortKey(list string, v any) string {
	if o, ok := v.(map[string]any); ok {
		if list == "latest_versions" {
			return fmt.Sprint(o["version"])
		}
		if k, ok := o["key"].(string); ok {
			return k
		}
	}
	return ""
}
