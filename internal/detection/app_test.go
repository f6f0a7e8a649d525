package detection

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/conf"
)

// TestWorkflowActions: links go to https and the administrator's address alone,
// and a search takes nothing of an event but its id.
func TestWorkflowActions(t *testing.T) {
	app, err := FS()
	require.NoError(t, err)
	engine, err := Engine(app, time.UTC)
	require.NoError(t, err)
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
