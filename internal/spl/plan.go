package spl

import (
	"context"
	"math"
	"strings"
)

// scan opens the first search of a pipeline over the store. What follows it is
// pushed down where it can be: the time range chooses the events, search and
// where commands that come next become tests of codes, and only the fields that
// are read further on are put into rows. It returns how many commands it took.
func (x *execution) scan(src *searchCommand, cmds []command) (*flow, int, error) {
	tree, own, err := x.resolve(src.expr)
	if err != nil {
		return nil, 0, err
	}
	r, err := x.timeBounds(tree, own)
	if err != nil {
		return nil, 0, err
	}
	x.searched = r
	taken := 1
	filters := []searchExpr{tree}
	again := src
	if hasSub(src.expr) {
		again = nil // another filter each time
	}
	var conditions []expr
	var rest *whereCommand
	for ; taken < len(cmds); taken++ {
		if s, ok := cmds[taken].(*searchCommand); ok && !hasTime(s.expr) {
			more, _, err := x.resolve(s.expr)
			if err != nil {
				return nil, 0, err
			}
			if len(conditions) > 0 {
				break // keeps the order in which conditions can fail
			}
			filters = append(filters, more)
			if hasSub(s.expr) {
				again = nil
			}
			continue
		}
		w, ok := cmds[taken].(*whereCommand)
		if !ok {
			break
		}
		var mixed []expr
		for _, e := range conjuncts(w.cond) {
			if len(mixed) == 0 && pushable(e) {
				conditions = append(conditions, e)
			} else {
				mixed = append(mixed, e)
			}
		}
		if len(mixed) > 0 {
			joined := mixed[0]
			for _, e := range mixed[1:] {
				joined = &operation{pos: e.at(), op: "AND", left: joined, right: e}
			}
			rest = &whereCommand{place: w.place, cond: joined}
			taken++
			break
		}
	}
	want := x.kept.wanted(src)
	if want == nil {
		want = &fieldSet{all: true}
		for i := len(cmds) - 1; i >= taken; i-- {
			want = cmds[i].need(want)
		}
		if rest != nil {
			want = rest.need(want)
		}
		x.kept.want(src, want)
	}
	f, err := x.events(again, searchAnd(anySlice(filters)), conditions, r, want)
	if err != nil {
		return nil, 0, err
	}
	if rest != nil {
		if f, err = rest.open(x, f); err != nil {
			return nil, 0, err
		}
	}
	return f, taken, nil
}

func anySlice(list []searchExpr) []searchExpr { return list }

func hasSub(e searchExpr) (found bool) {
	walkSearch(e, func(n searchExpr) {
		if _, ok := n.(*searchSub); ok {
			found = true
		}
		if f, ok := n.(*searchField); ok && f.from != nil {
			found = true
		}
	})
	return found
}

// conjuncts splits a condition at its ANDs: where keeps a row when all of them
// are true, whatever the others are.
func conjuncts(e expr) []expr {
	if b, ok := e.(*operation); ok && b.op == "AND" {
		return append(conjuncts(b.left), conjuncts(b.right)...)
	}
	return []expr{e}
}

// pushable tells whether a condition reads one field and nothing that changes
// from event to event.
func pushable(e expr) bool {
	set := &fieldSet{}
	fieldsOf(e, set)
	constant := len(set.names) == 1 && !set.all
	walkExpr(e, func(n expr) {
		if c, ok := n.(*call); ok && c.name == "random" {
			constant = false
		}
	})
	return constant
}

// resolve runs the subsearches of a search expression and puts their text in
// their place; it tells whether the expression has time modifiers of its own.
func (x *execution) resolve(e searchExpr) (searchExpr, bool, error) {
	own := false
	var walk func(e searchExpr) (searchExpr, error)
	list := func(es []searchExpr) ([]searchExpr, error) {
		out := make([]searchExpr, len(es))
		for i, e := range es {
			r, err := walk(e)
			if err != nil {
				return nil, err
			}
			out[i] = r
		}
		return out, nil
	}
	walk = func(e searchExpr) (searchExpr, error) {
		switch n := e.(type) {
		case searchAnd:
			out, err := list(n)
			return searchAnd(out), err
		case searchOr:
			out, err := list(n)
			return searchOr(out), err
		case searchNot:
			arg, err := walk(n.arg)
			return searchNot{arg}, err
		case *searchTime:
			if !strings.HasPrefix(n.name, "_index") {
				own = true
			}
		case *searchField:
			if n.from == nil {
				return e, nil
			}
			s, err := x.filterText(n.from)
			if err != nil {
				return nil, err
			}
			p := n.parser.within(s, 0)
			p.fixed = n.from.pos
			return p.returnedValue(n)
		case *searchSub:
			s, err := x.filterText(n.sub)
			if err != nil {
				return nil, err
			}
			p := n.parser.within(s, 0)
			p.fixed = n.sub.pos
			inner, err := p.searchExpression()
			if err != nil {
				return nil, err
			}
			if !p.eof() {
				return nil, p.refuse(p.pos, "the subsearch returns a text that is no search expression")
			}
			return walk(inner)
		}
		return e, nil
	}
	out, err := walk(e)
	return out, own, err
}

// returnedValue reads what a subsearch put into the place of a value.
func (p *parser) returnedValue(f *searchField) (searchExpr, error) {
	var value string
	var err error
	if p.space(); p.peek() == '"' {
		value, err = p.searchPhrase()
	} else {
		value = p.bare(`|][()"`)
	}
	if p.space(); err != nil || value == "" || !p.eof() {
		return nil, p.refuse(0, "the subsearch returns %q, which is not the one value that %s%s needs: let it return $field", p.text, f.name, f.op)
	}
	if strings.Contains(value, "*") && f.op != "=" && f.op != "!=" {
		return nil, p.refuse(0, "a wildcard can't be ordered: %s takes a plain value", f.op)
	}
	return &searchField{pos: f.pos, name: f.name, op: f.op, values: []string{value}}, nil
}

// bounds is what a search expression says of a time; open sides are infinite.
func (x *execution) bounds(e searchExpr, prefix string) (r timeRange, said bool, err error) {
	r = allTime
	switch n := e.(type) {
	case *searchTime:
		name, ok := strings.CutPrefix(n.name, prefix)
		if !ok || name != "earliest" && name != "latest" {
			return r, false, nil
		}
		m, err := parseTimeModifier(n.value)
		if err != nil {
			return r, false, x.refuse(n.pos, "%s: %s", n.name, err)
		}
		if t := m.resolve(x.env.now, x.env.loc); name == "earliest" {
			r.earliest = t
		} else {
			r.latest = t
		}
		return r, true, nil
	case searchAnd:
		for _, e := range n {
			one, s, err := x.bounds(e, prefix)
			if err != nil {
				return r, false, err
			}
			r.earliest, r.latest = math.Max(r.earliest, one.earliest), math.Min(r.latest, one.latest)
			said = said || s
		}
		return r, said, nil
	case searchOr:
		r = timeRange{math.Inf(1), math.Inf(-1)}
		silent := false
		for _, e := range n {
			one, s, err := x.bounds(e, prefix)
			if err != nil {
				return r, false, err
			}
			r.earliest, r.latest = math.Min(r.earliest, one.earliest), math.Max(r.latest, one.latest)
			said = said || s
			silent = silent || !s
		}
		if !said || silent {
			return allTime, said, nil
		}
		return r, true, nil
	}
	return r, false, nil
}

// timeBounds is the range over which a search runs: its own times where it has
// some (a latest that is missing is now), otherwise the picker's.
func (x *execution) timeBounds(e searchExpr, own bool) (timeRange, error) {
	if !own {
		return x.picker, nil
	}
	if err := x.evenBranches(e); err != nil {
		return allTime, err
	}
	r, _, err := x.bounds(e, "")
	if err != nil {
		return r, err
	}
	if r.latest >= endOfTime {
		r.latest = x.env.now
	}
	if r.earliest <= -endOfTime {
		// Only latest is given: the documentation tells of no default for
		// earliest then, the picker's stays.
		r.earliest = x.picker.earliest
	}
	return r, nil
}

// evenBranches refuses an OR of which some branches have a time and others
// have none.
func (x *execution) evenBranches(e searchExpr) error {
	var err error
	walkSearch(e, func(n searchExpr) {
		or, ok := n.(searchOr)
		if !ok {
			return
		}
		with, at := 0, 0
		for _, branch := range or {
			walkSearch(branch, func(m searchExpr) {
				if t, ok := m.(*searchTime); ok {
					at = t.pos
				}
			})
			if hasTime(branch) {
				with++
			}
		}
		if with > 0 && with < len(or) && err == nil {
			err = x.refuse(at, "a time modifier in one branch of an OR and none in another is not known: give each branch its own, or put it outside")
		}
	})
	return err
}

const batchRows = 2048

// events opens a flow of the events of a time range that pass filters and
// conditions, with the wanted fields. src is the command that asks, where it is
// one that a kept query asks again.
func (x *execution) events(src *searchCommand, filter searchExpr, conditions []expr, r timeRange, want *fieldSet) (*flow, error) {
	s := x.engine.Store
	if s == nil {
		s = NewStore(nil)
	}
	indexRange, _, err := x.bounds(filter, "_index_")
	if err != nil {
		return nil, err
	}
	lookups := s.props.lookupsFor(filter, conditions, want)
	var known *postings
	if lookups == nil {
		if known, err = x.postings(src, filter); err != nil {
			return nil, err
		}
	}
	var ids []uint32
	if known != nil {
		ids = known.between(s, r, indexRange)
	} else {
		ids = s.candidates(r, indexRange)
	}
	if err := x.defaultDatetime(s, filter, conditions, want); err != nil {
		return nil, err
	}
	codes := codeTests{x, s, len(ids)}
	var tests []func(id uint32) bool
	late := want
	if lookups != nil {
		// A field of an automatic lookup is wanted or tested: the lookups run on
		// every event, and the tests after them on rows.
		late = want.clone()
		searchFields(filter, late)
		for _, e := range conditions {
			fieldsOf(e, late)
		}
		lookups.need(late)
	} else if known == nil || len(ids) > 0 {
		t, err := codes.test(filter)
		if err != nil {
			return nil, err
		}
		tests = append(tests, t)
		for _, e := range conditions {
			t, err := codes.condition(e)
			if err != nil {
				return nil, err
			}
			tests = append(tests, t)
		}
	}
	sc := newSchema()
	load := s.loaders(sc, late)
	left := len(ids) // newest first
	f := &flow{sc, func() ([]Row, error) {
		width := len(sc.names)
		rows := make([]Row, 0, min(batchRows, left))
		var cells []Value
		for left > 0 && len(rows) < batchRows {
			if left%65536 == 0 {
				if err := x.ctx.Err(); err != nil {
					return nil, err
				}
			}
			left--
			id := ids[left]
			pass := true
			for _, t := range tests {
				if !t(id) {
					pass = false
					break
				}
			}
			if !pass {
				continue
			}
			if len(cells) < width {
				cells = make([]Value, width*min(256, left+1))
			}
			row := Row(cells[:width:width])
			cells = cells[width:]
			for i := range load {
				load[i].into(s, row, id)
			}
			rows = append(rows, row)
		}
		if err := x.env.takeFailure(); err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			return nil, nil
		}
		return rows, nil
	}}
	if lookups == nil {
		return f, nil
	}
	if f, err = lookups.open(x, f); err != nil {
		return nil, err
	}
	c := &compiler{sc: f.sc, env: x.env}
	test, err := c.searchTest(filter)
	if err != nil {
		return nil, err
	}
	var conds []evalFn
	for _, e := range conditions {
		fn, err := c.condition(e, "where")
		if err != nil {
			return nil, err
		}
		conds = append(conds, fn)
	}
	return x.filterMap(f, func(r *Row) (bool, error) {
		if !test(*r) {
			return false, nil
		}
		for _, fn := range conds {
			if !fn(*r).isTrue() {
				return false, nil
			}
		}
		return true, nil
	}), nil
}

// defaultDatetime refuses date_hour and its like where no event has them: Splunk
// makes them of an event's own timestamp, so that nothing would be found here.
func (x *execution) defaultDatetime(s *Store, filter searchExpr, conditions []expr, want *fieldSet) error {
	read := want.clone()
	searchFields(filter, read)
	for _, e := range conditions {
		fieldsOf(e, read)
	}
	for _, n := range []string{"date_hour", "date_mday", "date_minute", "date_month", "date_second", "date_wday", "date_year", "date_zone"} {
		if read.names[n] && s.columns[n] == nil {
			return x.refuse(0, "%s: the default datetime fields are not known here: use strftime(_time, ...)", n)
		}
	}
	return nil
}

// loader puts one field of an event into its place in a row.
type loader struct {
	slot   int
	column *column
	meta   byte // t(ime), i(ndextime), r(aw), w: raw where it is a field
}

func (l *loader) into(s *Store, row Row, id uint32) {
	if l.column != nil {
		if code := l.column.code(id); code != 0 {
			row[l.slot] = l.column.dict.value(code)
		}
		return
	}
	row[l.slot] = s.meta(l.meta, id)
}

func (s *Store) meta(what byte, id uint32) Value {
	switch what {
	case 't':
		if s.times[id] <= -endOfTime {
			return null
		}
		return number(s.times[id])
	case 'i':
		if s.indexed[id] <= -endOfTime {
			return null
		}
		return number(s.indexed[id])
	case 'w':
		if !s.rawKind[id] {
			return null
		}
	}
	return dataText(s.raw.get(id))
}

// rawIfField asks for _raw of the events of which it is a field; _raw itself
// also gives the line that a flat row was read from.
const rawIfField = "_raw?"

func (s *Store) loaders(sc *schema, want *fieldSet) []loader {
	var out []loader
	meta := func(name string, what byte) {
		out = append(out, loader{slot: sc.declare(name), meta: what})
	}
	if want.has("_time") {
		meta("_time", 't')
	}
	if !want.all && want.names["_indextime"] {
		meta("_indextime", 'i')
	}
	switch {
	case want.names["_raw"]:
		meta("_raw", 'r')
	case want.all || want.names[rawIfField]:
		meta("_raw", 'w')
	}
	for _, n := range s.names {
		c := s.columns[n]
		if c.hidden && !want.names[n] || !want.has(n) || n == "_raw" || n == "_time" || n == "_indextime" {
			continue
		}
		out = append(out, loader{slot: sc.declare(n), column: c})
	}
	return out
}

// codeTests compiles conditions to tests of an event's codes. Each value of a
// dictionary is tested once.
type codeTests struct {
	x      *execution
	s      *Store
	events int // that will be tested, about
}

func (ct codeTests) test(e searchExpr) (func(id uint32) bool, error) {
	x, s := ct.x, ct.s
	if test, ok, err := joined(e, ct.test); ok {
		return test, err
	}
	switch n := e.(type) {
	case *searchField:
		return ct.memo(n.name, n.matcher()), nil
	case *searchText:
		test := textMatcher(n.text)
		return func(id uint32) bool { return test(s.raw.get(id)) }, nil
	case *searchTime:
		m, err := parseTimeModifier(n.value)
		if err != nil {
			return nil, x.refuse(n.pos, "%s: %s", n.name, err)
		}
		limit := m.resolve(x.env.now, x.env.loc)
		times := s.times
		if strings.HasPrefix(n.name, "_index") {
			times = s.indexed
		}
		if strings.HasSuffix(n.name, "earliest") {
			return func(id uint32) bool { return times[id] >= limit }, nil
		}
		return func(id uint32) bool { return times[id] < limit }, nil
	}
	return nil, x.refuse(0, "a search expression of unknown kind %T", e)
}

// condition compiles a where condition on one field the same way.
func (ct codeTests) condition(e expr) (func(id uint32) bool, error) {
	set := &fieldSet{}
	fieldsOf(e, set)
	field := set.sorted()[0]
	sc := newSchema(field)
	c := &compiler{sc: sc, env: ct.x.env}
	fn, err := c.condition(e, "where")
	if err != nil {
		return nil, err
	}
	row := make(Row, 1)
	return ct.memo(field, func(v Value) bool {
		row[0] = v
		return fn(row).isTrue()
	}), nil
}

// memo makes a test of a field's value a test of events that asks once for
// each code of the field's dictionary.
func (ct codeTests) memo(field string, test func(Value) bool) func(id uint32) bool {
	s := ct.s
	switch field {
	case "_time", "_indextime", "_raw":
		return func(id uint32) bool { return test(s.meta(field[1], id)) }
	}
	missing := null
	if field == "index" {
		missing = dataText("main") // where a flat row that names no index would be
	}
	c := s.columns[field]
	if c == nil {
		known := test(missing)
		return func(uint32) bool { return known }
	}
	if c.dict.len() > 4*ct.events {
		return func(id uint32) bool { // few events: most values are never asked for
			if code := c.code(id); code != 0 {
				return test(c.dict.value(code))
			}
			return test(missing)
		}
	}
	known := make([]uint8, c.dict.len()+1)
	return func(id uint32) bool {
		code := c.code(id)
		k := known[code]
		if k == 0 {
			v := missing
			if code != 0 {
				v = c.dict.value(code)
			}
			k = 1
			if test(v) {
				k = 2
			}
			known[code] = k
		}
		return k == 2
	}
}

// Delete removes the events that a search finds, as somebody with the right to
// does in Splunk, and tells how many there were. The search is one search
// command without anything behind it.
func (e *Engine) Delete(ctx context.Context, search string, params Params) (int, error) {
	q, err := e.Parse(search, params.Now)
	if err != nil {
		return 0, err
	}
	src, ok := q.commands[0].(*searchCommand)
	if !ok || len(q.commands) > 1 {
		return 0, q.src.refusal(0, "delete takes one search command, without a pipeline")
	}
	x, err := e.execution(ctx, q, params)
	if err != nil {
		return 0, err
	}
	tree, own, err := x.resolve(src.expr)
	if err != nil {
		return 0, err
	}
	r, err := x.timeBounds(tree, own)
	if err != nil {
		return 0, err
	}
	ids := e.Store.candidates(r, allTime)
	test, err := codeTests{x, e.Store, len(ids)}.test(tree)
	if err != nil {
		return 0, err
	}
	var found []uint32
	for _, id := range ids {
		if test(id) {
			found = append(found, id)
		}
	}
	e.Store.delete(found)
	return len(found), nil
}
