package dashboard

import (
	"bytes"
	"context"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"aiwatch/internal/detection"
	"aiwatch/internal/spl"
)

var update = flag.Bool("update", false, "indent the views anew")

// tree is the app's sources in the working tree.
var tree = filepath.Join("..", "..", "splunk_app")

var now = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// shipped is the app of the working tree, with what checks its views.
func shipped(t *testing.T) (fs.FS, Options) {
	t.Helper()
	app, err := detection.Make(os.DirFS(tree))
	require.NoError(t, err)
	engine, err := detection.Engine(app, time.UTC)
	require.NoError(t, err)
	all, err := detection.Load(os.DirFS(tree))
	require.NoError(t, err)
	fields := detection.EventFields()
	for f := range detection.FoundFields(all, engine) {
		fields[f] = true
	}
	return app, Options{Engine: engine, Now: now, Fields: fields}
}

// TestShippedViews runs every check over the app's pages.
func TestShippedViews(t *testing.T) {
	app, o := shipped(t)
	if err := Check(app, o); err != nil {
		t.Fatal(err)
	}
}

// TestCanonical: the pages are kept indented; -update indents them.
func TestCanonical(t *testing.T) {
	app, _ := shipped(t)
	all, err := Load(app)
	require.NoError(t, err)
	for _, v := range all {
		want, err := v.Canonical()
		require.NoError(t, err)
		file := filepath.Join(tree, filepath.FromSlash(v.Path))
		if *update {
			require.NoError(t, os.WriteFile(file, want, 0o644))
		}
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "run go test ./internal/dashboard -run TestCanonical -update")
	}
}

func good(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/good.xml")
	require.NoError(t, err)
	return string(text)
}

// pages is an app with one page.
func pages(text string) fs.FS {
	return fstest.MapFS{Folder + "/good.xml": {Data: []byte(text)}}
}

// TestMistakes makes each mistake once in a good page and expects it named, at
// the line where it stands.
func TestMistakes(t *testing.T) {
	_, o := shipped(t)
	require.NoError(t, Check(pages(good(t)), o))
	for _, c := range []struct{ old, replacement, at, says string }{
		// the envelope
		{`version="2"`, `version="1"`, `<dashboard`, `takes version="2"`},
		{`theme="dark"`, `theme="blue"`, `<dashboard`, `theme="blue"`},
		{`theme="dark"`, ``, `<dashboard`, `is what begins a page`},
		{`theme="dark"`, `theme="dark" script="x.js"`, `<dashboard`, `script="x.js"`},
		{`<label>Good</label>`, `<meta/>`, `<label>`, `<meta> is no part`},
		{`<label>Good</label>`, `<label>Good</label><label>Bad</label>`, `<label>`, `<label> stands there twice`},
		{`<label>Good</label>`, `<label></label>`, `<dashboard`, `label and description are not empty`},
		{`<label>Good</label>`, `<label>Good</label> x`, `<description>`, `text between the elements`},
		{`<label>Good</label>`, `<!-- x --><label>Good</label>`, `<label>`, `comments`},
		{`</dashboard>`, ``, `</dashboard>`, `unexpected EOF`},
		// the definition
		{`"title": "Good"`, `"titel": "Good"`, `"title": "Good"`, `unknown field "titel"`},
		{`"title": "Good",`, `"title": "Good" "x"`, `"title": "Good"`, `no JSON`},
		{`"title": "Good",`, `"title": "Good", "title": "Good",`, `"title": "Good"`, `the key title stands there twice`},
		{`"title": "Good",`, `"title": 5,`, `"title": "Good"`, `cannot unmarshal number`},
		{`"title": "Good",`, `"title": "Other",`, `"title": "Good"`, `is not the label "Good"`},
		{`"title": "Good",`, `"title":  "Good",`, `<definition>`, `not indented by two spaces`},
		{`"description": "A page with one of each",`, `"description": "",`, `<definition>`, `has title and description`},
		{`"acts": {
      "type"`, `"Acts": {
      "type"`, `"acts": {`, `small letters, digits and _`},
		// data sources
		{`"primary": "by_actor"`, `"primary": "by_nobody"`, `"primary": "by_actor"`, `no data source "by_nobody"`},
		{`"primary": "acts"`, `"secondary": "acts"`, `"primary": "acts"`, `takes no data source "secondary"`},
		{`"primary": "acts"`, `"primary": "by_actor"`, `"what": {`, `the field "_event_id", which no row of by_actor has`},
		{`"extend": "acts"`, `"extend": "ghost"`, `"extend": "acts"`, `extends "ghost", which is not there`},
		{`"extend": "acts"`, `"extend": "by_actor"`, `"extend": "acts"`, `goes in a circle`},
		{`"primary": "by_actor"`, `"primary": "acts"`, ``, ``},
		{`"assets"
      },`, `"acts"
      },`, `"assets": {`, `nothing goes on from it`},
		{`"name": "Acts",`, `"name": "",`, `"acts": {`, `has no name`},
		{`"query": "| stats sum(acts) AS acts by actor"`, `"query": ""`, `"by_actor": {`, `the query of by_actor is empty`},
		{`"query": "| stats sum(acts)`, `"query": "stats sum(acts)`, `"query": "| stats sum(acts)`, `a chain goes on with a command`},
		{`| stats sum(acts) AS acts by actor`, `| stats sum(actz) AS acts by actor`, `"query": "| stats sum(acts)`, `reads actz where no row has it`},
		{`| stats sum(acts) AS acts by actor`, `| transaction actor`, `"query": "| stats sum(acts)`, `transaction`},
		{`| stats sum(acts) AS acts by actor`, `| stats sum(acts) AS acts by actor | outputlookup aiwatch_lists`, `"query": "| stats sum(acts)`, `a page writes nothing`},
		{"`aiwatch_events` asset_id=$asset|s$\\n| stats", "index=aiwatch asset_id=$asset|s$\\n| stats", "\"query\": \"`aiwatch_events` asset_id", `starts with a macro of the app`},
		{`asset_id=$asset|s$`, `asset_id=$asset$`, "\"query\": \"`aiwatch_events` asset_id", `would let a value become SPL`},
		{`asset_id=$asset|s$`, `asset_id=$asset|u$`, "\"query\": \"`aiwatch_events` asset_id", `would let a value become SPL`},
		{`asset_id=$asset|s$`, `asset_id=$person|s$`, "\"query\": \"`aiwatch_events` asset_id", `the token $person$ has no value`},
		{`asset_id=$asset|s$`, `aset_id=$asset|s$`, "\"query\": \"`aiwatch_events` asset_id", `neither an event nor a finding has a field aset_id`},
		{`\n| stats count AS acts, latest(_time) AS _time, latest(event_id) AS _event_id by actor, operation`, ``, "\"query\": \"`aiwatch_events` asset_id", `hands on to its chains is named`},
		{`"type": "ds.chain"`, `"type": "ds.savedSearch"`, `"type": "ds.chain"`, `known are ds.search, ds.chain`},
		{`"earliest": "$global_time.earliest$"`, `"earliest": ""`, `"acts": {`, `has no range of time`},
		{`"extend": "acts",`, `"extend": "acts", "queryParameters": {"earliest": "-1d", "latest": "now"},`, `"extend": "acts"`, `the range of what it extends`},
		// panels
		{`"type": "splunk.bar"`, `"type": "splunk.map"`, `"type": "splunk.bar"`, `"splunk.map"; known are`},
		{`"yAxisTitleText": "acts"`, `"yAxisTitleText": "acts", "barColour": "x"`, `"yAxisTitleText"`, `splunk.bar has no option barColour`},
		{`"yAxisTitleText": "acts"`, `"yAxisTitleText": ""`, `"who": {`, `yAxisTitleText, with the unit`},
		{`"underLabel": "acts"`, `"underLabel": ""`, `"how_many": {`, `unit or underLabel`},
		{`"title": "Who did it?"`, `"title": ""`, `"who": {`, `a title and a description`},
		{`"description": "Of the person who did most"`, `"description": ""`, `"how_many": {`, `a title and a description`},
		{`seriesByName('actor')`, `seriesByName('aktor')`, `"who": {`, `the field "aktor", which no row of by_actor has`},
		{`frameBySeriesNames('acts')`, `frameBySeriesNames('acts', 'more')`, `"who": {`, `the field "more"`},
		{`"acts": {
            "width"`, `"actz": {
            "width"`, `"what": {`, `the field "actz"`},
		{`> primary | seriesByName('actor')`, `> secondary | seriesByName('actor')`, `"x": "> primary`, `begins with secondary`},
		{`stats sum(acts) AS acts by actor`, `stats sum(acts) AS acts, count AS size by actor`, ``, ``},
		{`latest(event_id) AS _event_id`, `latest(event_id) AS _event_id, sum(bytes_out) AS bytes`, `"what": {`, `the column "bytes" has no unit`},
		{`"rowColors": `, `"align": `, `"acts": {
            "width"`, `in which colour its text is read`},
		{`"width": 90,`, `"with": 90,`, `"acts": {
            "width"`, `a column has no option with`},
		{`"showInternalFields": false`, `"showInternalFields": true`, `"what": {`, `_event_id is not for the eye`},
		{`"#3F8FD9"`, `"#FF0000"`, `"#3F8FD9"`, `none of the palette`},
		{`"markdown": "Of`, `"markdown": "![x](https://example.test/x.png) Of`, `"markdown"`, `loaded from outside`},
		{`(/app/aiwatch/good?form.asset=$asset|u$`, `(/app/other/good?form.asset=$asset|u$`, `"markdown"`, `leads out of the app`},
		{`"markdown": "Of [$asset$]`, `"markdown": "Of [$thing$]`, `"markdown"`, `the token $thing$ has no value`},
		// clicks
		{`"type": "drilldown.customUrl",
          "options": {
            "url": "/app/aiwatch/search`, `"type": "drilldown.linkToSearch",
          "options": {
            "url": "/app/aiwatch/search`, `"type": "drilldown.customUrl"`, `is no drilldown of ours`},
		{`"splunk.bar"`, `"splunk.singlevalue"`, `"type": "drilldown.customUrl",
          "options": {
            "url": "/app/aiwatch/good`, `a click on a single value has value and name, and no row`},
		{`"cell.click"`, `"point.click"`, `"type": "drilldown.customUrl"`, `splunk.table has no event point.click`},
		{`$row._event_id.value|u$`, `$row.operation.value|u$`, `"url": "/app/aiwatch/search`, `could become SPL`},
		{`$row._event_id.value|u$`, `$row._event_id.value$`, `"url": "/app/aiwatch/search`, `would let a value become part of the link`},
		{`$row._event_id.value|u$`, `$row._event_ids.value|u$`, `"what": {`, `the field "_event_ids"`},
		{`%20event_id%20IN%20(`, `%20event_id%20IN%20((`, `"url": "/app/aiwatch/search`, `the search of the link`},
		{`/app/aiwatch/search?q`, `//example.test/search?q`, `"url": "/app/aiwatch/search`, `leads out of the app`},
		{`/app/aiwatch/good?form.asset=$row`, `/app/aiwatch/bad?form.asset=$row`, `"url": "/app/aiwatch/good`, `there is no page bad`},
		{`/app/aiwatch/good?form.asset=$row`, `/app/aiwatch/good?form.person=$row`, `"url": "/app/aiwatch/good`, `takes no form.person`},
		{`/app/aiwatch/good?form.asset=$row`, `/app/aiwatch/good?asset=$row`, `"url": "/app/aiwatch/good`, `takes no asset`},
		{`$row.actor.value|u$&form.global_time.earliest=$global_time.earliest|u$`, `$row.actor.value|u$`, `"url": "/app/aiwatch/good`, `forgets the time`},
		{`$row.actor.value|u$`, `$click.value|u$`, `"url": "/app/aiwatch/good`, `the token $click.value$ has no value`},
		// inputs
		{`"type": "input.dropdown"`, `"type": "input.color"`, `"type": "input.dropdown"`, `known are input.timerange`},
		{`"title": "Asset"`, `"title": ""`, `"asset": {`, `has no title`},
		{`"token": "asset"`, `"token": "global_time"`, `"time": {`, `has a token of its own`},
		{`"defaultValue": "*"`, `"defaultValue": ""`, `"asset": {`, `has a default`},
		{`"-7d,now"`, `"-7d"`, `"-7d,now"`, `a time range is earliest,latest`},
		{`"items": "> frame(label, value) | objects()"`, `"placeholder": "x"`, `"asset": {`, `has no items`},
		{` | objects()"`, `"`, `"items"`, `without | objects()`},
		{`"primary": "assets"`, `"primary": "things"`, `"primary": "assets"`, `no data source "things"`},
		// layout
		{`"type": "grid"`, `"type": "absolute"`, `"type": "grid"`, `the layout is a grid`},
		{`"gutterSize": 8`, `"gutter": 8`, `"gutterSize"`, `a grid has no option gutter`},
		{`"time",
      "asset"`, `"time"`, `"asset": {`, `has no place in the layout`},
		{`"time",
      "asset"`, `"time",
      "asset",
      "person"`, `"globalInputs"`, `there is no input person`},
		{`"item": "note"`, `"item": "nothing"`, `"item": "note"`, `there is no visualization "nothing"`},
		{`"item": "note"`, `"item": "nothing"`, `"note": {`, `note has no place in the layout`},
		{`"item": "note"`, `"item": "who"`, `"item": "note"`, `who has two places`},
		{`"item": "note",
        "type": "block"`, `"item": "note",
        "type": "line"`, `"item": "note"`, `is a block, not "line"`},
		{`"x": 900,`, `"x": 800,`, `"item": "note"`, `note lies over how_many`},
		{`"x": 900,
          "y": 300,
          "w": 300,`, `"x": 900,
          "y": 300,
          "w": 400,`, `"item": "note"`, `reaches beyond the page`},
		{`"x": 900,
          "y": 300,
          "w": 300,`, `"x": 900,
          "y": 300,
          "w": 200,`, `"structure"`, `the grid has holes`},
		{`"x": 900,
          "y": 300,
          "w": 300,`, `"x": 900,
          "y": 300,
          "w": 0,`, `"item": "note"`, `note has no position`},
	} {
		text := good(t)
		require.Contains(t, text, c.old)
		err := Check(pages(strings.Replace(text, c.old, c.replacement, 1)), o)
		if c.says == "" {
			require.NoError(t, err, c.replacement)
			continue
		}
		require.ErrorContains(t, err, c.says, c.replacement)
		require.Contains(t, text, c.at)
		line := 1 + strings.Count(text[:strings.Index(text, c.at)], "\n")
		found := false
		for problem := range strings.Lines(err.Error()) {
			for l := line - 1; l <= line+3; l++ {
				found = found || strings.HasPrefix(problem, Folder+"/good.xml:"+strconv.Itoa(l)+":") && strings.Contains(problem, c.says)
			}
		}
		require.True(t, found, "%s: not at line %d: %v", c.replacement, line, err)
	}
}

// TestMostSearches: a page that runs many searches is one to be chained.
func TestMostSearches(t *testing.T) {
	_, o := shipped(t)
	text := good(t)
	for i := range 5 {
		text = strings.Replace(text, `"dataSources": {`, `"dataSources": {"s`+strconv.Itoa(i)+"\": {\"type\": \"ds.search\", \"name\": \"x\", \"options\": {\"query\": \"`aiwatch_events` | stats count\"}},", 1)
	}
	require.ErrorContains(t, Check(pages(text), o), "the page runs 7 searches")
}

// TestPagesAgree: a token is the same on every page.
func TestPagesAgree(t *testing.T) {
	_, o := shipped(t)
	app := pages(good(t)).(fstest.MapFS)
	app[Folder+"/other.xml"] = &fstest.MapFile{Data: bytes.Replace([]byte(good(t)), []byte(`"-7d,now"`), []byte(`"-1d,now"`), 1)}
	require.ErrorContains(t, Check(app, o), `the input of "global_time" differs from that of the page good`)
}

// TestFill: a value stays a value in a search and in a link.
func TestFill(t *testing.T) {
	const nasty = "a\"b c$asset$ | delete <script>&é\\"
	for _, c := range []struct{ text, want string }{
		{`asset_id=$asset|s$`, `asset_id="a\"b c$asset$ | delete <script>&é\\"`},
		{`form.asset=$asset|u$`, `form.asset=a%22b%20c%24asset%24%20%7C%20delete%20%3Cscript%3E%26%C3%A9%5C`},
		{`costs $$5, $nobody$ and $nobody|s$`, `costs $5, $nobody$ and $nobody|s$`},
		{`$env:user$ $global_time.earliest$`, `me -7d`},
	} {
		require.Equal(t, c.want, Fill(c.text, map[string]string{"asset": nasty, "env:user": "me", "global_time.earliest": "-7d"}))
	}
}

// TestRun: a chain goes on from its base with the page's tokens and range, and
// what a panel lacks is named.
func TestRun(t *testing.T) {
	_, o := shipped(t)
	v, err := Parse("good.xml", []byte(good(t)))
	require.NoError(t, err)
	run := func(ctx context.Context, search string, r Range) (*spl.Result, error) {
		return o.Engine.Run(ctx, search, spl.Params{Now: now, Earliest: r.Earliest, Latest: r.Latest})
	}
	empty, err := v.Empty(t.Context(), run, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"what": "no row", "who": "no row", "how_many": "no row", "asset": "no row"}, empty)

	events := strings.Join([]string{
		`{"time": 1773100800, "index": "aiwatch", "sourcetype": "aiwatch:s3", "event": {"asset_id": "s3://m/a", "user": "ann", "operation": "REST.GET.OBJECT", "event_id": "01"}}`,
		`{"time": 1773100801, "index": "aiwatch", "sourcetype": "aiwatch:s3", "event": {"asset_id": "s3://m/a\"b", "user": "bob", "operation": "REST.GET.OBJECT", "event_id": "02"}}`,
		`{"time": 1771200000, "index": "aiwatch", "sourcetype": "aiwatch:s3", "event": {"asset_id": "s3://m/a", "user": "eve", "operation": "REST.GET.OBJECT", "event_id": "03"}}`,
	}, "\n")
	_, err = o.Engine.Store.Load(strings.NewReader(events))
	require.NoError(t, err)
	empty, err = v.Empty(t.Context(), run, nil)
	require.NoError(t, err)
	require.Empty(t, empty)
	for asset, want := range map[string]string{`s3://m/a"b`: "bob", "s3://m/a": "ann"} {
		r, err := v.Run(t.Context(), run, "by_actor", map[string]string{"asset": asset})
		require.NoError(t, err)
		require.Len(t, r.Rows, 1)
		require.Equal(t, want, r.Get(r.Rows[0], "actor").String())
	}
}

// TestListedInputs: Overview counts an input that aiwatch_inputs lists by its
// stanza or its name once, and one that was never heard as not alive.
func TestListedInputs(t *testing.T) {
	app, o := shipped(t)
	listed, err := spl.ReadTable(strings.NewReader("input,owner\nprod,ann\naiwatch_git://code,ben\n"))
	require.NoError(t, err)
	o.Engine.Lookups.Set("aiwatch_inputs.csv", listed)
	require.NoError(t, o.Engine.Store.Add([]byte(`{"time": 1773143000, "index": "aiwatch", "sourcetype": "aiwatch:health", "source": "aiwatch_s3://prod", "event": {"operation": "heartbeat", "asset_type": "input", "state": "ok", "lag_seconds": 120}}`)))
	all, err := Load(app)
	require.NoError(t, err)
	v := all[slices.IndexFunc(all, func(v *View) bool { return v.Name == "overview" })]
	run := func(ctx context.Context, search string, r Range) (*spl.Result, error) {
		return o.Engine.Run(ctx, search, spl.Params{Now: now, Earliest: r.Earliest, Latest: r.Latest})
	}
	r, err := v.Run(t.Context(), run, "inputs", nil)
	require.NoError(t, err)
	var got []string
	for _, row := range r.Rows {
		got = append(got, r.Get(row, "Input").String()+" "+r.Get(row, "State").String())
	}
	require.Equal(t, []string{"git://code never heard", "s3://prod ok"}, got)
	r, err = v.Run(t.Context(), run, "alive", nil)
	require.NoError(t, err)
	require.Equal(t, "1 of 2", r.Get(r.Rows[0], "text").String())
}

// FuzzParse: no file breaks the reader, and what it takes it writes so that it
// reads the same.
func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/good.xml")
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`<dashboard version="2" theme="light"><label>a</label><description>b</description><definition>{}</definition></dashboard>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Parse("x.xml", text)
		if err != nil || bytes.Contains(v.text, []byte("]]>")) {
			return
		}
		canonical, err := v.Canonical()
		require.NoError(t, err)
		again, err := Parse("x.xml", canonical)
		require.NoError(t, err)
		require.Equal(t, v.Definition, again.Definition)
		for _, ds := range v.DataSources {
			if ds != nil {
				tokensOf(ds.Options.Query)
			}
		}
	})
}
