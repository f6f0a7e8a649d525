package spl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Query is a parsed search. It may be run any number of times by the engine
// that parsed it, one run of it at a time; its macros are expanded once, so that a
// macro that asks for now() means the moment of parsing.
type Query struct {
	src      *source
	commands []command
	engine   *Engine
	kept     *kept // nil: nothing is remembered
}

// Parse expands macros and parses a search without running it: every refusal
// that does not depend on data comes from here.
func (e *Engine) Parse(search string, now time.Time) (*Query, error) {
	env := &evalEnv{now: epochOf(now), loc: e.location(), macros: e.Macros}
	src, err := expand(search, e.Macros, env)
	if err != nil {
		return nil, err
	}
	q, err := parseQuery(src)
	if err != nil {
		return nil, err
	}
	q.engine = e
	x := &execution{engine: e, ctx: context.Background(), limits: e.Limits.withDefaults(), env: env, src: src}
	env.src = src
	return q, x.check(q.commands)
}

// RunQuery runs a search that was parsed before.
func (e *Engine) RunQuery(ctx context.Context, q *Query, params Params) (*Result, error) {
	defer e.indexes.trim()
	x, err := e.execution(ctx, q, params)
	if err != nil {
		return nil, err
	}
	x.kept = q.kept
	f, err := x.pipeline(q.commands, nil)
	if err != nil {
		return nil, err
	}
	rows, err := x.collect(f, "the result")
	if err != nil {
		return nil, err
	}
	if len(rows) > x.limits.Rows {
		return nil, fmt.Errorf("the result has more than %d rows (limit Rows)", x.limits.Rows)
	}
	return f.sc.result(rows, x.warnings), nil
}

// Writes tells whether a run changes what other searches read: a lookup, or with
// collect an index.
func (q *Query) Writes() bool {
	u := q.Uses()
	return len(u.Written) > 0 || len(u.Indexes) > 0
}

// Uses is what a search touches, as far as its text tells.
type Uses struct {
	// Fields are the fields of events that are read, subsearches included; a
	// name with a * is a pattern. Words that are searched for read _raw.
	Fields []string
	// Missing are fields that are read where no row can have them, because a
	// command before, like stats or table, leaves others only.
	Missing []string
	// Macros are the stanzas of macros.conf that are expanded, nested ones too.
	Macros []string
	// Lookups are read, Written are the lookups that outputlookup writes,
	// Indexes those to which collect writes, Models the data models.
	Lookups, Written, Indexes, Models []string
	// Results are the fields that the search makes or names for its rows. With
	// Open, rows can have others too: all fields of their events, or columns
	// named by values.
	Results []string
	Open    bool
}

// Uses tells what the search touches.
func (q *Query) Uses() Uses {
	a := &survey{
		engine: q.engine, fields: map[string]bool{}, missing: map[string]bool{}, lookups: map[string]bool{},
		written: map[string]bool{}, indexes: map[string]bool{}, models: map[string]bool{},
	}
	end := a.pipeline(q.commands, nil)
	return Uses{
		Fields: sortedKeys(a.fields), Missing: sortedKeys(a.missing), Macros: sortedKeys(q.src.macros),
		Lookups: sortedKeys(a.lookups), Written: sortedKeys(a.written), Indexes: sortedKeys(a.indexes), Models: sortedKeys(a.models),
		Results: sortedKeys(end.made), Open: end.open || end.loose,
	}
}

// survey gathers what commands touch.
type survey struct {
	engine                                             *Engine
	fields, missing, lookups, written, indexes, models map[string]bool
}

// reach is which fields rows can have at one place of a pipeline.
type reach struct {
	open  bool            // those of events
	loose bool            // others whose names only data tell
	made  map[string]bool // those that commands made or named
	gone  map[string]bool // those of events that were taken away
}

func newReach(open bool, names ...string) *reach {
	r := &reach{open: open, made: map[string]bool{}, gone: map[string]bool{}}
	r.make(names...)
	return r
}

func (r *reach) make(names ...string) {
	for _, n := range names {
		r.made[n] = true
	}
}

func (r *reach) drop(pattern string) {
	w := newWildcard(pattern, false)
	for n := range r.made {
		if w.match(n) {
			delete(r.made, n)
		}
	}
	r.gone[pattern] = true
}

// only leaves what matches the names: those of events are made by being named.
func (r *reach) only(names []string) *reach {
	out := newReach(false)
	for _, n := range names {
		if !strings.Contains(n, "*") {
			out.make(n)
			continue
		}
		w := newWildcard(n, false)
		for m := range r.made {
			if w.match(m) {
				out.make(m)
			}
		}
		out.loose = out.loose || r.open || r.loose
	}
	return out
}

func (r *reach) join(other *reach) {
	r.open, r.loose = r.open || other.open, r.loose || other.loose
	r.make(sortedKeys(other.made)...)
	for n := range other.made {
		delete(r.gone, n)
	}
}

// read accounts for a command that reads fields of r.
func (u *survey) read(r *reach, names ...string) {
	for _, n := range names {
		switch {
		case r.made[n]:
		case r.open && !r.gone[n]:
			u.fields[n] = true
		case !r.loose && !strings.Contains(n, "*"):
			u.missing[n] = true
		}
	}
}

func (u *survey) set(r *reach, set *fieldSet) {
	u.read(r, sortedKeys(set.names)...)
	u.read(r, set.globs...)
}

// expr reads what an expression reads; its subsearches start anew.
func (u *survey) expr(r *reach, es ...expr) {
	for _, e := range es {
		set := &fieldSet{}
		fieldsOf(e, set)
		u.set(r, set)
		walkExpr(e, func(n expr) {
			switch n := n.(type) {
			case *bracket:
				u.subsearch(r, n.sub)
			case *call:
				if s, ok := searchmatchOf(n); ok {
					u.search(r, s)
				}
			}
		})
	}
}

// searchmatchOf parses the search in a call of searchmatch.
func searchmatchOf(n *call) (searchExpr, bool) {
	if n.name != "searchmatch" || len(n.args) != 1 {
		return nil, false
	}
	s, ok := literalText(n.args[0])
	if !ok {
		return nil, false
	}
	e, err := newParser(&source{typed: s, expanded: s, segments: []segment{{0, 0, ""}}}).searchExpression()
	return e, err == nil
}

func (u *survey) search(r *reach, e searchExpr) {
	set := &fieldSet{}
	searchFields(e, set)
	u.set(r, set)
	walkSearch(e, func(n searchExpr) {
		if s, ok := n.(*searchSub); ok {
			u.subsearch(r, s.sub)
		}
		if f, ok := n.(*searchField); ok && f.from != nil {
			u.pipeline(f.from.commands, nil)
		}
	})
}

// subsearch reads, in r, the fields that the search in brackets puts there.
func (u *survey) subsearch(r *reach, sub *subsearch) {
	last := len(sub.commands) - 1
	switch c := sub.commands[last].(type) {
	case *returnCommand:
		u.pipeline(sub.commands, nil)
		for _, f := range c.fields {
			if !f.valueOnly {
				u.read(r, f.alias)
			}
		}
		return
	case *formatCommand:
		sub = &subsearch{sub.commands[:last], sub.pos}
	}
	for n := range u.pipeline(sub.commands, nil).made {
		if n[0] != '_' && n != "search" && n != "query" {
			u.read(r, n)
		}
	}
}

func (u *survey) aggregates(r *reach, list []aggregate) (names []string) {
	for i := range list {
		set := &fieldSet{}
		list[i].reads(set)
		if list[i].arg != nil {
			u.expr(r, list[i].arg)
		}
		u.set(r, set)
		names = append(names, list[i].as)
	}
	return names
}

// table notes that a lookup is read and returns its fields.
func (u *survey) table(name string) []string {
	u.lookups[name] = true
	if u.engine == nil {
		return nil
	}
	l, problem := u.engine.lookupByName(name)
	if problem != "" {
		return nil
	}
	return l.table.Fields
}

// pipeline follows commands from r, or from their own beginning.
func (u *survey) pipeline(cmds []command, r *reach) *reach {
	for _, c := range cmds {
		if g, ok := c.(*searchCommand); ok && r == nil {
			r = newReach(true)
			u.search(r, g.expr)
			continue
		}
		if r == nil {
			r = newReach(false)
		}
		r = u.command(c, r)
	}
	return r
}

func (u *survey) command(c command, r *reach) *reach {
	switch c := c.(type) {
	case *searchCommand:
		u.search(r, c.expr)
	case *whereCommand:
		u.expr(r, c.cond)
	case *regexCommand:
		u.read(r, c.field)
	case *headCommand:
		u.expr(r, c.cond)
	case *dedupCommand:
		u.read(r, c.fields...)
		u.keys(r, c.sortBy)
	case *sortCommand:
		u.keys(r, c.keys)
	case *evalCommand:
		for _, s := range c.sets {
			u.expr(r, s.value)
			if braced := bracedFields(s.field); len(braced) > 0 {
				u.read(r, braced...)
				r.loose = true
				continue
			}
			r.make(s.field)
		}
	case *fieldsCommand:
		if c.remove {
			for _, n := range c.names {
				r.drop(n)
			}
			break
		}
		u.read(r, c.names...)
		out := r.only(c.names)
		if c.name == "fields" {
			for _, n := range []string{"_time", "_raw"} {
				if r.open || r.made[n] {
					out.make(n)
				}
			}
		}
		return out
	case *renameCommand:
		for _, pair := range c.pairs {
			u.read(r, pair[0])
			r.drop(pair[0])
			if strings.Contains(pair[1], "*") {
				r.loose = true
			} else {
				r.make(pair[1])
			}
		}
	case *fillCommand:
		u.read(r, c.fields...)
		r.make(c.fields...)
	case *makemvCommand:
		u.read(r, c.field)
	case *mvexpandCommand:
		u.read(r, c.field)
	case *mvcombineCommand:
		u.read(r, c.field)
	case *nomvCommand:
		u.read(r, c.field)
	case *rexCommand:
		u.read(r, c.field)
		if c.re != nil {
			r.make(slices.DeleteFunc(slices.Clone(c.re.SubexpNames()), func(n string) bool { return n == "" })...)
		}
		if c.offset != "" {
			r.make(c.offset)
		}
	case *convertCommand:
		for _, v := range c.list {
			u.read(r, v.field)
			if !strings.Contains(v.as, "*") {
				r.make(v.as)
			}
		}
	case *addinfoCommand:
		r.make("info_min_time", "info_max_time", "info_search_time", "info_sid")
	case *foreachCommand:
		return u.foreach(c, r)
	case *spathCommand:
		u.read(r, c.input)
		if c.path == "" {
			r.loose = true
		} else {
			r.make(c.output)
		}
	case *tojsonCommand:
		u.read(r, c.order...)
		r.make(c.output)
	case *statsCommand:
		names := u.aggregates(r, c.list)
		u.read(r, c.by...)
		if c.name == "eventstats" {
			r.make(names...)
			break
		}
		return r.only(append(names, c.by...))
	case *streamCommand:
		names := u.aggregates(r, c.list)
		u.read(r, c.by...)
		u.expr(r, c.resetBefore, c.resetAfter)
		if c.timeWindow > 0 {
			u.read(r, "_time")
		}
		r.make(names...)
	case *topCommand:
		u.read(r, append(slices.Clone(c.by), c.fields...)...)
		out := newReach(false, append(slices.Clone(c.by), c.fields...)...)
		if c.showCount {
			out.make(c.countField)
		}
		if c.showPercent {
			out.make(c.percentField)
		}
		return out
	case *binCommand:
		u.read(r, c.field)
		r.make(c.as)
	case *chartCommand:
		names := u.aggregates(r, c.list)
		u.read(r, c.row)
		out := newReach(false, c.row)
		if c.column == "" {
			out.make(names...)
		} else {
			u.read(r, c.column)
			out.loose = true
		}
		return out
	case *lookupCommand:
		fields := u.table(c.table)
		for _, pair := range c.inputs {
			u.read(r, pair.event)
		}
		for _, pair := range c.outputs {
			r.make(pair.event)
		}
		if c.all {
			r.make(fields...)
		}
	case *inputlookupCommand:
		r.make(u.table(c.table)...)
	case *outputlookupCommand:
		u.written[c.table] = true
	case *appendCommand:
		if c.sameIn {
			sub := newReach(r.open)
			sub.join(r)
			r.join(u.pipeline(c.sub.commands, sub))
			break
		}
		r.join(u.pipeline(c.sub.commands, nil))
	case *makeresultsCommand:
		r.make("_time")
		r.loose = c.format != "" || c.annotate
	case *fromCommand:
		if c.lookup != nil {
			return newReach(false, u.table(c.lookup.table)...)
		}
		return u.model(c.model, newReach(true))
	case *tstatsCommand:
		return u.tstats(c)
	case *collectCommand:
		u.indexes[c.index] = true
	case *savedCommand:
		if q, err := c.query(&execution{engine: u.engine, env: &evalEnv{loc: time.UTC}, src: &source{}}); err == nil {
			return u.pipeline(q.commands, nil)
		}
	case *formatCommand:
		return newReach(false, "search")
	case *returnCommand:
		for _, f := range c.fields {
			u.read(r, f.field)
		}
		return newReach(false, "search")
	}
	return r
}

func (u *survey) keys(r *reach, keys []sortKey) {
	for _, k := range keys {
		u.read(r, k.field)
	}
}

// foreach follows the template for every field that is known to match.
func (u *survey) foreach(c *foreachCommand, r *reach) *reach {
	for _, pattern := range c.patterns {
		fields := []string{pattern}
		if strings.Contains(pattern, "*") {
			w := newWildcard(pattern, false)
			fields = slices.DeleteFunc(sortedKeys(r.made), func(n string) bool { return !w.match(n) })
			u.read(r, pattern)
			r.loose = r.loose || r.open
		}
		for _, f := range fields {
			if c.multivalue {
				u.read(r, f)
				r.make("__item", "__iter")
			}
			if cmds, err := c.instance(f, f, nil); err == nil {
				r = u.pipeline(cmds, r)
			}
		}
	}
	delete(r.made, "__item")
	delete(r.made, "__iter")
	return r
}

// model reads what a dataset's constraints and calculations read.
func (u *survey) model(s modelSource, r *reach) *reach {
	x := &execution{engine: u.engine, env: &evalEnv{loc: time.UTC}, src: &source{}}
	if u.engine == nil {
		return r
	}
	chain, err := x.resolveModel(s)
	if err != nil {
		return r
	}
	name, _, _ := strings.Cut(s.name, ".")
	u.models[name] = true
	for _, d := range chain {
		for _, constraint := range d.constraints {
			if p, err := x.inner(constraint, s, ""); err == nil {
				if e, err := p.searchExpression(); err == nil {
					u.search(r, e)
				}
			}
		}
		for _, ev := range d.evals {
			if p, err := x.inner(ev.expression, s, ""); err == nil {
				if e, err := p.wholeExpression(); err == nil {
					u.expr(r, e)
				}
			}
			r.make(ev.field)
		}
	}
	return r
}

func (u *survey) tstats(c *tstatsCommand) *reach {
	r := newReach(true)
	names := map[string]string{}
	if c.model != nil {
		r = u.model(*c.model, r)
		if u.engine != nil {
			names, _, _, _ = c.names(&execution{engine: u.engine, src: &source{}})
		}
	}
	plain := func(n string) string {
		if p, ok := names[n]; ok {
			return p
		}
		return n
	}
	list := slices.Clone(c.list)
	for i := range list {
		if list[i].field != "" {
			list[i].field = plain(list[i].field)
		}
	}
	made := u.aggregates(r, list)
	if c.where != nil {
		u.search(r, renameSearch(c.where, plain))
	}
	for _, b := range c.by {
		u.read(r, plain(b))
	}
	return newReach(false, append(made, c.by...)...)
}
