package packaging_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/packaging"
)

// sound is an app in which nothing is wrong.
func sound() fstest.MapFS {
	app := fstest.MapFS{}
	for name, text := range map[string]string{
		"default/app.conf":                "[install]\nis_configured = 0\n[package]\nid = watch\ncheck_for_updates = 0\n[id]\nname = watch\nversion = 1.0.0\n[launcher]\nversion = 1.0.0\n",
		"default/macros.conf":             "[source]\ndefinition = index=main\n[of(2)]\nargs = a, b\ndefinition = $a$=$b$\n",
		"default/savedsearches.conf":      "[One]\ndescription = Finds one.\nsearch = `source` `of(user,lower(a,b))` | lookup people user OUTPUT team | inputlookup append=t seen\nenableSched = 1\ncron_schedule = */5 * * * *\ndispatch.earliest_time = -1h\ndispatch.latest_time = now\nalert.severity = 4\n",
		"default/transforms.conf":         "[people]\nfilename = people.csv\n[seen]\nexternal_type = kvstore\ncollection = seen\nfields_list = user\n",
		"default/collections.conf":        "[seen]\n",
		"default/eventtypes.conf":         "[a]\nsearch = `source`\n",
		"default/tags.conf":               "[eventtype=a]\nchange = enabled\n",
		"default/datamodels.conf":         "[M]\nacceleration = false\n",
		"default/data/models/M.json":      "{}\n",
		"default/data/ui/nav/default.xml": "<nav><view name=\"search\"/><collection label=\"x\"><view name=\"home\"/></collection></nav>\n",
		"default/data/ui/views/home.xml":  "<dashboard version=\"2\"><definition><![CDATA[{\"query\": \"`source` | stats count\"}]]></definition></dashboard>\n",
		"lookups/people.csv":              "user,team\na,b\n",
		"metadata/default.meta":           "[]\n",
		"README.md":                       "An app.\n",
	} {
		app[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return app
}

func problems(t *testing.T, app fs.FS) string {
	t.Helper()
	p, err := packaging.App(root, app)
	if err != nil {
		return err.Error()
	}
	return strings.Join(p.Problems(), "\n")
}

// TestWhatTheLinterSees: each thing that is wrong is seen by its name, and
// nothing is wrong with an app that is sound.
func TestWhatTheLinterSees(t *testing.T) {
	require.Empty(t, problems(t, sound()))
	for name, c := range map[string]struct{ file, from, to, want string }{
		"key":                {"default/savedsearches.conf", "cron_schedule", "cron_schdule", "cron_schdule is no setting"},
		"empty value":        {"default/macros.conf", "index=main", "", "definition is empty"},
		"line without =":     {"default/macros.conf", "args = a, b", "args a, b", "macros.conf"},
		"[default]":          {"default/tags.conf", "[eventtype=a]", "[default]\nx = enabled\n[eventtype=a]", "reaches beyond the app"},
		"unknown file":       {"default/limits.conf", "", "[search]\nx = 1\n", "no package of ours has such a file"},
		"place":              {"bin/run.sh", "", "#!/bin/sh\n", "bin/run.sh is no file of an app"},
		"byte order mark":    {"lookups/people.csv", "user,", "\xef\xbb\xbfuser,", "byte order mark"},
		"carriage return":    {"lookups/people.csv", "a,b\n", "a,b\r\n", "carriage return"},
		"not UTF-8":          {"lookups/people.csv", "a,b", "\xff,b", "no UTF-8"},
		"end":                {"README.md", "An app.\n", "An app.", "does not end with a line break"},
		"merge":              {"README.md", "An app.\n", "<<<<<<< HEAD\nAn app.\n", "conflict"},
		"version":            {"default/app.conf", "name = watch\nversion = 1.0.0", "name = watch\nversion = 2.0.0", `version is "2.0.0"`},
		"id":                 {"default/app.conf", "name = watch", "name = other", `name is "other"`},
		"macro":              {"default/savedsearches.conf", "`source`", "`sauce`", "the macro sauce is not defined"},
		"macro's arguments":  {"default/savedsearches.conf", "`of(user,lower(a,b))`", "`of(user)`", "the macro of(1) is not defined"},
		"macro in a type":    {"default/eventtypes.conf", "`source`", "`sauce`", "[a]: the macro sauce is not defined"},
		"macro in a view":    {"default/data/ui/views/home.xml", "`source`", "`sauce`", "home.xml: the macro sauce is not defined"},
		"lookup":             {"default/savedsearches.conf", "lookup people", "lookup peeple", "the lookup peeple is not defined"},
		"inputlookup":        {"default/savedsearches.conf", "append=t seen", "append=t sean", "the lookup sean is not defined"},
		"table missing":      {"default/transforms.conf", "people.csv", "peeple.csv", "lookups/peeple.csv is not there"},
		"table unused":       {"lookups/more.csv", "", "a\n", "transforms.conf does not define it"},
		"collection missing": {"default/collections.conf", "[seen]", "[sean]", "collections.conf has no [seen]"},
		"fields_list":        {"default/transforms.conf", "fields_list = user\n", "", "needs a fields_list"},
		"header missing":     {"lookups/people.csv", "user,team\na,b\n", "\n", "has no header"},
		"header doubled":     {"lookups/people.csv", "user,team", "user,user", "doubled name"},
		"ragged":             {"lookups/people.csv", "a,b", "a,b,c", "people.csv: record on line 2"},
		"tag":                {"default/tags.conf", "eventtype=a", "eventtype=b", "is no event type"},
		"view missing":       {"default/data/ui/nav/default.xml", "home", "hone", "there is no view hone"},
		"view unnamed":       {"default/data/ui/views/more.xml", "", "<form/>\n", "the navigation does not name it"},
		"XML":                {"default/data/ui/views/home.xml", "</dashboard>", "", "is no XML"},
		"JSON":               {"default/data/models/M.json", "{}", "{", "is no JSON"},
		"model's stanza":     {"default/datamodels.conf", "[M]", "[N]", "models/N.json is not there"},
		"cron":               {"default/savedsearches.conf", "*/5 * * * *", "*/5 * * *", "4 fields"},
		"every minute":       {"default/savedsearches.conf", "*/5 * * * *", "* * * * *", "every minute"},
		"all time":           {"default/savedsearches.conf", "earliest_time = -1h", "earliest_time = 0", "all time"},
		"severity":           {"default/savedsearches.conf", "alert.severity = 4", "alert.severity = high", "alert.severity = high"},
		"description":        {"default/savedsearches.conf", "description = Finds one.\n", "", "needs search and description"},
		"meta":               {"metadata/default.meta", "[]\n", "", "metadata/default.meta"},
	} {
		t.Run(name, func(t *testing.T) {
			app := sound()
			old := app[c.file]
			switch {
			case old == nil:
				app[c.file] = &fstest.MapFile{Data: []byte(c.to)}
			case c.file == "metadata/default.meta":
				delete(app, c.file)
			default:
				require.Contains(t, string(old.Data), c.from)
				app[c.file] = &fstest.MapFile{Data: []byte(strings.Replace(string(old.Data), c.from, c.to, 1))}
			}
			require.Contains(t, problems(t, app), c.want)
		})
	}
}

// TestAllTimeByIndexTime: a search over events of any age is sound where it takes
// those alone that were indexed lately.
func TestAllTimeByIndexTime(t *testing.T) {
	for _, c := range []struct{ file, from, to string }{
		{"default/savedsearches.conf", "`source` `of", "`source` _index_earliest=-72h@m `of"},
		{"default/macros.conf", "index=main", "index=main _index_earliest=-5m"},
	} {
		app := sound()
		app["default/savedsearches.conf"].Data = []byte(strings.Replace(string(app["default/savedsearches.conf"].Data), "earliest_time = -1h", "earliest_time = 0", 1))
		require.Contains(t, problems(t, app), "all time")
		app[c.file].Data = []byte(strings.Replace(string(app[c.file].Data), c.from, c.to, 1))
		require.Empty(t, problems(t, app))
	}
}

// TestIcons: a package without its icons, or with one of another size.
func TestIcons(t *testing.T) {
	elsewhere := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(elsewhere, "static"), 0o755))
	text, err := os.ReadFile(filepath.Join(root, "static/appIcon.png"))
	require.NoError(t, err)
	for _, name := range []string{"appIcon.png", "appIcon_2x.png", "appIconAlt.png"} {
		require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "static", name), text, 0o644))
	}
	p, err := packaging.App(elsewhere, sound())
	require.NoError(t, err)
	found := strings.Join(p.Problems(), "\n")
	require.Contains(t, found, "static/appIcon_2x.png: is 36 x 36 pixels, not 72 a side")
	require.Contains(t, found, "static/appIconAlt_2x.png: ")
	require.NotContains(t, found, "static/appIcon.png")
}

func TestNothingIsWrong(t *testing.T) {
	p := addon(t)
	require.Equal(t, "TA-aiwatch", p.ID)
	p.Files = slices.DeleteFunc(p.Files, func(f packaging.File) bool {
		return f.Path == "THIRD-PARTY-LICENSES" // is there after the programs
	})
	require.Empty(t, p.Problems())

	q, err := packaging.App(root, app(t))
	require.NoError(t, err)
	require.Equal(t, "aiwatch", q.ID)
	require.Equal(t, p.Version, q.Version)
	require.Empty(t, q.Problems())
}
