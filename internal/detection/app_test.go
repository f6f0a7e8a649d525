package detection

import (
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
	"aiwatch/internal/spl"
	splunkapp "aiwatch/splunk_app"
)

// appEngine is an evaluator of the app over no events.
func appEngine(t *testing.T) *spl.Engine {
	t.Helper()
	app, err := FS()
	require.NoError(t, err)
	engine, err := Engine(app, time.UTC)
	require.NoError(t, err)
	return engine
}

// TestWorkflowActions: links go to https and the administrator's address alone,
// and a search takes nothing of an event but its id.
func TestWorkflowActions(t *testing.T) {
	app, err := FS()
	require.NoError(t, err)
	engine := appEngine(t)
	f, err := app.Open("default/workflow_actions.conf")
	require.NoError(t, err)
	defer f.Close()
	actions, err := conf.Parse("workflow_actions.conf", f)
	require.NoError(t, err)
	require.NotEmpty(t, actions.Stanzas)
	for _, s := range actions.Stanzas {
		get := func(key string) string { v, _ := s.Get(key); return v.Text }
		switch get("type") {
		case "link":
			require.True(t, strings.HasPrefix(get("link.uri"), "https://$!page$/"), s.Name)
			require.Equal(t, 1, strings.Count(get("link.uri"), "$!"), "%s: what an event says is encoded", s.Name)
		case "search":
			text := get("search.search_string")
			require.Empty(t, regexp.MustCompile(`\$[a-z_]+\$`).FindString(strings.ReplaceAll(text, "$event_id$", "00")), s.Name)
			_, err := engine.Parse(strings.ReplaceAll(text, "$event_id$", "00"), checkTime)
			require.NoError(t, err, s.Name)
		default:
			t.Errorf("%s: type %q", s.Name, get("type"))
		}
	}
}

// TestTablesAreDefined: each lookup has a definition and a header, each
// collection a lookup, and each definition its table.
func TestTablesAreDefined(t *testing.T) {
	app, err := FS()
	require.NoError(t, err)
	read := func(name string) *conf.File {
		f, err := app.Open("default/" + name)
		require.NoError(t, err)
		defer f.Close()
		parsed, err := conf.Parse(name, f)
		require.NoError(t, err)
		return parsed
	}
	files, collections := map[string]bool{}, map[string]bool{}
	for _, s := range read("transforms.conf").Stanzas {
		if v, ok := s.Get("filename"); ok {
			files["lookups/"+v.Text] = true
			text, err := fs.ReadFile(app, "lookups/"+v.Text)
			require.NoError(t, err, s.Name)
			require.NotEmpty(t, strings.TrimSpace(string(text)), s.Name)
			continue
		}
		v, ok := s.Get("collection")
		require.True(t, ok, "%s has neither filename nor collection", s.Name)
		collections[v.Text] = true
	}
	for _, s := range read("collections.conf").Stanzas {
		require.True(t, collections[s.Name], "the collection %s has no lookup", s.Name)
		delete(collections, s.Name)
	}
	require.Empty(t, collections, "lookups without a collection")
	shipped, err := fs.Glob(app, "lookups/*.csv")
	require.NoError(t, err)
	for _, name := range shipped {
		require.True(t, files[name], "%s has no definition", name)
	}
}

// TestTopics: every detection is counted under a heading of a page.
func TestTopics(t *testing.T) {
	all, err := Load(splunkapp.Files)
	require.NoError(t, err)
	engine := appEngine(t)
	numbers := []string{"detection"}
	for _, d := range all {
		if d.Finds() {
			numbers = append(numbers, strconv.Itoa(d.Number))
		}
	}
	res, err := engine.Run(t.Context(), "| makeresults format=csv data=\""+strings.Join(numbers, "\n")+"\n99\" | `aiwatch_topic` | where isnull(topic) OR isnull(page) | table detection", spl.Params{Now: checkTime})
	require.NoError(t, err)
	require.Len(t, res.Rows, 1, "but for one that does not exist")
	require.Equal(t, "99", res.Get(res.Rows[0], "detection").String())
}

// TestShown: what pages call the asset and the person of a finding.
func TestShown(t *testing.T) {
	for _, c := range []struct{ id, name, want string }{
		{"mlflow:prod/models/fraud", "", "fraud"},
		{"mlflow:prod/models/fraud/3", "", "fraud"},
		{"mlflow:prod/w/models/fraud/3", "", "fraud"},
		{"mlflow:prod/datasets/street", "", "street"},
		{"mlflow:prod/w/runs/0a1b/artifacts/model/w.bin", "", "0a1b"},
		{"git:forge/acme/vision", "", "acme/vision"},
		{"git:forge/acme/vision@refs/heads/main", "", "acme/vision"},
		{"git:forge/acme/vision//dir//model.pkl", "", "acme/vision"},
		{"s3://models/fraud/v3/part-1", "", "models/fraud"},
		{"s3://models/one.bin", "", "models/one.bin"},
		{"s3://models", "", "models"},
		{"s3://models/fraud/v3/part-1", "gold", "gold"},
		{"s3://jewels/x/1", "", "a jewel"},
		{"aiwatch:c/aiwatch_s3://prod", "", "aiwatch_s3://prod"},
		{"", "", "unknown"},
	} {
		engine := appEngine(t)
		jewels, err := spl.ReadTable(strings.NewReader("asset_id,asset_name,owner,env\nmlflow:prod/*,,o,prod\ns3://jewels/*,a jewel,o,\n"))
		require.NoError(t, err)
		engine.Lookups.Set("aiwatch_crown_jewels.csv", jewels)
		res, err := engine.Run(t.Context(), fmt.Sprintf("| makeresults | eval asset_id=nullif(%q,\"\"), asset_name=nullif(%q,\"\"), severity=\"high\" | `aiwatch_shown` | `aiwatch_weight`", c.id, c.name), spl.Params{Now: checkTime})
		require.NoError(t, err)
		get := func(field string) string { return res.Get(res.Rows[0], field).String() }
		require.Equal(t, c.want, get("asset"), c.id)
		require.Equal(t, "unknown", get("person"))
		require.Equal(t, "3", get("weight"))
		env := "unlisted"
		if strings.HasPrefix(c.id, "mlflow:prod/") {
			env = "prod"
		}
		require.Equal(t, env, get("env"), c.id)
	}
}
