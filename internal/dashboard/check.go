package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiwatch/internal/detection"
	"aiwatch/internal/spl"
)

// App is the app's id, in whose pages all links stay.
const App = "aiwatch"

// builtin are pages that every app of Splunk has.
var builtin = []string{"search", "reports", "alerts", "dashboards", "datasets"}

var (
	id      = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	outside = regexp.MustCompile(`(?i)https?:|^//|\(//|data:|url\(|<(script|img|iframe|link|style|object)\b`)
	colour  = regexp.MustCompile(`(?i)#[0-9a-f]{3,8}\b|\brgba?\(`)
	link    = regexp.MustCompile(`\]\(([^)]*)\)`)
	// unit is a column of numbers that mean nothing without one.
	unit = regexp.MustCompile(`(?i)(^|[ _])(bytes|size|lag|age|duration|downloaded|seconds)($|[ _])`)
	// expression is one over data: > NAME | ...
	expression = regexp.MustCompile(`^>\s*([A-Za-z_]\w*)`)
	named      = regexp.MustCompile(`(?:seriesByName|frameBySeriesNames|frameWithoutSeriesNames)\(([^)]*)\)`)
	argument   = regexp.MustCompile(`'([^']*)'|"([^"]*)"`)
	click      = regexp.MustCompile(`^row\.(.+)\.value$`)
	eventIDs   = regexp.MustCompile(`^row\._?event_ids?\.value$`)
)

// Options are what views are checked by.
type Options struct {
	Engine *spl.Engine // parses the searches; that of detection.Engine, with events or without
	Now    time.Time
	Fields map[string]bool // those that events and findings have
}

// Check tells what is wrong with the views of an app. The error joins
// detection.Problems with file and line.
func Check(app fs.FS, o Options) error {
	all, err := Load(app)
	if err != nil {
		return err
	}
	c := &checker{engine: o.Engine, now: o.Now, fields: o.Fields, all: all}
	for _, v := range all {
		c.v = v
		c.head()
		c.inputs()
		c.sources()
		c.panels()
		c.layout()
		c.strings()
	}
	c.shared()
	return errors.Join(c.problems...)
}

type checker struct {
	engine   *spl.Engine
	now      time.Time
	fields   map[string]bool
	all      []*View
	v        *View
	problems []error
}

func (c *checker) report(at, format string, args ...any) {
	c.problems = append(c.problems, detection.Problem{Path: c.v.Path, Line: c.v.Line(at), Text: fmt.Sprintf(format, args...)})
}

func (c *checker) head() {
	v := c.v
	if v.Title == "" || v.Definition.Description == "" {
		c.report("", "the definition has title and description")
	}
	if v.Title != v.Label {
		c.report("title", "the title %q is not the label %q, under which the page is in the menu", v.Title, v.Label)
	}
	for _, group := range []struct {
		at   string
		keys []string
	}{
		{"dataSources", slices.Sorted(maps.Keys(v.DataSources))},
		{"visualizations", slices.Sorted(maps.Keys(v.Visualizations))},
		{"inputs", slices.Sorted(maps.Keys(v.Inputs))},
	} {
		for _, key := range group.keys {
			if !id.MatchString(key) {
				c.report(group.at+"."+key, "a name in a definition is small letters, digits and _: %q", key)
			}
		}
		if len(group.keys) == 0 {
			c.report("", "the page has no %s", group.at)
		}
	}
	if canonical, err := v.Canonical(); err == nil && json.Valid(v.text) && !strings.Contains(string(canonical), strings.TrimSpace(string(v.text))) {
		c.report("", "the definition is not indented by two spaces: run go test ./internal/dashboard -run TestCanonical -update")
	}
}

func (c *checker) inputs() {
	tokens := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(c.v.Inputs)) {
		in, at := c.v.Inputs[key], "inputs."+key
		if !slices.Contains(inputKinds, in.Type) {
			c.report(at+".type", "the input %s is %q; known are %s", key, in.Type, strings.Join(inputKinds, ", "))
		}
		if in.Title == "" {
			c.report(at, "the input %s has no title", key)
		}
		if first := tokens[in.Options.Token]; in.Options.Token == "" || first != "" {
			c.report(at, "the input %s has a token of its own, not %q", key, in.Options.Token)
		}
		tokens[in.Options.Token] = key
		if in.Options.DefaultValue == "" {
			c.report(at, "the input %s has a default, so that the page shows something at once", key)
		}
		if in.Type == timeRange && !strings.Contains(in.Options.DefaultValue, ",") {
			c.report(at+".options.defaultValue", "a time range is earliest,latest, not %q", in.Options.DefaultValue)
		}
		if in.Type == dropdown && in.Options.Items == nil {
			c.report(at, "the dropdown %s has no items", key)
		}
		if text, ok := in.Options.Items.(string); ok && !strings.HasSuffix(text, "| objects()") {
			c.report(at+".options.items", "without | objects() at its end the dropdown shows values in the place of their labels")
		}
		c.wired(at, in.DataSources, words("primary"), in.Context, map[string]any{"items": in.Options.Items})
	}
}

// wired checks that the data sources of a panel or input exist, and that each
// expression begins with something that is there.
func (c *checker) wired(at string, sources map[string]string, allowed []string, context, options map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		if !slices.Contains(allowed, name) {
			c.report(at+".dataSources."+name, "it takes no data source %q", name)
		}
		if c.v.DataSources[sources[name]] == nil {
			c.report(at+".dataSources."+name, "there is no data source %q", sources[name])
		}
	}
	given := map[string]bool{"themes": true, "majorValue": true, "trendValue": true, "sparklineValues": true, "table": true, "frame": true}
	for name := range sources {
		given[name] = true
	}
	for name := range context {
		given[name] = true
	}
	for name := range options {
		given[name] = true
	}
	for path, text := range texts(map[string]any{"context": context, "options": options}) {
		if m := expression.FindStringSubmatch(text); m != nil && !given[m[1]] {
			c.report(at+"."+path, "%q begins with %s, which is no data source, option or context of it", text, m[1])
		}
	}
}

// texts are the strings of a tree by their paths, in order.
func texts(tree any) func(yield func(path, text string) bool) {
	return func(yield func(path, text string) bool) {
		var walk func(path string, n any) bool
		walk = func(path string, n any) bool {
			switch n := n.(type) {
			case string:
				return yield(path, n)
			case map[string]any:
				for _, k := range slices.Sorted(maps.Keys(n)) {
					if !walk(strings.TrimPrefix(path+"."+k, "."), n[k]) {
						return false
					}
				}
			case []any:
				for i, e := range n {
					if !walk(fmt.Sprintf("%s[%d]", path, i), e) {
						return false
					}
				}
			}
			return true
		}
		walk("", tree)
	}
}

func (c *checker) sources() {
	used := map[string]bool{}
	for _, z := range c.v.Visualizations {
		for _, ds := range z.DataSources {
			used[ds] = true
		}
	}
	for _, in := range c.v.Inputs {
		for _, ds := range in.DataSources {
			used[ds] = true
		}
	}
	extended := map[string]bool{}
	for _, ds := range c.v.DataSources {
		extended[ds.Options.Extend] = true
	}
	bases := 0
	for _, key := range slices.Sorted(maps.Keys(c.v.DataSources)) {
		ds, at := c.v.DataSources[key], "dataSources."+key
		query := strings.TrimSpace(ds.Options.Query)
		if ds.Name == "" {
			c.report(at, "the data source %s has no name", key)
		}
		if query == "" {
			c.report(at, "the query of %s is empty", key)
		}
		if !used[key] && !extended[key] {
			c.report(at, "nothing draws the data source %s and nothing goes on from it", key)
		}
		switch ds.Type {
		case search:
			bases++
			if ds.Options.Extend != "" {
				c.report(at+".options.extend", "a ds.search extends nothing; ds.chain does")
			}
			if query != "" && !strings.HasPrefix(strings.TrimLeft(query, "( "), "`aiwatch_") && !strings.HasPrefix(query, "|") {
				c.report(at+".options.query", "a search starts with a macro of the app, such as `aiwatch_s3`, or with a command")
			}
			if r := c.v.Range(key); r.Earliest == "" || r.Latest == "" {
				c.report(at, "%s has no range of time: queryParameters in it or in defaults", key)
			}
		case chain:
			base := c.v.DataSources[ds.Options.Extend]
			if base == nil {
				c.report(at+".options.extend", "%s extends %q, which is not there", key, ds.Options.Extend)
				continue
			}
			if !strings.HasPrefix(query, "|") {
				c.report(at+".options.query", "a chain goes on with a command: | ...")
			}
			if ds.Options.QueryParameters != (Range{}) {
				c.report(at+".options.queryParameters", "a chain has the range of what it extends")
			}
		default:
			c.report(at+".type", "%s is %q; known are %s, %s", key, ds.Type, search, chain)
			continue
		}
		if _, err := c.v.Search(key); err != nil {
			c.report(at+".options.extend", "%v", err)
			continue
		}
		if query == "" {
			continue
		}
		q := c.query(key)
		if q == nil {
			continue
		}
		uses := q.Uses()
		if len(uses.Missing) > 0 {
			c.report(at+".options.query", "%s reads %s where no row has it", key, strings.Join(uses.Missing, ", "))
		}
		for _, f := range uses.Fields {
			if !c.fields[f] && !strings.Contains(f, "*") {
				c.report(at+".options.query", "neither an event nor a finding has a field %s", f)
			}
		}
		if len(uses.Written)+len(uses.Indexes) > 0 {
			c.report(at+".options.query", "a page writes nothing")
		}
		if extended[key] && uses.Open {
			c.report(at+".options.query", "what %s hands on to its chains is named: end it with stats, table or fields", key)
		}
		for _, use := range tokensOf(ds.Options.Query) {
			if use.filters != "|s" {
				c.report(at+".options.query", "the token $%s%s$ would let a value become SPL: use $%[1]s|s$", use.name, use.filters)
			}
		}
	}
	if most := 6; bases > most {
		c.report("dataSources", "the page runs %d searches; chain them until it runs at most %d", bases, most)
	}
}

// query parses a data source with the tokens that the page begins with. What the
// evaluator refuses is reported where it stands, not at the chains of it.
func (c *checker) query(key string) *spl.Query {
	q, err := c.parse(key)
	if err == nil {
		return q
	}
	if base := c.v.DataSources[key].Options.Extend; base != "" {
		if _, told := c.parse(base); told != nil {
			return nil
		}
	}
	c.report("dataSources."+key+".options.query", "%s: %v", key, err)
	return nil
}

func (c *checker) parse(key string) (*spl.Query, error) {
	text, err := c.v.Search(key)
	if err != nil {
		return nil, err
	}
	return c.engine.Parse(Fill(text, c.v.Tokens()), c.now)
}

func (c *checker) panels() {
	placed := map[string]bool{}
	for _, item := range c.v.Layout.Structure {
		placed[item.Item] = true
	}
	for _, key := range slices.Sorted(maps.Keys(c.v.Visualizations)) {
		z, at := c.v.Visualizations[key], "visualizations."+key
		if !placed[key] {
			c.report(at, "%s has no place in the layout", key)
		}
		k, known := kinds[z.Type]
		if !known {
			c.report(at+".type", "%s is %q; known are %s", key, z.Type, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
			continue
		}
		for _, o := range slices.Sorted(maps.Keys(z.Options)) {
			if !slices.Contains(k.options, o) {
				c.report(at+".options."+o, "%s has no option %s", z.Type, o)
			}
		}
		c.wired(at, z.DataSources, k.sources, z.Context, z.Options)
		for i, h := range z.EventHandlers {
			c.handler(fmt.Sprintf("%s.eventHandlers[%d]", at, i), z, k, h)
		}
		if z.Type == "splunk.markdown" {
			if text, _ := z.Options["markdown"].(string); text == "" {
				c.report(at, "%s has no text", key)
			}
			continue
		}
		if z.Title == "" || z.Description == "" {
			c.report(at, "%s has a title and a description: what it shows, and what to do about it", key)
		}
		if z.DataSources["primary"] == "" {
			c.report(at, "%s has no data source", key)
			continue
		}
		c.units(at, z, k)
		c.drawn(at, z)
	}
}

// units checks that numbers say what they count.
func (c *checker) units(at string, z *Visualization, k kind) {
	text := func(option string) string { s, _ := z.Options[option].(string); return s }
	if k.axes && text("yAxisTitleText") == "" {
		c.report(at, "the axis of numbers has no title: yAxisTitleText, with the unit")
	}
	if k.axes && text("y2") != "" && text("y2AxisTitleText") == "" {
		c.report(at, "the second axis has no title: y2AxisTitleText, with the unit")
	}
	if z.Type == "splunk.singlevalue" && text("unit") == "" && text("underLabel") == "" {
		c.report(at, "the number says not what it counts: unit or underLabel")
	}
	if z.Type == "splunk.table" {
		c.columns(at, z)
	}
}

// columns checks what a table shows, and how.
func (c *checker) columns(at string, z *Visualization) {
	formats, _ := z.Options["columnFormat"].(map[string]any)
	for _, column := range slices.Sorted(maps.Keys(formats)) {
		format, _ := formats[column].(map[string]any)
		for _, o := range slices.Sorted(maps.Keys(format)) {
			if !slices.Contains(columnOptions, o) {
				c.report(at+".options.columnFormat."+column, "a column has no option %s", o)
			}
		}
		if format["rowBackgroundColors"] != nil && format["rowColors"] == nil {
			c.report(at+".options.columnFormat."+column, "a coloured column says in which colour its text is read: rowColors")
		}
	}
	for _, f := range c.fieldsOf(z.DataSources["primary"]).Results {
		if strings.HasPrefix(f, "_") && f != "_time" && z.Options["showInternalFields"] != false {
			c.report(at, "%s is not for the eye: showInternalFields is false", f)
		}
		if unit.MatchString(f) && !strings.Contains(f, "(") && !strings.HasPrefix(f, "_") {
			c.report(at, "the column %q has no unit: name it such as %q", f, f+" (GB)")
		}
	}
}

// fieldsOf tells what a data source's rows have; nothing where it does not parse.
func (c *checker) fieldsOf(key string) spl.Uses {
	q, err := c.parse(key)
	if err != nil {
		return spl.Uses{Open: true}
	}
	return q.Uses()
}

// Drawn are the fields that a panel names: in expressions, columns, and the
// values that its clicks hand on.
func (z *Visualization) Drawn() []string {
	found := map[string]bool{}
	for _, text := range texts(map[string]any{"o": z.Options, "c": z.Context}) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			for _, a := range argument.FindAllStringSubmatch(m[1], -1) {
				found[a[1]+a[2]] = true
			}
		}
	}
	if columns, ok := z.Options["columnFormat"].(map[string]any); ok {
		for f := range columns {
			found[f] = true
		}
	}
	for _, option := range words("fieldOrder overlayFields") {
		if list, ok := z.Options[option].([]any); ok {
			for _, f := range list {
				found[fmt.Sprint(f)] = true
			}
		}
	}
	for _, h := range z.EventHandlers {
		for _, use := range tokensOf(h.Options.URL) {
			if m := click.FindStringSubmatch(use.name); m != nil {
				found[m[1]] = true
			}
		}
		for _, t := range h.Options.Tokens {
			if m := click.FindStringSubmatch(t.Key); m != nil {
				found[m[1]] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func (c *checker) drawn(at string, z *Visualization) {
	has := c.fieldsOf(z.DataSources["primary"])
	for _, f := range z.Drawn() {
		if !slices.Contains(has.Results, f) && !has.Open {
			c.report(at, "it draws the field %q, which no row of %s has", f, z.DataSources["primary"])
		}
	}
}

// known tells whether a token has a value before any click.
func (c *checker) known(name string) bool {
	if _, ok := c.v.Tokens()[name]; ok {
		return true
	}
	for _, z := range c.v.Visualizations {
		for _, h := range z.EventHandlers {
			if slices.ContainsFunc(h.Options.Tokens, func(t SetToken) bool { return t.Token == name }) {
				return true
			}
		}
	}
	return false
}

// handler checks what a click does. Links are drilldown.customUrl alone: the
// renderer itself fills them, |u keeps every value a value, and the page that is
// opened reads form.TOKEN; what linkToDashboard and linkToSearch make of tokens
// differs between versions of Splunk.
func (c *checker) handler(at string, z *Visualization, k kind, h Handler) {
	for _, e := range h.Options.Events {
		if !slices.Contains(k.events, e) {
			c.report(at, "%s has no event %s", z.Type, e)
		}
	}
	if len(k.events) == 0 {
		c.report(at, "%s can't be clicked", z.Type)
	}
	if z.Type == "splunk.singlevalue" {
		handed := tokensOf(h.Options.URL)
		for _, t := range h.Options.Tokens {
			handed = append(handed, use{name: t.Key})
		}
		if slices.ContainsFunc(handed, func(u use) bool { return click.MatchString(u.name) }) {
			c.report(at, "a click on a single value has value and name, and no row")
		}
	}
	switch h.Type {
	case "drilldown.customUrl":
		c.url(at+".options.url", h.Options.URL, true)
	case "drilldown.setToken":
		if len(h.Options.Tokens) == 0 {
			c.report(at, "it sets no token")
		}
		for _, t := range h.Options.Tokens {
			if t.Key != "" && t.Key != "value" && t.Key != "name" && !click.MatchString(t.Key) {
				c.report(at, "a click has no %q; it has value, name and row.FIELD.value", t.Key)
			}
		}
	default:
		c.report(at+".type", "%q is no drilldown of ours: drilldown.customUrl for links, drilldown.setToken", h.Type)
	}
}

// url checks a link, by a click or in a text, that it stays in the app and hands
// on what its page takes.
func (c *checker) url(at, text string, clicked bool) {
	rest, ok := strings.CutPrefix(text, "/app/"+App+"/")
	if !ok {
		c.report(at, "%q leads out of the app: links begin with /app/%s/", text, App)
		return
	}
	name, query, _ := strings.Cut(rest, "?")
	values := maps.Clone(c.v.Tokens())
	for _, use := range tokensOf(text) {
		if clicked && (use.name == "value" || use.name == "name" || click.MatchString(use.name)) {
			values[use.name] = "x"
			if eventIDs.MatchString(use.name) {
				values[use.name] = strings.Repeat("0", 32)
			}
		} else if !c.known(use.name) {
			c.report(at, "the token $%s$ has no value", use.name)
		}
		if use.filters != "|u" {
			c.report(at, "the token $%s%s$ would let a value become part of the link: use $%[1]s|u$", use.name, use.filters)
		}
	}
	parameters, err := url.ParseQuery(Fill(query, values))
	if err != nil {
		c.report(at, "the link is no URL: %v", err)
		return
	}
	if name == "search" {
		q := parameters.Get("q")
		raw := query
		for _, part := range strings.Split(raw, "&") {
			if !strings.HasPrefix(part, "q=") {
				continue
			}
			for _, use := range tokensOf(part) {
				if !eventIDs.MatchString(use.name) {
					c.report(at, "the token $%s$ could become SPL: a search of a link takes event ids alone", use.name)
				}
			}
		}
		if _, err := c.engine.Parse(q, c.now); err != nil {
			c.report(at, "the search of the link: %v", err)
		}
		return
	}
	if slices.Contains(builtin, name) {
		return
	}
	i := slices.IndexFunc(c.all, func(v *View) bool { return v.Name == name })
	if i < 0 {
		c.report(at, "there is no page %s", name)
		return
	}
	target := c.all[i].Tokens()
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		form, ok := strings.CutPrefix(key, "form.")
		if _, takes := target[form]; !ok || !takes {
			c.report(at, "the page %s takes no %s", name, key)
		}
	}
	for _, t := range []string{"global_time.earliest", "global_time.latest"} {
		if _, takes := target[t]; takes && !parameters.Has("form."+t) {
			c.report(at, "the link forgets the time: form.%s", t)
		}
	}
}

func (c *checker) layout() {
	l := c.v.Layout
	if l.Type != grid {
		c.report("layout.type", "the layout is a grid, which fits every width, not %q", l.Type)
	}
	for _, o := range slices.Sorted(maps.Keys(l.Options)) {
		if !slices.Contains(layoutOptions, o) {
			c.report("layout.options."+o, "a grid has no option %s", o)
		}
	}
	for i, name := range l.GlobalInputs {
		at := fmt.Sprintf("layout.globalInputs[%d]", i)
		if c.v.Inputs[name] == nil {
			c.report(at, "there is no input %s", name)
		}
		if slices.Index(l.GlobalInputs, name) != i {
			c.report(at, "the input %s has two places", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.v.Inputs)) {
		if !slices.Contains(l.GlobalInputs, name) {
			c.report("inputs."+name, "the input %s has no place in the layout", name)
		}
	}
	area, bottom := 0, 0
	for i, item := range l.Structure {
		at := fmt.Sprintf("layout.structure[%d]", i)
		if c.v.Visualizations[item.Item] == nil {
			c.report(at, "there is no visualization %q", item.Item)
		}
		if item.Type != "block" {
			c.report(at, "an item of a grid is a block, not %q", item.Type)
		}
		p := item.Position
		if p == nil || p.W <= 0 || p.H <= 0 || p.X < 0 || p.Y < 0 {
			c.report(at, "%s has no position", item.Item)
			continue
		}
		if p.X+p.W > pageWidth {
			c.report(at, "%s reaches beyond the page, which is %d wide", item.Item, pageWidth)
		}
		for _, other := range l.Structure[:i] {
			o := other.Position
			if other.Item == item.Item {
				c.report(at, "%s has two places", item.Item)
			} else if o != nil && p.X < o.X+o.W && o.X < p.X+p.W && p.Y < o.Y+o.H && o.Y < p.Y+p.H {
				c.report(at, "%s lies over %s", item.Item, other.Item)
			}
		}
		area, bottom = area+p.W*p.H, max(bottom, p.Y+p.H)
	}
	if area < pageWidth*bottom {
		c.report("layout.structure", "the grid has holes")
	}
}

// strings checks what any text of the definition may hold.
func (c *checker) strings() {
	var tree map[string]any
	if err := json.Unmarshal(c.v.text, &tree); err != nil {
		return
	}
	for at, text := range texts(tree) {
		query := strings.HasSuffix(at, ".query")
		if m := outside.FindString(text); m != "" && !query {
			c.report(at, "%q would be loaded from outside", m)
		}
		if m := colour.FindString(text); m != "" && !query && !slices.Contains(slices.Collect(maps.Values(Palette)), m) {
			c.report(at, "the colour %s is none of the palette, which is legible on both themes", m)
		}
		if strings.HasSuffix(at, ".options.markdown") {
			for _, m := range link.FindAllStringSubmatch(text, -1) {
				c.url(at, m[1], false)
			}
		}
		if strings.HasSuffix(at, ".url") {
			continue // of a handler, which has the tokens of the click
		}
		for _, use := range tokensOf(text) {
			if !c.known(use.name) {
				c.report(at, "the token $%s$ has no value: no input, default or click gives it one", use.name)
			}
		}
	}
}

// shared checks what pages have in common: a token is the same on all of them.
func (c *checker) shared() {
	first := map[string]*Input{}
	where := map[string]string{}
	for _, v := range c.all {
		c.v = v
		for _, key := range slices.Sorted(maps.Keys(v.Inputs)) {
			in := v.Inputs[key]
			t := in.Options.Token
			if f := first[t]; f == nil {
				first[t], where[t] = in, v.Name
			} else if f.Type != in.Type || f.Title != in.Title || f.Options.DefaultValue != in.Options.DefaultValue || !reflect.DeepEqual(f.Context, in.Context) {
				c.report("inputs."+key, "the input of %s differs from that of the page %s", strconv.Quote(t), where[t])
			}
		}
	}
}
