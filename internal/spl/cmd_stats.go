package spl

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// stats, eventstats

type statsCommand struct {
	place
	list   []aggregate
	by     []string
	allNum bool
}

func parseStats(p *parser, at place) (command, error) {
	c := &statsCommand{place: at}
	if err := p.options(func(o option) (err error) {
		switch o.key {
		case "allnum":
			c.allNum, err = p.boolOption(at.name, o)
		case "partitions": // spreads the work in Splunk, changes no result
			if at.name != "stats" {
				return p.unknownOption(at.name, o, "allnum")
			}
			_, err = p.intOption(at.name, o, 0)
		default:
			return p.unknownOption(at.name, o, "allnum")
		}
		return err
	}); err != nil {
		return nil, err
	}
	var err error
	if c.list, err = p.aggregates(at.name, "BY"); err != nil {
		return nil, err
	}
	for i := range c.list {
		c.list[i].allNum = c.allNum
	}
	if c.by, err = p.byFields(at.name); err != nil {
		return nil, err
	}
	for _, a := range c.list {
		for _, b := range c.by {
			if a.as == b {
				return nil, p.src.refusal(a.pos, "%s: the aggregation %q would overwrite the field that it is grouped by", at.name, b)
			}
		}
	}
	return c, nil
}

func (c *statsCommand) need(out *fieldSet) *fieldSet {
	in := &fieldSet{}
	if c.name == "eventstats" {
		in = out.clone()
		for _, a := range c.list {
			in = in.without(a.as)
		}
	}
	in.add(c.by...)
	for _, a := range c.list {
		a.reads(in)
	}
	return in
}

func (c *statsCommand) check(x *execution) error {
	_, err := x.compileAggregates(c.list, newSchema())
	return err
}

// prepare resolves wildcards, which need the rows, and compiles.
func (x *execution) prepareAggregates(list []aggregate, by []string, in *flow, who string) ([]compiledAggregate, *flow, error) {
	if hasWildcard(list) {
		rows, err := x.collect(in, who)
		if err != nil {
			return nil, nil, err
		}
		used := map[string]bool{}
		for _, s := range usedSlots(rows, in.sc) {
			used[in.sc.names[s]] = true
		}
		list = expandAggregates(list, func(pattern string) []string {
			var out []string
			for _, n := range in.sc.present(pattern) {
				if used[n] {
					out = append(out, n)
				}
			}
			sort.Strings(out)
			return out
		}, by)
		in = flowOf(in.sc, rows)
	}
	compiled, err := x.compileAggregates(list, in.sc)
	return compiled, in, err
}

func slotsOf(sc *schema, names []string) []int {
	out := make([]int, len(names))
	for i, n := range names {
		out[i] = sc.slot(n)
	}
	return out
}

func (c *statsCommand) open(x *execution, in *flow) (*flow, error) {
	list, in, err := x.prepareAggregates(c.list, c.by, in, c.name)
	if err != nil {
		return nil, err
	}
	g := x.newGroups(c.name, list, slotsOf(in.sc, c.by))
	if c.name == "eventstats" {
		return c.openEvent(x, in, g, list)
	}
	if err := g.drain(in); err != nil {
		return nil, err
	}
	if len(c.by) == 0 && len(g.order) == 0 {
		// Without BY there is one row, also of no events: a count is 0.
		if _, err := g.at(nil, func() []Value { return nil }); err != nil {
			return nil, err
		}
	}
	sc := newSchema(c.by...)
	for _, a := range list {
		sc.declare(a.as)
	}
	return g.rows(sc), nil
}

// rows gives a row for each group, in their order, and forgets the group.
func (g *groups) rows(sc *schema) *flow {
	sorted := g.sorted()
	width := len(sc.names)
	return &flow{sc, func() ([]Row, error) {
		n := min(batchRows, len(sorted))
		if n == 0 {
			return nil, nil
		}
		rows := make([]Row, n)
		for i := range rows {
			row := make(Row, max(width, len(sc.names)))
			copy(row, sorted[i].by)
			for j, acc := range sorted[i].acc {
				row[len(g.slots)+j] = acc.result()
			}
			rows[i], sorted[i] = row, nil
		}
		sorted = sorted[n:]
		return rows, nil
	}}
}

func (c *statsCommand) openEvent(x *execution, in *flow, g *groups, list []compiledAggregate) (*flow, error) {
	slots := make([]int, len(list)) // before the rows are made, so that they have the room
	for i, a := range list {
		slots[i] = in.sc.declare(a.as)
	}
	rows, err := x.collect(in, c.name)
	if err != nil {
		return nil, err
	}
	of := make([]*group, len(rows))
	var buf []byte
	for i, r := range rows {
		buf = buf[:0]
		whole := true
		for _, s := range g.slots {
			v := r.get(s)
			switch v.kind {
			case kindNull:
				whole = false
			case kindMulti:
				return nil, x.refuse(c.pos, "eventstats by a field with several values is not documented: mvexpand it first")
			}
			buf = v.appendKey(buf)
		}
		if !whole {
			continue // passes without the new fields
		}
		gr, err := g.at(buf, func() []Value { return nil })
		if err != nil {
			return nil, err
		}
		feed(list, gr.acc, r)
		of[i] = gr
	}
	if err := x.env.takeFailure(); err != nil {
		return nil, err
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	for _, gr := range g.order { // the BY values were not kept: their place is free
		gr.by = make([]Value, len(list))
		for i := range list {
			gr.by[i] = gr.acc[i].result()
		}
	}
	for i := range rows {
		if of[i] == nil {
			continue
		}
		for j, v := range of[i].by {
			rows[i].set(slots[j], v)
		}
	}
	return flowOf(in.sc, rows), nil
}

// streamstats

const maxWindow = 10_000 // limits.conf, max_stream_window

type streamCommand struct {
	place
	list                      []aggregate
	by                        []string
	current, global, onChange bool
	allNum                    bool
	window                    int
	timeWindow                float64
	resetBefore, resetAfter   expr
}

var streamOptions = []string{"current", "window", "time_window", "global", "allnum", "reset_on_change", "reset_before", "reset_after"}

func parseStreamstats(p *parser, at place) (command, error) {
	c := &streamCommand{place: at, current: true, global: true}
	if err := c.options(p); err != nil {
		return nil, err
	}
	var err error
	if c.list, err = p.aggregates("streamstats", append([]string{"BY"}, streamOptions...)...); err != nil {
		return nil, err
	}
	if err := c.options(p); err != nil {
		return nil, err
	}
	for i, a := range c.list {
		c.list[i].allNum = c.allNum
		if strings.Contains(a.field, "*") {
			return nil, p.src.refusal(a.pos, "streamstats: a wildcard is not known here, name the fields")
		}
	}
	if c.by, err = p.byFields("streamstats", streamOptions...); err != nil {
		return nil, err
	}
	return c, c.options(p)
}

// options takes options where they stand: before the aggregations, after them
// or after the BY fields.
func (c *streamCommand) options(p *parser) error {
	for {
		if e, key, ok, err := p.resetOption(); err != nil {
			return err
		} else if ok {
			if key == "reset_before" {
				c.resetBefore = e
			} else {
				c.resetAfter = e
			}
			continue
		}
		o, ok, err := p.option()
		if err != nil || !ok {
			return err
		}
		switch o.key {
		case "current":
			c.current, err = p.boolOption("streamstats", o)
		case "global":
			c.global, err = p.boolOption("streamstats", o)
		case "allnum":
			c.allNum, err = p.boolOption("streamstats", o)
		case "reset_on_change":
			c.onChange, err = p.boolOption("streamstats", o)
		case "window":
			if c.window, err = p.intOption("streamstats", o, 0); err == nil && c.window > maxWindow {
				err = p.refuse(o.pos, "streamstats: a window is at most %d events", maxWindow)
			}
		case "time_window":
			var s span
			if s, err = p.span("streamstats: time_window", o, false); err == nil {
				switch s.unit {
				case 's', 'm', 'h', 'd':
					c.timeWindow = float64(s.n) * map[byte]float64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400}[s.unit]
				default:
					err = p.refuse(o.pos, "streamstats: time_window is known in s, m, h and d")
				}
			}
		default:
			err = p.unknownOption("streamstats", o, streamOptions...)
		}
		if err != nil {
			return err
		}
	}
}

// closingCondition finds the ")" of a quoted condition: its " is not escaped.
var closingCondition = regexp.MustCompile(`[^\\]"\)"`)

// resetOption takes reset_before=(...) or reset_after=(...), also as the
// documentation quotes it: reset_after="("match(a,\"b\")")".
func (p *parser) resetOption() (expr, string, bool, error) {
	key := strings.ToLower(p.peekWord())
	if key != "reset_before" && key != "reset_after" {
		return nil, "", false, nil
	}
	at := p.pos
	p.pos += len(key)
	if !p.accept('=') {
		p.pos = at
		return nil, "", false, nil
	}
	p.space()
	if p.peek() == '"' {
		qAt := p.pos
		if strings.HasPrefix(p.text[p.pos:], `"("`) {
			m := closingCondition.FindStringIndex(p.text[qAt:])
			if m == nil {
				return nil, key, false, p.refuse(qAt, `streamstats: the condition that "(" begins has no closing ")"`)
			}
			body := unescape(p.text[qAt+3 : qAt+m[1]-3])
			p.pos += m[1]
			e, err := p.within(body, qAt).wholeExpression()
			return e, key, true, err
		}
		s, err := p.quoted()
		if err != nil {
			return nil, key, false, err
		}
		e, err := p.within(s, qAt).wholeExpression()
		return e, key, true, err
	}
	if p.peek() != '(' {
		return nil, key, false, p.refuse(at, "streamstats: %s takes a condition in parentheses", key)
	}
	e, err := p.operand()
	return e, key, true, err
}

func (c *streamCommand) need(out *fieldSet) *fieldSet {
	in := out.clone()
	for _, a := range c.list {
		in = in.without(a.as)
	}
	in.add(c.by...)
	for _, a := range c.list {
		a.reads(in)
	}
	if c.timeWindow > 0 {
		in.add("_time")
	}
	fieldsOf(c.resetBefore, in)
	fieldsOf(c.resetAfter, in)
	return in
}

func (c *streamCommand) check(x *execution) error {
	sc := newSchema()
	for _, e := range []expr{c.resetBefore, c.resetAfter} {
		if e != nil {
			if _, err := (&compiler{sc: sc, env: x.env}).condition(e, "streamstats"); err != nil {
				return err
			}
		}
	}
	_, err := x.compileAggregates(c.list, sc)
	return err
}

// streamEntry is a row in a window: what the aggregations saw of it.
type streamEntry struct {
	key  string
	time float64
	row  Row // of the aggregations' values, and the time last
}

func (c *streamCommand) open(x *execution, in *flow) (*flow, error) {
	list, err := x.compileAggregates(c.list, in.sc)
	if err != nil {
		return nil, err
	}
	cmp := &compiler{sc: in.sc, env: x.env}
	var before, after evalFn
	if c.resetBefore != nil {
		if before, err = cmp.condition(c.resetBefore, "streamstats"); err != nil {
			return nil, err
		}
	}
	if c.resetAfter != nil {
		if after, err = cmp.condition(c.resetAfter, "streamstats"); err != nil {
			return nil, err
		}
	}
	by, timeSlot := slotsOf(in.sc, c.by), in.sc.slot("_time")
	slots := make([]int, len(list))
	for i, a := range list {
		slots[i] = in.sc.declare(a.as)
	}
	st := &streamState{x: x, c: c, list: list}
	st.reset()
	last, lastKey, seenAny := math.NaN(), "", false
	var buf []byte
	return x.filterMap(in, func(r *Row) (bool, error) {
		buf = buf[:0]
		for _, s := range by {
			v := r.get(s)
			switch v.kind {
			case kindNull:
				return true, nil // no group: passes without the new fields
			case kindMulti:
				return false, x.refuse(c.pos, "streamstats by a field with several values is not documented: mvexpand it first")
			}
			buf = v.appendKey(buf)
		}
		key := string(buf)
		at, hasTime := r.get(timeSlot).Float()
		if c.timeWindow > 0 {
			if !hasTime {
				return false, x.refuse(c.pos, "streamstats: time_window needs _time on every event")
			}
			if !math.IsNaN(last) && at != last {
				direction := 1
				if at < last {
					direction = -1
				}
				if st.direction == 0 {
					st.direction = direction
				}
				if st.direction != direction {
					return false, x.refuse(c.pos, "streamstats: time_window needs events in the order of their time, ascending or descending: sort 0 _time before it")
				}
			}
			last = at
		}
		if c.onChange && seenAny && key != lastKey {
			st.reset()
		}
		lastKey, seenAny = key, true
		if before != nil && before(*r).isTrue() {
			st.reset()
		}
		results, err := st.next(key, at, *r)
		if err != nil {
			return false, err
		}
		for i, v := range results {
			r.set(slots[i], v)
		}
		if after != nil && after(*r).isTrue() {
			st.reset()
		}
		return true, nil
	}), nil
}

type streamState struct {
	x         *execution
	c         *streamCommand
	list      []compiledAggregate
	running   map[string][]accumulator
	windows   map[string][]streamEntry // by group, or all under "" where global
	held      int
	direction int
}

func (s *streamState) reset() {
	s.running, s.windows = map[string][]accumulator{}, map[string][]streamEntry{}
}

// next accounts for a row and returns the aggregations as they stand with it,
// or before it where current is false.
func (s *streamState) next(key string, at float64, r Row) ([]Value, error) {
	c := s.c
	if c.window == 0 && c.timeWindow == 0 {
		acc, ok := s.running[key]
		if !ok {
			if len(s.running) >= s.x.limits.Groups {
				return nil, fmt.Errorf("streamstats makes more than %d groups (limit Groups)", s.x.limits.Groups)
			}
			acc = newAccumulators(s.list, &s.held)
			s.running[key] = acc
		}
		if !c.current {
			out := s.results(acc)
			feed(s.list, acc, r)
			return out, s.check()
		}
		feed(s.list, acc, r)
		return s.results(acc), s.check()
	}
	group := key
	if c.global {
		group = ""
	}
	entry := streamEntry{key: key, time: at, row: make(Row, len(s.list)+1)}
	for i, a := range s.list {
		if a.value != nil {
			entry.row[i] = a.value(r)
		}
	}
	entry.row[len(s.list)] = number(at)
	window := s.windows[group]
	if c.current {
		window = append(window, entry)
	}
	if c.timeWindow > 0 {
		// An event exactly one window away is outside, as a bucket's end is.
		for len(window) > 0 && math.Abs(at-window[0].time) >= c.timeWindow {
			window = window[1:]
		}
		if len(window) > maxWindow {
			return nil, s.x.refuse(c.pos, "streamstats: more than %d events within one time_window", maxWindow)
		}
	}
	if c.window > 0 && len(window) > c.window {
		window = window[len(window)-c.window:]
	}
	acc := newAccumulators(s.list, new(int))
	bound := s.overEntries()
	for _, e := range window {
		if e.key == key {
			feed(bound, acc, e.row)
		}
	}
	if err := s.x.step(len(window), "streamstats"); err != nil {
		return nil, err
	}
	if !c.current {
		window = append(window, entry)
	}
	s.windows[group] = window
	return s.results(acc), nil
}

// overEntries are the aggregations bound to the rows of entries.
func (s *streamState) overEntries() []compiledAggregate {
	bound := make([]compiledAggregate, len(s.list))
	for i, a := range s.list {
		bound[i] = compiledAggregate{aggregate: a.aggregate, time: len(s.list)}
		if a.value != nil {
			bound[i].value = func(r Row) Value { return r[i] }
		}
	}
	return bound
}

func (s *streamState) results(acc []accumulator) []Value {
	out := make([]Value, len(acc))
	for i, a := range acc {
		out[i] = a.result()
	}
	return out
}

func (s *streamState) check() error {
	if s.held > s.x.limits.Cells {
		return fmt.Errorf("streamstats holds more than %d values (limit Cells)", s.x.limits.Cells)
	}
	// Each row's result visits what some aggregations keep.
	return s.x.step(1, "streamstats")
}

// top, rare

type topCommand struct {
	place
	limit                    int
	fields, by               []string
	countField, percentField string
	showCount, showPercent   bool
	useOther                 bool
	other                    string
}

func parseTop(p *parser, at place) (command, error) {
	c := &topCommand{place: at, limit: 10, countField: "count", percentField: "percent", showCount: true, showPercent: true, other: "OTHER"}
	known := []string{"limit", "countfield", "percentfield", "showcount", "showperc"}
	if at.name == "top" {
		known = append(known, "useother", "otherstr")
	}
	for !p.done() {
		p.accept(',')
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if ok {
			switch {
			case o.key == "limit":
				c.limit, err = p.intOption(at.name, o, 0)
			case o.key == "countfield":
				c.countField = o.value
			case o.key == "percentfield":
				c.percentField = o.value
			case o.key == "showcount":
				c.showCount, err = p.boolOption(at.name, o)
			case o.key == "showperc":
				c.showPercent, err = p.boolOption(at.name, o)
			case o.key == "useother" && at.name == "top":
				c.useOther, err = p.boolOption(at.name, o)
			case o.key == "otherstr" && at.name == "top":
				c.other = o.value
			default:
				err = p.unknownOption(at.name, o, known...)
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		if len(c.fields) == 0 {
			if b := p.peek(); b-'0' <= 9 {
				if c.limit, err = p.count(at.name); err != nil {
					return nil, err
				}
				continue
			}
		}
		if strings.EqualFold(p.peekWord(), "by") && len(c.fields) > 0 && len(c.by) == 0 {
			if c.by, err = p.byFields(at.name, known...); err != nil {
				return nil, err
			}
			continue
		}
		if len(c.by) > 0 {
			break
		}
		f, err := p.plainField(at.name)
		if err != nil {
			return nil, err
		}
		c.fields = append(c.fields, f)
	}
	if len(c.fields) == 0 {
		return nil, p.refuse(p.pos, "%s needs at least one field", at.name)
	}
	for _, made := range []string{c.countField, c.percentField} {
		for _, f := range append(append([]string(nil), c.fields...), c.by...) {
			if f == made && (made == c.countField && c.showCount || made == c.percentField && c.showPercent) {
				return nil, p.refuse(at.pos, "%s: the field %q is in the way of its own %q: choose another with countfield or percentfield", at.name, f, made)
			}
		}
	}
	return c, nil
}

func (c *topCommand) need(*fieldSet) *fieldSet {
	in := &fieldSet{}
	in.add(c.fields...)
	in.add(c.by...)
	return in
}

func (c *topCommand) open(x *execution, in *flow) (*flow, error) {
	count := []compiledAggregate{{aggregate: aggregate{fn: "count"}}}
	names := append(append([]string(nil), c.by...), c.fields...)
	g := x.newGroups(c.name, count, slotsOf(in.sc, names))
	if err := g.drain(in); err != nil {
		return nil, err
	}
	sc := newSchema(names...)
	if c.showCount {
		sc.declare(c.countField)
	}
	if c.showPercent {
		sc.declare(c.percentField)
	}
	parts := map[string][]*group{}
	var order []string
	for _, gr := range g.sorted() {
		var key []byte
		for _, v := range gr.by[:len(c.by)] {
			key = v.appendKey(key)
		}
		if _, ok := parts[string(key)]; !ok {
			order = append(order, string(key))
		}
		parts[string(key)] = append(parts[string(key)], gr)
	}
	n := func(gr *group) int { return gr.acc[0].(*counter).n }
	var rows []Row
	for _, key := range order {
		part := parts[key]
		total := 0
		for _, gr := range part {
			total += n(gr)
		}
		if c.name == "rare" {
			sort.SliceStable(part, func(i, j int) bool { return n(part[i]) < n(part[j]) })
			if c.limit > 0 && len(part) > c.limit && n(part[c.limit-1]) == n(part[c.limit]) {
				return nil, x.refuse(c.pos, "rare: several values are equally rare where limit=%d cuts, and which of them Splunk keeps is not documented: write limit=0", c.limit)
			}
		} else {
			// Of values that are equally common the lexicographically last comes
			// first (Search Reference, "top", lexicographic order of results).
			slices.Reverse(part)
			sort.SliceStable(part, func(i, j int) bool { return n(part[i]) > n(part[j]) })
		}
		emit := func(by []Value, count int) {
			row := make(Row, len(sc.names))
			copy(row, by)
			if c.showCount {
				row.set(sc.slot(c.countField), number(float64(count)))
			}
			if c.showPercent {
				s := roundDecimal(100*float64(count)/float64(total), 6)
				f, _ := parseNumber(s)
				row.set(sc.slot(c.percentField), spelled(f, s))
			}
			rows = append(rows, row)
		}
		rest := 0
		for i, gr := range part {
			if c.limit > 0 && i >= c.limit {
				rest += n(gr)
				continue
			}
			emit(gr.by, n(gr))
		}
		if rest > 0 && c.useOther {
			by := append([]Value(nil), part[0].by[:len(c.by)]...)
			for range c.fields {
				by = append(by, text(c.other))
			}
			emit(by, rest)
		}
	}
	return flowOf(sc, rows), nil
}

// bin

type binCommand struct {
	place
	span    span
	field   string
	as      string
	alignTo *timeModifier
}

func parseBin(p *parser, at place) (command, error) {
	c := &binCommand{place: at}
	var spanOption *option
	for !p.done() {
		o, ok, err := p.option()
		if err != nil {
			return nil, err
		}
		if ok {
			switch o.key {
			case "span":
				spanOption = &o
			case "aligntime":
				m, err := parseTimeModifier(o.value)
				if o.value == "earliest" || o.value == "latest" {
					return nil, p.refuse(o.pos, "bin: aligntime=%s is not known here: give a time", o.value)
				}
				if err != nil {
					return nil, p.refuse(o.pos, "bin: aligntime: %s", err)
				}
				c.alignTo = &m
			default:
				return nil, p.unknownOption(at.name, o, "span", "aligntime")
			}
			continue
		}
		if c.field != "" && p.acceptWord("AS") {
			if c.as, err = p.plainField(at.name + ": AS"); err != nil {
				return nil, err
			}
			continue
		}
		fieldAt := p.pos
		f, err := p.plainField(at.name)
		if err != nil {
			return nil, err
		}
		if c.field != "" {
			return nil, p.refuse(fieldAt, "%s takes one field", at.name)
		}
		c.field, c.as = f, f
	}
	if c.field == "" {
		return nil, p.refuse(p.pos, "%s needs a field", at.name)
	}
	if spanOption == nil {
		return nil, p.refuse(at.pos, "%s needs span=: how wide the buckets are without one depends on the data", at.name)
	}
	s, err := p.span(at.name, *spanOption, c.field != "_time")
	if err != nil {
		return nil, err
	}
	if c.alignTo != nil && (c.field != "_time" || strings.IndexByte("smh", s.unit) < 0) {
		return nil, p.refuse(at.pos, "%s: aligntime is for spans of _time in seconds, minutes or hours", at.name)
	}
	c.span = s
	return c, nil
}

func (c *binCommand) need(out *fieldSet) *fieldSet {
	in := out.without(c.as)
	in.add(c.field)
	return in
}

func (c *binCommand) open(x *execution, in *flow) (*flow, error) {
	from, to := in.sc.slot(c.field), in.sc.declare(c.as)
	align := math.NaN()
	if c.alignTo != nil {
		align = c.alignTo.resolve(x.env.now, x.env.loc)
	}
	lo, hi := math.NaN(), math.NaN() // the last bucket: neighbours share it
	return x.filterMap(in, func(r *Row) (bool, error) {
		v := r.get(from)
		if v.kind == kindMulti {
			return false, x.refuse(c.pos, "bin of a field with several values is not documented: mvexpand it first")
		}
		f, ok := v.Float()
		switch {
		case !ok:
			r.set(to, v) // what is no number stays as it is
		case c.span.width > 0:
			r.set(to, text(c.span.label(f)))
		case !math.IsNaN(align):
			w := float64(c.span.n) * map[byte]float64{'s': 1, 'm': 60, 'h': 3600}[c.span.unit]
			r.set(to, number(math.Floor((f-align)/w)*w+align))
		default:
			if !(f >= lo && f < hi) {
				lo = c.span.floor(f, x.env)
				hi = lo + 1
				if n := c.span.next(lo, x.env); c.span.unit != 's' && c.span.unit != 'm' && c.span.unit != 'h' {
					hi = n
				}
			}
			r.set(to, number(lo))
		}
		return true, nil
	}), nil
}

// label names the bucket of a number: 10-20.
func (s span) label(f float64) string {
	lo := math.Floor(f/s.width) * s.width
	return formatNumber(trimNoise(lo)) + "-" + formatNumber(trimNoise(lo+s.width))
}

// trimNoise takes off what binary fractions add to a bound like 0.3.
func trimNoise(f float64) float64 {
	g, _ := parseNumber(strings.TrimRight(strings.TrimRight(roundDecimal(f, 9), "0"), "."))
	return g
}
